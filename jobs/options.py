"""Options that many commands have."""

import re
from pathlib import Path
from typing import Annotated

import typer

Stage = Annotated[
    str | None, typer.Option("--stage", help="Stage of the plant: a file in conf/stages")
]
StageFile = Annotated[Path | None, typer.Option("--stage-file", help="Stage file elsewhere")]
LakeOption = Annotated[str | None, typer.Option("--lake", help="Folder or URL of the tables")]


def _without_password(url: str | None) -> str | None:
    """Command lines are seen by every user of a machine."""
    if url and re.match(r"[^:/]+://[^/@]*:[^/]*@", url):
        raise typer.BadParameter("a password is seen here; set PLATELAKE_SQL_URL instead")
    return url


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
