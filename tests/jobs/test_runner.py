"""The runner: one run of a stage at a time, and none that goes on from counts that are wrong."""

import threading
from pathlib import Path

import pytest

from jobs.runner import Options, RunContext, begin, do_jobs
from lakehouse.errors import QualityGateError
from lakehouse.ingest.ledger import Counts
from lakehouse.tables.runs import RUNS
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
