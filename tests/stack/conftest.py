"""One stack for all tests of it. They are run by `make stack-test`, not by `make test`."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from lakehouse.delta.lake import Lake
from lakehouse.landing.sample_plant import make_sample_plant
from lakehouse.stage import load_stage
from tests.conftest import REAL
from tests.stack.real import BIN, Sink, Stack, running, surroundings

STAGE = "chromate"


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    return None if config.getoption("--stack") else True


@pytest.fixture(scope="session")
def sink() -> Sink:
    return Sink()


@pytest.fixture(scope="session")
def stack(sink: Sink) -> Iterator[Stack]:
    with TemporaryDirectory(prefix="stack-") as folder, running(Path(folder), sink) as stack:
        os.environ["HADOOP_CONF_DIR"] = stack.env["HADOOP_CONF_DIR"]
        yield stack


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real input where it is there, else that of a plant that is made up."""
    real = REAL / "kamp" / "chromate"
    if real.is_dir():
        print("input: the published data of the chromate plant")
        return real
    print("input: a plant that is made up, since the published data are not here")
    folder = tmp_path_factory.mktemp("plant")
    make_sample_plant(folder, days=14, lots_per_day=8, rows_per_lot=24, failed_lots=6, photos=24)
    return folder


@pytest.fixture(scope="session")
def later(plant: Path) -> Iterator[Path]:
    """The sensor files of the last days, which are landed one by one."""
    return iter(sorted((plant / "sensor").iterdir())[-11:])


@pytest.fixture(scope="session")
def landed(stack: Stack, plant: Path) -> Path:
    """The landing zone of the stack, with all but the last days' sensor files."""
    held_back = {file.name for file in sorted((plant / "sensor").iterdir())[-11:]}
    shutil.copytree(
        plant,
        stack.landing,
        ignore=lambda _, names: held_back.intersection(names),
        dirs_exist_ok=True,
    )
    delivered = datetime(2021, 10, 15, 12, tzinfo=UTC).timestamp()  # A photo is of its file's day.
    for file in stack.landing.rglob("*"):
        os.utime(file, (delivered, delivered))
    return stack.landing


@pytest.fixture(scope="session")
def lake(stack: Stack) -> Lake:
    """The lake on HDFS, read without Spark and without a JVM."""

    def no_spark() -> None:
        raise AssertionError("this reads without Spark")

    return Lake("hdfs://platelake/lake", load_stage(STAGE).name, no_spark)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def laptop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The same jobs on the same files as a laptop runs them: local files, SQLite, no cluster."""
    folder = tmp_path_factory.mktemp("laptop")
    env = surroundings()

    def run() -> Lake:
        where = ["--landing", stack.landing, "--lake", folder / "lake", "--stage", STAGE]
        subprocess.run([BIN / "platelake", "run", *where], env=env, check=True, cwd=folder)
        return Lake(str(folder / "lake"), STAGE, lambda: None)  # type: ignore[arg-type,return-value]

    return run
