"""Runs of the main job by Spark's workers, on HDFS, that are killed and run again."""

from pathlib import Path

import pytest

from lakehouse.stage import Stage
from tests.conftest import BY_SPARK
from tests.crash import MainJob, kill_and_run_again
from tests.stack.real import Stack
from tests.test_crash import plant

__all__ = ["plant"]


@pytest.mark.timeout(14_400)
def test_killed_and_run_again(
    request: pytest.FixtureRequest, stack: Stack, plant: Path, tmp_path: Path, stage: Stage
) -> None:
    points = request.config.getoption("--kill-points") or 1
    job = MainJob(plant, "hdfs://platelake/crash", tmp_path, {**stack.env, **BY_SPARK})
    kill_and_run_again(job, stage, points)
