"""Rows of many threads in one transaction: each is committed before its thread goes on."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from lakehouse.sql.database import Database
from serving.records.group_commit import GroupCommit
from serving.records.inspections import Inspection, Records
from serving.records.outbox import Outbox, Row
from serving.tables import inspections as table
from tests.serving.records.test_outbox import ONE


class Slow:
    """Keeps what was written; each commit lasts until `go`. A row with a fault breaks its group."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.go = threading.Event()
        self.begun = threading.Event()

    def __call__(self, rows: Sequence[Row]) -> None:
        self.begun.set()
        assert self.go.wait(30)
        for row in rows:
            if "fault" in row:
                raise row["fault"]
        self.groups.append([row["n"] for row in rows])


def is_value_error(error: Exception) -> bool:
    return isinstance(error, ValueError)


def in_threads(save: Callable[[Row], None], slow: Slow, rows: list[Row]) -> list[str]:
    """What became of each row: the first is being written when the others come."""

    def outcome(row: Row) -> str:
        try:
            save(row)
        except Exception as error:
            return f"{type(error).__name__} {error}"
        return "committed" if any(row["n"] in group for group in slow.groups) else "not there"

    with ThreadPoolExecutor(len(rows)) as pool:
        first = pool.submit(outcome, rows[0])
        assert slow.begun.wait(30)
        others = [pool.submit(outcome, row) for row in rows[1:]]
        time.sleep(0.2)  # Until all of them wait.
        assert not any(one.done() for one in others)
        slow.go.set()
        return [one.result(30) for one in [first, *others]]


def test_who_comes_meanwhile_is_written_together() -> None:
    slow = Slow()
    said = in_threads(GroupCommit(slow, is_value_error).save, slow, [{"n": n} for n in range(9)])
    assert said == ["committed"] * 9
    assert [sorted(group) for group in slow.groups] == [[0], [1, 2, 3, 4, 5, 6, 7, 8]]


def test_a_row_that_is_refused_fails_alone() -> None:
    slow = Slow()
    rows: list[Row] = [{"n": n} for n in range(6)]
    rows[3]["fault"] = ValueError("3")
    said = in_threads(GroupCommit(slow, is_value_error).save, slow, rows)
    assert said == ["committed"] * 3 + ["ValueError 3"] + ["committed"] * 2
    assert sorted(slow.groups) == [[0], [1], [2], [4], [5]]


def test_what_is_no_rows_fault_fails_all_and_is_tried_once() -> None:
    slow = Slow()
    rows: list[Row] = [{"n": n} for n in range(4)]
    rows[2]["fault"] = OSError("away")
    save = GroupCommit(slow, is_value_error).save
    assert in_threads(save, slow, rows) == ["committed"] + ["OSError away"] * 3
    assert slow.groups == [[0]]
    save({"n": 9})  # The next is not theirs.
    assert slow.groups == [[0], [9]]


STAGES = ("chromate", "anodise")


@pytest.fixture
def apps(sql_url: str, tmp_path: Path) -> Iterator[list[Records]]:
    """Two apps on one database."""
    boxes = [Outbox(tmp_path / f"{n}.db") for n in range(2)]
    yield [Records(Database(sql_url), box) for box in boxes]
    for box in boxes:
        box.close()


def test_two_stages_and_refused_rows_at_once(apps: list[Records]) -> None:
    """By SQLite and by MariaDB: all sound rows are in SQL, and each of the others waits."""

    def row(n: int) -> Inspection:
        lot = "1" * 300 if n % 10 == 7 else "3"
        name = None if n % 10 == 7 else "kim"
        return replace(ONE, stage=STAGES[n % 2], inspection_id=f"{n:03d}", lot=lot, user_name=name)  # type: ignore[arg-type]

    with ThreadPoolExecutor(20) as pool:
        saved = list(pool.map(lambda n: apps[n % 2].save(row(n)), range(100)))
    assert saved == [n % 10 != 7 for n in range(100)]
    with apps[0].database.transaction() as connection:
        query = sa.select(table.c.inspection_id, table.c.stage)
        kept = sorted((key, stage) for key, stage in connection.execute(query))
    assert kept == [(f"{n:03d}", STAGES[n % 2]) for n in range(100) if n % 10 != 7]
    assert apps[0].outbox.count() == 0  # The refused ones are odd.
    waiting = {key for key, _, _ in apps[1].outbox.waiting()}
    assert waiting == {f"{n:03d}" for n in range(100) if n % 10 == 7}
