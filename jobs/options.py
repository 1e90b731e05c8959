"""Options that many commands have."""

import shlex
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from lakehouse.urls import KEYS, has_password

Stage = Annotated[
    str | None, typer.Option("--stage", help="Stage of the plant: a file in conf/stages")
]
Stages = Annotated[
    str | None,
    typer.Option(
        "--stage", help="Stage of the plant: a file in conf/stages; else all, one after the other"
    ),
]
StageFile = Annotated[Path | None, typer.Option("--stage-file", help="Stage file elsewhere")]
LakeOption = Annotated[str | None, typer.Option("--lake", help="Folder or URL of the tables")]


def _without_password(url: str | None) -> str | None:
    """Command lines are seen by every user of a machine."""
    if url and has_password(url):
        raise typer.BadParameter("a password is seen here; set PLATELAKE_SQL_URL instead")
    return url


def _with_a_key(url: str | None) -> str | None:
    """As above; a machine is reached with an ssh key."""
    if url and has_password(url):
        raise typer.BadParameter(f"a password is seen here; {KEYS}")
    return url


Landing = Annotated[
    str,
    typer.Option(
        "--landing", callback=_with_a_key, help="Folder or URL where the plant drops files"
    ),
]
SampleLanding = Annotated[
    str | None, typer.Option("--landing", callback=_with_a_key, help="Real input; else a sample")
]
MasksLanding = Annotated[
    str | None,
    typer.Option("--landing", callback=_with_a_key, help="Masks are there, if the stage has some"),
]
SqlUrl = Annotated[
    str | None,
    typer.Option(
        "--sql-url",
        callback=_without_password,
        help="Summaries' database (a password: only in PLATELAKE_SQL_URL)",
    ),
]
JsonFile = Annotated[
    Path | None,
    typer.Option("--json", help="Write the report there as JSON, of a run that fails too"),
]
AllowLoss = Annotated[
    bool,
    typer.Option("--allow-loss", help="Files that are read again may bring fewer rows than before"),
]


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    stage: str | None = None
    stage_file: Path | None = None
    landing: str | None = None
    lake: str | None = None
    sql_url: str | None = None
    first_day: date | None = None
    last_day: date | None = None
    whole: bool = False
    if_champion: bool = False
    allow_loss: bool = False
    json_file: Path | None = None

    @property
    def place(self) -> list[str]:
        """Stage and lake as they were given, in words, for a command that follows this one."""
        given = {"--stage": self.stage, "--stage-file": self.stage_file, "--lake": self.lake}
        return [word for option, value in given.items() if value for word in (option, str(value))]

    @property
    def advice(self) -> str:
        """The same as a person types it, after a space; empty if nothing was given."""
        return "".join(f" {shlex.quote(word)}" for word in self.place)
