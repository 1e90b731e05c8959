"""The main job on a small generated plant, or on real input: what `make demo` runs."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from jobs.runner import CHAIN, Options, finish, run_jobs
from lakehouse.errors import UsageError

SAMPLE_STAGE = "chromate"


def run_demo(
    landing: str | None,
    stage: str | None,
    stage_file: Path | None,
    lake: str,
    sample: Path,
    serve: bool,
) -> None:
    """Make the sample plant unless there is real input, run all jobs, show what came of it."""
    console = Console(soft_wrap=True)
    if landing is None:
        if stage or stage_file:
            raise UsageError("a stage needs its input: give the plant's folder as LANDING")
        from lakehouse.sample_plant import make_sample_plant

        console.print(f"No LANDING is given, so this is a [bold]generated[/] plant: {sample}")
        make_sample_plant(sample)
        landing, stage = str(sample), SAMPLE_STAGE
        lake = f"{lake}-sample"
    finish(run_jobs(CHAIN, Options(stage, stage_file, landing, lake)))
    console.print(f"The tables are in {lake}; `platelake --help` says what else there is.")
