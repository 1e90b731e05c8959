"""What is too much for the driver: tasks run on both workers, and the driver stays small."""

import json
import shutil
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from benchmarks.inputs import make_readings
from benchmarks.measure import memory_of
from lakehouse.delta.lake import Lake
from lakehouse.spark.session import open_session
from lakehouse.stage import load_stage
from lakehouse.tables.readings import readings
from tests.stack.conftest import STAGE
from tests.stack.real import Stack

JOBS = ("ingest_readings", "label", "features", "summarise")
ROWS = 50_000
"""Of a file, which is a day's."""
MORE = 300_000_000
"""Bytes of memory that a driver may take more for five times the readings."""


@pytest.mark.timeout(7200)
def test_many_readings_are_spread_over_the_workers(
    request: pytest.FixtureRequest, stack: Stack, tmp_path: Path
) -> None:
    files = request.config.getoption("--readings") // ROWS
    peaks: dict[str, list[int]] = {}
    for count in (files // 5, files):
        landing, lake = tmp_path / f"landing-{count}", f"hdfs://platelake/many-{count}/lake"
        make_readings(landing, count, ROWS)
        for job in JOBS:
            given = ["--stage", STAGE, "--lake", lake]
            given += ["--landing", str(landing)] if job.startswith("ingest") else []
            before = set(_logs())
            peak, said = _driver(stack, f"jobs/{job}.py", given)
            [log] = set(_logs()) - before
            workers = _workers(log)
            print(f"{job}, {count * ROWS} readings: driver {peak / 1e9:.2f} GB, tasks {workers}")
            assert len(workers) == 2, said[-2000:]
            peaks.setdefault(job, []).append(peak)
        table = readings(load_stage(STAGE))
        assert Lake(lake, STAGE, lambda: open_session("tests")).count(table) == count * ROWS
        shutil.rmtree(landing)
    assert all(large - small < MORE for small, large in peaks.values()), peaks


def test_events_and_lineage_are_kept(stack: Stack) -> None:
    assert _logs()
    events = (stack.folder / "lineage" / "spark.jsonl").read_text().splitlines()
    outputs = {out["name"] for line in events for out in json.loads(line).get("outputs", ())}
    assert any(name.endswith(f"/lake/{STAGE}/readings") for name in outputs), outputs


def _driver(stack: Stack, job: str, given: list[str]) -> tuple[int, str]:
    """Run a job with an executor on each worker; the driver's most bytes at once, and its log."""
    process = stack.start(job, *given, conf=["spark.executor.cores=1"], by_spark=True)
    with _peak(process.pid) as peak:
        said = stack.finish(process)
    return max(peak), said


@contextmanager
def _peak(pid: int) -> Iterator[list[int]]:
    """How much memory the process and its children take, twice a second."""
    found, over = [0], threading.Event()

    def sample() -> None:
        while not over.wait(0.5):
            found.append(sum(memory_of(Path(f"/proc/{one}")) for one in _family(pid)))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def _family(pid: int) -> list[int]:
    """The process and all below it."""
    below: dict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # It has ended.
        below[parent].append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += below[one]
    return found


def _logs() -> list[str]:
    """The event logs of Spark's applications."""
    return [
        str(log) for log in fsspec.filesystem("hdfs", host="platelake").ls("/spark-logs", False)
    ]


def _workers(log: str) -> dict[str, int]:
    """By executor, of which each worker has one: the tasks in which Python computed rows."""
    files = fsspec.filesystem("hdfs", host="platelake")
    parts = (
        [log]
        if files.isfile(log)
        else [one for one in files.ls(log, detail=False) if "events_" in one]
    )
    tasks: dict[str, int] = defaultdict(int)
    for part in parts:
        packed = pa.BufferReader(files.cat_file(part))
        plain = pa.CompressedInputStream(packed, "zstd") if part.endswith(".zstd") else packed
        for line in plain.read().splitlines():
            event = json.loads(line)
            if event["Event"] == "SparkListenerTaskEnd":
                tasks[event["Task Info"]["Executor ID"]] += 1
    return dict(tasks)
