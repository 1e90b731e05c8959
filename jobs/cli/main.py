"""The command `platelake`: the main job, the demo, the app, and all other commands."""

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli import jobs, models, quarantine, users
from jobs.doctor import doctor
from jobs.options import (
    AllowLoss,
    JsonFile,
    LakeOption,
    Landing,
    Options,
    SampleLanding,
    SqlUrl,
    Stage,
    StageFile,
    Stages,
)
from jobs.submit import leave
from lakehouse.errors import PlatelakeError

LAKE, REPAIR, MODELS, APP, JOBS = "Run", "Look after the lake", "Models", "App", "Single jobs"
"""The groups of commands, as `--help` shows them."""

app = typer.Typer(
    help="A Spark data lake for manufacturing quality.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    """Print the version and end."""
    if asked:
        from importlib.metadata import version

        print(f"platelake {version('platelake')}")
        raise typer.Exit


@app.callback()
def _every_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version")
    ] = False,
) -> None:
    """A Spark data lake for manufacturing quality."""


@app.command("run", rich_help_panel=LAKE)
def run(
    landing: Landing,
    stage: Stages = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
    sql_url: SqlUrl = None,
    json_file: JsonFile = None,
) -> int:
    """Landing zone to labelled lots, features and SQL summaries: all jobs in one session."""
    from jobs.report import show
    from jobs.runner import CHAIN, run_stages

    options = Options(stage, stage_file, landing, lake, sql_url, json_file=json_file)
    return run_stages(CHAIN, options, show)


@app.command("backfill", rich_help_panel=REPAIR)
def backfill(
    landing: Landing,
    first_day: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day")],
    last_day: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day")],
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
    sql_url: SqlUrl = None,
    allow_loss: AllowLoss = False,
    json_file: JsonFile = None,
) -> None:
    """Read the files of these days again, with today's rules, and all that follows from them."""
    from jobs.backfill import run_backfill
    from jobs.report import show

    days = (first_day.date(), last_day.date())
    options = Options(
        stage, stage_file, landing, lake, sql_url, *days, allow_loss=allow_loss, json_file=json_file
    )
    show(run_backfill(options))


@app.command("look", rich_help_panel=LAKE)
def look(
    path: Annotated[Path, typer.Argument(help="A file of the plant, or a folder of its files")],
    write: Annotated[
        Path | None,
        typer.Option("--write", help="Stage file to write"),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=0, help="Rows to show of each kind")] = 5,
) -> None:
    """Guess a stage file from files, and show the rows as they would be stored."""
    from jobs.look import look as look_at

    look_at(path, write, rows)


@app.command("plan", rich_help_panel=LAKE)
def plan(
    landing: Landing,
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
    json_file: JsonFile = None,
) -> None:
    """Say what a run would store, change, quarantine or pass over; write nothing."""
    from jobs.plan import run_plan

    run_plan(Options(stage, stage_file, landing, lake, json_file=json_file))


@app.command("demo", rich_help_panel=LAKE)
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


@app.command("serve", rich_help_panel=APP)
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
    from jobs.serve import run_serve

    if (tls_cert is None) != (tls_key is None):
        raise typer.BadParameter("--tls-cert and --tls-key go together")
    tls = (tls_cert, tls_key) if tls_cert and tls_key else None
    run_serve(Options(stage, stage_file, landing, lake, sql_url), host, port, tls)


quarantine.add_to(app, REPAIR)
models.add_to(app, MODELS)
users.add_to(app, APP)
jobs.add_to(app, JOBS, REPAIR)
app.command("doctor", rich_help_panel=REPAIR)(doctor)


def invoke(argv: Sequence[str]) -> int:
    """Run the command line; its exit code: 0 done, 1 error, 2 usage, 3 quality gate."""
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
