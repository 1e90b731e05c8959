"""The commands of single jobs: the main job's steps, verdicts, maintenance, control limits."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated

import typer

from jobs.options import JsonFile, LakeOption, Landing, Options, SqlUrl, Stage, StageFile, Stages

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


def _reading_job(name: str) -> Callable[..., int]:
    """The command of a job that reads the landing zone."""

    def command(
        landing: Landing,
        stage: Stages = None,
        stage_file: StageFile = None,
        lake: LakeOption = None,
        first_day: FirstDay = None,
        last_day: LastDay = None,
        json_file: JsonFile = None,
    ) -> int:
        from jobs.runner import run_stages

        days = (_day(first_day), _day(last_day))
        return run_stages(
            [name], Options(stage, stage_file, landing, lake, None, *days, json_file=json_file)
        )

    return command


def _lake_job(name: str) -> Callable[..., int]:
    """The command of a job that works on the lake alone."""

    def command(
        stage: Stages = None,
        stage_file: StageFile = None,
        lake: LakeOption = None,
        sql_url: SqlUrl = None,
        whole: Annotated[bool, typer.Option(help=WHOLE[name])] = False,
        json_file: JsonFile = None,
    ) -> int:
        from jobs.runner import run_stages

        options = Options(stage, stage_file, None, lake, sql_url, whole=whole, json_file=json_file)
        return run_stages([name], options)

    return command


def _plain_job(name: str) -> Callable[..., int]:
    """The command of a job that works on the lake and takes nothing else."""

    def command(
        stage: Stages = None,
        stage_file: StageFile = None,
        lake: LakeOption = None,
        json_file: JsonFile = None,
    ) -> int:
        from jobs.runner import run_stages

        return run_stages([name], Options(stage, stage_file, None, lake, json_file=json_file))

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
        from jobs.runner import run_jobs

        options = Options(
            stage, stage_file, lake=lake, if_champion=if_champion, json_file=json_file
        )
        run_jobs([name], options)

    return command


def control_limits(
    variable: Annotated[str, typer.Option("--variable", help="Variable of the stage")],
    first_day: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day")],
    last_day: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day")],
    reason: Annotated[str, typer.Option("--reason", help="Why this period, in your words")],
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
) -> None:
    """Set the control limits of a variable from the lots of a period."""
    from jobs.control_limits import set_limits
    from jobs.runner import begin

    context = begin(Options(stage, stage_file, lake=lake), lake_must_exist=True)
    set_limits(context, variable, first_day.date(), last_day.date(), reason)


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
    "summarise": "Summarise all days again",
    "sync": "Compare everything instead of what changed",
}


def add_to(app: typer.Typer, panel: str, of_maintain: str) -> None:
    """Add a command for each job to this group of `--help`; `maintain` to its own."""
    for name, meaning in JOBS.items():
        make: Callable[[str], Callable[..., object]]
        make = _lake_job if name in WHOLE else _plain_job
        make = _reading_job if name.startswith("ingest") else make
        make = _score_job if name.startswith("score") else make
        group = of_maintain if name == "maintain" else panel
        app.command(name.replace("_", "-"), help=meaning, rich_help_panel=group)(make(name))
    app.command("control-limits", rich_help_panel=of_maintain)(control_limits)
