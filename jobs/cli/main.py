"""The command `platelake`: every job, the main job as one, and the quarantine."""

import sys
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli import models, users
from jobs.doctor import doctor
from jobs.options import (
    JsonFile,
    LakeOption,
    Landing,
    SampleLanding,
    SqlUrl,
    Stage,
    StageFile,
)
from jobs.submit import leave

app = typer.Typer(
    help="A Spark data lake for manufacturing quality.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
quarantine_app = typer.Typer(help="What is quarantined: list it, look at it, replay it.")
app.add_typer(quarantine_app, name="quarantine", no_args_is_help=True)
models.add_to(app)
users.add_to(app)
app.command("doctor")(doctor)


FirstDay = Annotated[
    datetime | None,
    typer.Option("--from", formats=["%Y-%m-%d"], help="Only files of this day or later"),
]
LastDay = Annotated[
    datetime | None,
    typer.Option("--to", formats=["%Y-%m-%d"], help="Only files of this day or earlier"),
]


def _day(moment: datetime | None) -> date | None:
    return moment.date() if moment else None


@app.command("run")
def run(
    landing: Landing,
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
    sql_url: SqlUrl = None,
    json_file: JsonFile = None,
) -> None:
    """Landing zone to labelled lots, features and SQL summaries: all jobs in one session."""
    from jobs.context import Options
    from jobs.report import show
    from jobs.runner import CHAIN, run_jobs

    show(run_jobs(CHAIN, Options(stage, stage_file, landing, lake, sql_url, json_file=json_file)))


@app.command("backfill")
def backfill(
    landing: Landing,
    first_day: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day")],
    last_day: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day")],
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
    sql_url: SqlUrl = None,
    json_file: JsonFile = None,
) -> None:
    """Read the files of these days again, with today's rules, and all that follows from them."""
    from jobs.backfill import run_backfill
    from jobs.context import Options
    from jobs.report import show

    days = (first_day.date(), last_day.date())
    options = Options(stage, stage_file, landing, lake, sql_url, *days, json_file=json_file)
    show(run_backfill(options))


@app.command("demo")
def demo(
    landing: SampleLanding = None,
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: Annotated[str, typer.Option("--lake", help="Folder of the tables")] = "demo/lake",
    sample: Annotated[Path, typer.Option(help="Where the sample plant is made")] = Path(
        "demo/plant"
    ),
    serve: Annotated[bool, typer.Option(help="Open the app at the end")] = True,
) -> None:
    """The main job on a generated sample plant, or on real input."""
    from jobs.demo import run_demo

    run_demo(landing, stage, stage_file, lake, sample, serve)


@app.command("serve")
def serve(
    landing: Landing,
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
    sql_url: SqlUrl = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65_535, help="Port")] = 7860,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="Certificate, PEM")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Its key, PEM")] = None,
) -> None:
    """The operators' app: verdicts on photos, history, review."""
    from jobs.context import Options
    from jobs.serve import run_serve

    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls-cert and --tls-key go together")
    tls = (tls_cert, tls_key) if tls_cert and tls_key else None
    run_serve(Options(stage, stage_file, landing, lake, sql_url), host, port, tls)


@quarantine_app.command("list")
def quarantine_list(
    stage: Stage = None, stage_file: StageFile = None, lake: LakeOption = None
) -> None:
    """Every entry, a line each."""
    from jobs.context import Options
    from jobs.quarantine import list_entries
    from jobs.runner import begin

    list_entries(begin(Options(stage, stage_file, lake=lake), lake_must_exist=True))


@quarantine_app.command("show")
def quarantine_show(
    entry: Annotated[str, typer.Argument(help="The entry's id, or the beginning of it")],
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
) -> None:
    """One entry, whole."""
    from jobs.context import Options
    from jobs.quarantine import show_entry
    from jobs.runner import begin

    show_entry(begin(Options(stage, stage_file, lake=lake), lake_must_exist=True), entry)


@quarantine_app.command("replay")
def quarantine_replay(
    landing: Landing,
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
    sql_url: SqlUrl = None,
    file: Annotated[
        list[str] | None, typer.Option("--file", help="Only this file (may be repeated)")
    ] = None,
    withdraw: Annotated[
        list[str] | None,
        typer.Option(
            "--withdraw", help="Photo that was archived or removed, and has the wrong label"
        ),
    ] = None,
) -> None:
    """Read the files that have entries again, with today's rules; each row is stored once."""
    from jobs.context import Options
    from jobs.quarantine import replay

    options = Options(stage, stage_file, landing, lake, sql_url)
    replay(options, file or [], withdraw or [])


def _reading_job(name: str) -> Callable[..., None]:
    """The command of a job that reads the landing zone."""

    def command(
        landing: Landing,
        stage: Stage = None,
        stage_file: StageFile = None,
        lake: LakeOption = None,
        first_day: FirstDay = None,
        last_day: LastDay = None,
        json_file: JsonFile = None,
    ) -> None:
        from jobs.context import Options
        from jobs.runner import run_jobs

        days = (_day(first_day), _day(last_day))
        run_jobs(
            [name], Options(stage, stage_file, landing, lake, None, *days, json_file=json_file)
        )

    return command


def _lake_job(name: str) -> Callable[..., None]:
    """The command of a job that works on the lake alone."""

    def command(
        stage: Stage = None,
        stage_file: StageFile = None,
        lake: LakeOption = None,
        sql_url: SqlUrl = None,
        whole: Annotated[bool, typer.Option(help=WHOLE[name])] = False,
        json_file: JsonFile = None,
    ) -> None:
        from jobs.context import Options
        from jobs.runner import run_jobs

        options = Options(stage, stage_file, None, lake, sql_url, whole=whole, json_file=json_file)
        run_jobs([name], options)

    return command


def _plain_job(name: str) -> Callable[..., None]:
    """The command of a job that works on the lake and takes nothing else."""

    def command(
        stage: Stage = None,
        stage_file: StageFile = None,
        lake: LakeOption = None,
        json_file: JsonFile = None,
    ) -> None:
        from jobs.context import Options
        from jobs.runner import run_jobs

        run_jobs([name], Options(stage, stage_file, None, lake, json_file=json_file))

    return command


def _score_job(name: str) -> Callable[..., None]:
    """The command of a job that writes the champion's verdicts."""

    def command(
        stage: Stage = None,
        stage_file: StageFile = None,
        lake: LakeOption = None,
        if_champion: Annotated[
            bool, typer.Option("--if-champion", help="Without a champion: nothing, and no error")
        ] = False,
        json_file: JsonFile = None,
    ) -> None:
        from jobs.context import Options
        from jobs.runner import run_jobs

        options = Options(
            stage, stage_file, lake=lake, if_champion=if_champion, json_file=json_file
        )
        run_jobs([name], options)

    return command


JOBS = {
    "ingest_readings": "Sensor files of the landing zone into readings.",
    "ingest_error_lists": "Error lists of the landing zone into error_lists.",
    "ingest_photos": "Photos of the landing zone into photos, pictures and picture_names.",
    "label": "Label the lots whose readings or error lists changed.",
    "features": "Features of the lots whose readings changed.",
    "summarise": "Daily summaries of what changed.",
    "sync": "Copy what changed in the mirrored tables to SQL.",
    "score_lots": "The champion's verdicts on the lots whose readings changed.",
    "score_photos": "The champion's verdicts on the pictures that are new to it.",
    "maintain": "Compact the tables and remove files that no kept version needs.",
}
WHOLE = {
    "label": "Label all days again",
    "features": "Fit the bands again, on all readings, and compute all lots",
    "summarise": "Summarise all days anew",
    "sync": "Compare everything instead of what changed",
}
for _name, _help in JOBS.items():
    _make = _lake_job if _name in WHOLE else _plain_job
    _make = _reading_job if _name.startswith("ingest") else _make
    _make = _score_job if _name.startswith("score") else _make
    app.command(_name.replace("_", "-"), help=_help)(_make(_name))


def invoke(argv: Sequence[str]) -> int:
    """Run the command line; its exit code: 0 done, 1 error, 2 usage, 3 quality gate."""
    from lakehouse.errors import PlatelakeError

    try:
        code = app(list(argv), standalone_mode=False, prog_name="platelake")
        return code if isinstance(code, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        print("platelake: stopped; run again to go on", file=sys.stderr)
        return 1
    except Exception as error:
        # Typer brings its own copy of click, so its exceptions are known by what they can do.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
        if hasattr(error, "exit_code") and not isinstance(error, PlatelakeError):
            return int(error.exit_code)
        from jobs.report import exit_code

        return exit_code(error)


def main() -> None:
    """Entry point of the command."""
    leave(invoke(sys.argv[1:]))
