"""The commands of the quarantine: list it, look at it, replay it."""

from typing import Annotated

import typer

from jobs.options import AllowLoss, LakeOption, Landing, Options, SqlUrl, Stage, StageFile

quarantine_app = typer.Typer(help="What is quarantined: list it, look at it, replay it.")


@quarantine_app.command("list")
def quarantine_list(
    stage: Stage = None, stage_file: StageFile = None, lake: LakeOption = None
) -> None:
    """Every entry, a line each."""
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
    allow_loss: AllowLoss = False,
) -> None:
    """Read the files that have entries again, with today's rules; each row is stored once."""
    from jobs.quarantine import replay

    options = Options(stage, stage_file, landing, lake, sql_url, allow_loss=allow_loss)
    replay(options, file or [], withdraw or [])


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the commands of the quarantine to this group of `--help`."""
    app.add_typer(quarantine_app, name="quarantine", no_args_is_help=True, rich_help_panel=panel)
