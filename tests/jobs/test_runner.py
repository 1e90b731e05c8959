"""The runner: one run of a stage at a time, and none that goes on from counts that are wrong."""

import os
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path

import pytest

from jobs.context import RunContext
from jobs.options import Options
from jobs.runner import begin, do_jobs
from lakehouse.errors import QualityGateError
from lakehouse.ingest.ledger import Counts
from lakehouse.landing import stable
from lakehouse.landing.zone import Listing, look
from lakehouse.tables.runs import RUNS
from tests.conftest import Chain
from tests.plant import write_errors, write_photo, write_sensor
from tests.waiting import waits


@pytest.fixture
def work(tmp_path: Path) -> RunContext:
    """A run on an empty landing zone, which needs no Spark."""
    landing = tmp_path / "landing"
    landing.mkdir()
    (landing / "notes.txt").touch()
    return begin(Options("chromate", landing=str(landing), lake=str(tmp_path / "lake")))


def runs(work: RunContext) -> list[tuple[str, bool]]:
    return [(row["run_id"], row["reconciled"]) for row in work.lake.rows(RUNS)]


def test_a_run_waits_for_the_run_before_it(work: RunContext) -> None:
    second = threading.Thread(target=do_jobs, args=(["ingest_error_lists"], work))
    with work.lake.lock("run"):
        assert waits(second)
        assert second.is_alive() and runs(work) == []
    second.join(60)
    assert runs(work) == [(work.run_id, True)]


def test_nothing_is_computed_from_counts_that_do_not_add_up(work: RunContext) -> None:
    work.counts += Counts(rows_read=2, rows_stored=1)
    with pytest.raises(QualityGateError, match="2 rows read, 1 stored"):
        do_jobs(["ingest_error_lists", "label"], work)
    assert list(work.seconds) == ["ingest_error_lists"]
    assert runs(work) == [(work.run_id, False)]


def test_a_run_on_a_lake_that_is_there_imports_neither_spark_nor_models(chain: Chain) -> None:
    write_sensor(chain.landing, date(2021, 9, 6))
    chain()
    write_sensor(chain.landing, date(2021, 9, 7))
    where = ["--landing", str(chain.landing), "--lake", str(chain.lake_folder)]
    code = (
        "import sys; from jobs.cli.main import invoke\n"
        f"assert invoke(['run', '--stage', 'chromate', *{where!r}]) == 0\n"
        "sys.exit(str({'pyspark', 'mlflow', 'torch', 'sklearn'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "set()", done.stderr


def test_a_run_lists_the_landing_zone_once(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a second time if a file may still grow, for all kinds of files together."""
    looks: list[str] = []

    def counted(landing: str) -> Listing:
        looks.append(landing)
        return look(landing)

    monkeypatch.setattr(stable, "look", counted)
    write_sensor(chain.landing, date(2021, 9, 6))
    write_errors(chain.landing, {"2021-09-06": ["1"]})
    write_photo(chain.landing, "good/a.png", 1)
    chain()
    assert len(looks) == 1
    monkeypatch.setenv("PLATELAKE_SETTLE_SECONDS", "0.2")
    soon = time.time() + 60  # However slow this machine is, they may still grow.
    for path in (
        write_sensor(chain.landing, date(2021, 9, 7)),
        write_photo(chain.landing, "good/b.png", 2),
    ):
        os.utime(path, (soon, soon))
    chain()
    assert len(looks) == 3
