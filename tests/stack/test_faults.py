"""What breaks on a real stack, broken; after each the tables are as they would be without."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from lakehouse.delta.lake import Lake
from lakehouse.files.readings import file_date
from lakehouse.stage import load_stage
from lakehouse.tables.readings import readings
from lakehouse.tables.runs import RUNS
from tests.digest import digests
from tests.stack.conftest import STAGE
from tests.stack.real import Sink, Stack, until
from tests.stack.test_chain import HISTORY, assert_mirrored, rows_of, task_state

NOT_ALIKE = HISTORY | {"files", "inspections"}
"""Tables that hold how often something was tried, or what the app of the stack was asked."""


@pytest.fixture
def land(landed: Path, later: Iterator[Path]) -> Path:
    """Lands the next day's sensor file; where it is."""
    return land_next(landed, later)


def land_next(landed: Path, later: Iterator[Path]) -> Path:
    file = next(later)
    shutil.copy2(file, landed / "sensor" / file.name)
    os.utime(landed / "sensor" / file.name)
    return landed / "sensor" / file.name


def held(lake: Lake, file: Path) -> int:
    """Readings that this file brought."""
    name = f"sensor/{file.name}"
    return sum(row["file"] == name for row in lake.rows(readings(load_stage(STAGE)), "file"))


def ingest(stack: Stack, *conf: str, by_spark: bool = False) -> "subprocess.Popen[str]":
    where = ["--stage", STAGE, "--landing", str(stack.landing)]
    return stack.start("jobs/ingest_readings.py", *where, conf=conf, by_spark=by_spark)


def started(stack: Stack, job: "subprocess.Popen[str]") -> None:
    """Wait until the job has executors, so that it is in the middle of things."""
    import httpx

    def running() -> bool:
        page = httpx.get(f"http://127.0.0.1:{stack.ports['SPARK_PAGES']}/json/").json()
        assert job.poll() is None, job.communicate()[0][-3000:]
        return any(app["state"] == "RUNNING" for app in page["activeapps"])

    until(running, 90, "the job's executors")


def test_a_datanode_dies_during_an_ingest(stack: Stack, lake: Lake, land: Path) -> None:
    job = ingest(stack, by_spark=True)
    started(stack, job)
    stack.kill("datanode-1")
    stack.finish(job, code=None)
    assert job.returncode in (0, 1)
    if job.returncode:
        stack.finish(ingest(stack))
    assert held(lake, land) == rows_of(land)


def test_the_namenode_restarts_during_an_ingest(stack: Stack, lake: Lake, land: Path) -> None:
    job = ingest(stack, by_spark=True)
    started(stack, job)
    stack.ctl("restart", "namenode")
    stack.finish(job, code=None)
    assert job.returncode in (0, 1)
    if job.returncode:
        stack.finish(ingest(stack))
    print("the first try ended with", job.returncode)
    assert held(lake, land) == rows_of(land)


def test_a_spark_worker_dies_in_the_middle(stack: Stack, lake: Lake, land: Path) -> None:
    """Of two with an executor each."""
    job = ingest(stack, "spark.executor.cores=1", by_spark=True)
    started(stack, job)
    worker = ["pgrep", "-P", str(stack.pid("spark-worker-1"))]

    def children() -> list[str]:
        return subprocess.run(worker, capture_output=True, text=True).stdout.split()

    executors = until(children, 30, "the worker's executor")
    stack.ctl("signal", "KILL", "spark-worker-1")
    stack.ctl("stop", "spark-worker-1")
    for executor in executors:
        with contextlib.suppress(ProcessLookupError):  # It has noticed that its worker is gone.
            os.kill(int(executor), signal.SIGKILL)
    stack.finish(job)
    stack.ctl("start", "spark-worker-1")
    assert held(lake, land) == rows_of(land)


def test_two_writers_at_once(stack: Stack, lake: Lake, land: Path) -> None:
    """One by Spark, one without. One may be refused its commit; it says so, and nothing is stored
    twice."""
    jobs = [ingest(stack, by_spark=True), ingest(stack)]
    said = [stack.finish(job, code=None) for job in jobs]
    codes = sorted(job.returncode for job in jobs)
    print("two writers ended with", codes)
    assert codes in ([0, 0], [0, 1]), said
    if codes[1]:
        assert any("another run wrote the same table" in text for text in said), said
        stack.finish(ingest(stack))
    assert held(lake, land) == rows_of(land)


@pytest.mark.parametrize(
    ("broken", "mended", "sentence"),
    [
        ("-safemode enter", "-safemode leave", "HDFS is in safe mode and takes no writes"),
        ("-setSpaceQuota 1m /lake", "-clrSpaceQuota /lake", "HDFS is full, or the lake's quota"),
    ],
)
def test_hdfs_takes_no_more(
    stack: Stack, lake: Lake, land: Path, broken: str, mended: str, sentence: str
) -> None:
    before = digests(lake, load_stage(STAGE))
    stack.hdfs(*broken.split())
    try:
        said = stack.finish(ingest(stack), code=1)
    finally:
        stack.hdfs(*mended.split())
    assert sentence in said and "as they were at their last commit" in said
    assert digests(lake, load_stage(STAGE)) == before
    stack.finish(ingest(stack))
    assert held(lake, land) == rows_of(land)


def test_mariadb_restarts_during_a_sync(stack: Stack, lake: Lake, land: Path) -> None:
    """The database is away when the sync comes, and stays away until that try has failed."""
    run = stack.airflow.trigger("readings")
    until(lambda: task_state(stack, "readings", run, "ingest_readings") == "running", 300, "ingest")
    stack.ctl("stop", "mariadb")
    try:
        until(
            lambda: task_state(stack, "readings", run, "sync") == "up_for_retry",
            300,
            "a failed try",
        )
    finally:
        stack.ctl("start", "mariadb")
    assert stack.airflow.wait("readings", run) == "success"
    assert stack.airflow.tasks("readings", run)["sync"]["try_number"] > 1
    assert held(lake, land) == rows_of(land)
    assert_mirrored(stack, lake)


def test_the_scheduler_dies_in_the_middle(stack: Stack, lake: Lake, land: Path, sink: Sink) -> None:
    """What it had begun is begun anew once nobody has heard of it for a minute."""
    run = stack.airflow.trigger("readings")
    until(lambda: task_state(stack, "readings", run, "ingest_readings") == "running", 120, "ingest")
    stack.kill("airflow-scheduler")
    assert stack.airflow.wait("readings", run) == "success"
    tries = {name: one["try_number"] for name, one in stack.airflow.tasks("readings", run).items()}
    print("tries after the scheduler died:", tries)

    def told() -> int:
        return sum(one["run"] == run for one in sink.told("readings", "success"))

    until(told, 60, "its success")
    time.sleep(10)
    assert told() == 1
    assert held(lake, land) == rows_of(land)
    assert_mirrored(stack, lake)


def test_a_day_backfilled_three_times_is_there_once(
    stack: Stack, lake: Lake, landed: Path, later: Iterator[Path], sink: Sink
) -> None:
    """And no other day is touched, though its file has come too."""
    stage = load_stage(STAGE)
    mine, other = land_next(landed, later), land_next(landed, later)
    day = file_date(stage, f"sensor/{mine.name}")
    assert day
    after, begun = [], set()
    for loaded in (1, 0, 0):
        run = stack.airflow.backfill("readings", day.isoformat())
        begun.add(stack.airflow.tasks("readings", run)["ingest_readings"]["start_date"])
        files = stack.airflow.report("readings", run, "ingest_readings")["files"]
        assert (files["loaded"], files["known"]) == (loaded, 1 - loaded)  # That day's alone.
        assert held(lake, mine) == rows_of(mine) and held(lake, other) == 0
        after.append(digests(lake, stage))
    assert len(begun) == 3 and after[0] == after[1] == after[2]
    assert not [one for one in sink.told("readings", "missed") if "backfill__" in one["link"]]


def test_a_dag_run_twice_at_once_and_cleared_changes_nothing(stack: Stack, lake: Lake) -> None:
    """The first of them takes the file that the backfill has left alone."""
    stage = load_stage(STAGE)
    runs = [stack.airflow.trigger("readings") for _ in range(2)]
    assert [stack.airflow.wait("readings", run) for run in runs] == ["success"] * 2
    reports = [stack.airflow.report("readings", run, "ingest_readings") for run in runs]
    assert sorted(one["files"]["loaded"] for one in reports) == [0, 1]
    before = digests(lake, stage)
    stack.airflow.clear("readings", runs[0])
    assert stack.airflow.wait("readings", runs[0]) == "success"
    assert digests(lake, stage) == before


def test_files_of_some_days_are_read_again(stack: Stack, lake: Lake) -> None:
    stage = load_stage(STAGE)
    before = digests(lake, stage)
    days = sorted({row["day"].isoformat() for row in lake.rows(readings(stage), "day")})
    stack.airflow.pause("backfill", False)
    run = stack.airflow.run("backfill", from_day=days[0], to_day=days[1])
    rows = stack.airflow.report("backfill", run, "backfill")["rows"]
    assert rows["read"] == rows["stored"] > 0
    after = digests(lake, stage)
    taken_in = ("readings", "error_lists", "photos", "pictures", "quarantine")
    assert {name: after[name] for name in taken_in} == {name: before[name] for name in taken_in}


def test_a_quality_gate_is_not_tried_again(stack: Stack, lake: Lake, sink: Sink) -> None:
    """Somebody deletes a row of SQL by hand: the next sync sees that counts do not add up."""
    engine = sa.create_engine(stack.env["PLATELAKE_SQL_URL"])
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM runs ORDER BY run_id LIMIT 1"))
    run = stack.airflow.trigger("readings")
    assert stack.airflow.wait("readings", run) == "failed"
    sync = stack.airflow.tasks("readings", run)["sync"]
    assert sync["try_number"] == 1
    count = lake.count(RUNS)
    told = until(lambda: sink.told("readings", "failure"), 60, "the alert")[-1]
    assert told["reports"]["sync"]["exit_code"] == 3
    assert f"exit code 3: runs of stage {STAGE}: the lake has {count} rows" in told["text"]
    assert f"SQL would have {count - 1}" in told["text"] and "failed: sync" in told["text"]
    stack.submit("jobs/sync.py", "--stage", STAGE, "--whole")
    assert_mirrored(stack, lake)


def test_spark_and_delta_rs_read_the_same(stack: Stack, lake: Lake, tmp_path: Path) -> None:
    """Every table, which by now all have rows."""
    file = tmp_path / "digests.json"
    stack.submit("tests/stack/spark_digests.py", STAGE, str(file))
    by_spark = json.loads(file.read_text())
    assert by_spark == digests(lake, load_stage(STAGE))
    print("digests by Spark and by delta-rs are equal:", ", ".join(by_spark))


def test_after_all_that_the_cluster_has_what_a_laptop_has(
    stack: Stack, lake: Lake, laptop: "object"
) -> None:
    landing = ["--landing", str(stack.landing)]
    stack.submit("jobs/ingest_photos.py", "--stage", STAGE, *landing)  # An operator put one in.
    for job in ("label", "features", "summarise", "sync"):
        stack.submit(f"jobs/{job}.py", "--stage", STAGE)
    stage = load_stage(STAGE)
    here, there = digests(laptop(), stage), digests(lake, stage)  # type: ignore[operator]
    assert {n: d for n, d in here.items() if n not in NOT_ALIKE} == {
        n: d for n, d in there.items() if n not in NOT_ALIKE
    }
    assert_mirrored(stack, lake)
