"""The lake's writer: exactly once, atomic, no version for nothing, one process at a time."""

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import structlog
from deltalake.exceptions import DeltaError
from pyspark.sql import SparkSession

from lakehouse.delta import delta_rs
from lakehouse.delta.incremental import refresh
from lakehouse.delta.lake import Lake
from lakehouse.delta.rows import Rows
from lakehouse.errors import OvertakenError, PlatelakeError, VersionGoneError
from lakehouse.settings import Here
from lakehouse.stage import Stage
from lakehouse.table import Check, Column, Table
from lakehouse.tables import all_tables
from lakehouse.tables.error_lists import ERROR_LISTS
from lakehouse.tables.lots import LOTS
from tests.waiting import waits

DAY = date(2021, 9, 6)
NOW = datetime(2021, 9, 6, 7, tzinfo=UTC)

PLAIN = Table(
    name="plain",
    meaning="A table for tests",
    columns=(
        Column("day", "date", "Day"),
        Column("name", "string", "Name"),
        Column("value", "double", "Value", "V"),
        Column("run", "string", "Run", bookkeeping=True),
    ),
    key=("day", "name"),
    checks=(Check("value_is_positive", "value > 0"),),
    changes=True,
)


Make = Callable[..., Rows]


def held(*rows: tuple[Any, ...]) -> pa.Table:
    return PLAIN.arrow([PLAIN.row(*values) for values in rows])


@pytest.fixture(params=["here", pytest.param("by Spark", marks=pytest.mark.heavy)])
def made(request: pytest.FixtureRequest) -> Make:
    """Makes rows that are held here, or by Spark."""
    if request.param == "here":
        return held
    spark = request.getfixturevalue("spark")
    return lambda *rows: spark.createDataFrame(list(rows), PLAIN.schema())


def row(name: str, value: float) -> dict[str, Any]:
    return {"day": DAY, "name": name, "value": value, "run": "r"}


def stored(lake: Lake) -> set[tuple[str, float]]:
    return {(row["name"], row["value"]) for row in lake.rows(PLAIN)}


def test_every_wrong_column_is_named_at_once(lake: Lake) -> None:
    types = {"day": pa.date32(), "name": pa.int32(), "other": pa.float64()}
    rows = pa.Table.from_pylist([{"day": DAY, "name": 1, "other": 2.0}], pa.schema(types))
    with pytest.raises(PlatelakeError) as raised:
        lake.replace(PLAIN, rows, {"day": [DAY]})
    for part in (
        "table plain",
        "name should be string, is int32",
        "value should be double, is missing",
        "run should be string, is missing",
        "other is not declared",
        "lakehouse/tables/plain.py",
    ):
        assert part in str(raised.value)
    assert lake.version(PLAIN) == -1


def test_upsert_touches_what_differs_within_its_scope(lake: Lake, made: Make) -> None:
    other = date(2021, 9, 7)
    scope = {"day": [DAY]}
    first = [(DAY, "a", 1.0, "r1"), (DAY, "b", 2.0, "r1"), (other, "c", 3.0, "r1")]
    assert lake.upsert(PLAIN, made(*first)) == 3
    version = lake.version(PLAIN)

    # The same facts by another run: nothing differs, so there is no version.
    assert lake.upsert(PLAIN, made(*[(*row[:3], "r2") for row in first])) == 0
    assert lake.version(PLAIN) == version

    # Not a number is what it was.
    strange = [(other, "c", 3.0, "r2"), (other, "e", float("nan"), "r2")]
    assert lake.upsert(PLAIN, made(*strange), {"day": [other]}) == 1
    assert lake.upsert(PLAIN, made(*strange), {"day": [other]}) == 0
    assert lake.upsert(PLAIN, made(strange[0]), {"day": [other]}) == 1
    version = lake.version(PLAIN)

    # One changed, one new, one gone; the other day is out of scope.
    assert lake.upsert(PLAIN, made((DAY, "a", 1.5, "r3"), (DAY, "d", 4.0, "r3")), scope) == 3
    assert stored(lake) == {("a", 1.5), ("d", 4.0), ("c", 3.0)}
    assert lake.version(PLAIN) == version + 1
    feed = lake.changes(PLAIN, ["name", "value"], version, version + 1)
    assert feed is not None
    by_merge = "update_preimage", "update_postimage"
    before, after = ("delete", "insert") if made is held else by_merge
    assert {(r["name"], r["value"], r["_change_type"]) for r in feed} == {
        ("a", 1.0, before),
        ("a", 1.5, after),
        ("b", 2.0, "delete"),
        ("d", 4.0, "insert"),
    }


def test_lists_are_compared_by_their_values(lake: Lake) -> None:
    def list_of(*lots: str) -> dict[str, Any]:
        return {"day": DAY, "lots": list(lots), "file": "list.csv", "line": 2}

    assert lake.upsert_rows(ERROR_LISTS, [list_of("1", "2")]) == 1
    assert lake.upsert_rows(ERROR_LISTS, [list_of("1", "2")]) == 0
    assert lake.upsert_rows(ERROR_LISTS, [list_of()]) == 1
    assert lake.rows(ERROR_LISTS, "lots") == [{"lots": []}]


def test_many_changed_rows_are_replaced_by_day(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta_rs, "SCOPES", 1)
    days = [date(2021, 9, day) for day in range(1, 5)]
    lake.upsert(PLAIN, held(*[(day, name, 1.0, "r") for day in days for name in "ab"]))
    rows = [(day, name, 2.0 if name == "a" else 1.0, "r") for day in days[1:] for name in "ab"]
    assert lake.upsert(PLAIN, held(*rows), {"day": days[1:]}) == 3
    assert lake.upsert(PLAIN, held(*rows[1:]), {"day": days[1:]}) == 1
    assert lake.upsert(PLAIN, held((days[0], "b", 1.0, "r"), *rows[1:])) == 1
    found = {(row["day"], row["name"], row["value"]) for row in lake.rows(PLAIN)}
    assert found == {(days[0], "b", 1.0), *(row[:3] for row in rows[1:])}


def test_rows_of_one_key_are_refused(lake: Lake) -> None:
    with pytest.raises(PlatelakeError, match="of 2 rows, only 1 differ in their key day, name"):
        lake.upsert(PLAIN, held((DAY, "a", 1.0, "r"), (DAY, "a", 2.0, "r")))


def test_the_keys_that_changed_are_read_without_spark(
    lake: Lake, made: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of commits by delta-rs; None where the feed's files are gone, not for the moment."""

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("Generic HdfsObjectStore error: blocks not found for /lake/a.parquet")

    lake.upsert(PLAIN, made((DAY, "a", 1.0, "r"), (DAY, "b", 2.0, "r")))
    version = lake.version(PLAIN)
    lake.upsert(PLAIN, made((DAY, "a", 1.5, "r"), (DAY, "c", 3.0, "r")))
    key = PLAIN.key
    assert lake.changed(PLAIN, key, version, version + 1) == {(DAY, "a"), (DAY, "b"), (DAY, "c")}
    assert lake.changed(PLAIN, ["day"], version, version + 1) == {(DAY,)}
    lake.append_rows(PLAIN, [row("d", 4.0)], "once")
    assert lake.changed(PLAIN, key, version + 1, version + 2) == {(DAY, "d")}
    with monkeypatch.context() as away:
        away.setattr("deltalake.DeltaTable.load_cdf", unreachable)
        with pytest.raises(OSError, match="blocks not found"):
            lake.changes(PLAIN, key, version, version + 1)
    for file in Path(lake.folder, PLAIN.name, "_change_data").iterdir():
        file.unlink()
    assert lake.changed(PLAIN, key, version, version + 1) is None
    assert lake.changes(PLAIN, key, version, version + 1) is None


def test_rows_are_appended_once_and_are_as_by_spark(lake: Lake, spark: SparkSession) -> None:
    """Whether Spark makes the table, or it is there; the table's checks hold."""
    for name in ("a", "b", "b"):
        lake.append_rows(PLAIN, [row(name, 1.0), row(f"{name}'", 1.0)], transaction=name)
    assert [tuple(one) for one in lake.read(PLAIN).orderBy("name").collect()] == [
        (DAY, name, 1.0, "r") for name in ("a", "a'", "b", "b'")
    ]
    with pytest.raises(
        PlatelakeError, match=r"value_is_positive: value > 0.*failed validation check"
    ):
        lake.append_rows(PLAIN, [row("d", -1.0)], "d")
    with pytest.raises(PlatelakeError, match="another run wrote the same table, plain"):
        lake.append_rows(PLAIN, [row("d", 1.0), row("b", 1.0)], "of another run")
    wider = replace(PLAIN, columns=(*PLAIN.columns, Column("more", "double", "More")))
    lake.append_rows(wider, [{**row("e", 1.0), "more": 2.0}], transaction="e")
    assert {one["more"] for one in lake.rows(wider)} == {None, 2.0}


def test_rows_are_inserted_where_their_key_is_new(lake: Lake) -> None:
    lake.insert_rows(PLAIN, [row("a", 1.0)])
    version = lake.version(PLAIN)
    lake.insert_rows(PLAIN, [row("a", 7.0)])
    lake.insert_rows(PLAIN, [])
    assert (lake.version(PLAIN), stored(lake)) == (version, {("a", 1.0)})
    lake.insert_rows(PLAIN, [row("a", 7.0), row("b", 2.0)])
    assert (lake.version(PLAIN), stored(lake)) == (version + 1, {("a", 1.0), ("b", 2.0)})


def test_of_two_that_insert_without_a_lock_the_second_is_refused(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on HDFS, where no lock stands between; also of two that append the same."""
    lake.insert_rows(PLAIN, [row("a", 1.0)])
    for write in (
        lambda lake: lake.insert_rows(PLAIN, [row("b", 1.0)]),
        lambda lake: lake.append_rows(PLAIN, [row("c", 1.0)], "c"),
    ):
        stale = lake._log(PLAIN)
        write(lake)
        with monkeypatch.context() as late:
            late.setattr(lake, "_log", lambda *_, stale=stale: stale)
            with pytest.raises(DeltaError, match="Failed to commit transaction"):
                write(lake)
    assert lake.count(PLAIN) == 3


def test_rows_of_each_value_are_counted(lake: Lake, made: Make) -> None:
    rows = [(DAY, "a", 1.0, "r"), (DAY, "b", 2.0, "r"), (DAY, "c", 1.0, "s")]
    assert not lake.counts(PLAIN, "run", pc.field("value") == 1)
    lake.upsert(PLAIN, made(*rows))
    assert lake.counts(PLAIN, "run", pc.field("value") == 1) == {"r": 1, "s": 1}


def test_what_was_consumed_is_kept_with_the_commit(lake: Lake, made: Make) -> None:
    rows = made((DAY, "a", 1.0, "r"))
    lake.upsert(PLAIN, rows, None, {"source": 4})
    assert lake.consumed(PLAIN) == {"source": 4}
    lake.upsert(PLAIN, rows, None, {"source": 5})  # no row differs, but more was consumed
    assert lake.consumed(PLAIN) == {"source": 5}
    version = lake.version(PLAIN)
    lake.upsert(PLAIN, rows, None, {"source": 5})
    lake.compact(PLAIN)
    assert (lake.version(PLAIN), lake.consumed(PLAIN)) == (version, {"source": 5})
    assert stored(lake) == {("a", 1.0)}


def test_a_table_made_but_not_filled_has_consumed_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash between making a table and its first rows."""

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    rows = held((DAY, "a", 1.0, "r"))
    with monkeypatch.context() as broken:
        broken.setattr("lakehouse.delta.delta_rs.write", crash)
        with pytest.raises(KeyboardInterrupt):
            lake.upsert(PLAIN, rows, None, {"source": 1})
    assert (lake.count(PLAIN), lake.consumed(PLAIN)) == (0, {})
    assert lake.upsert(PLAIN, held((DAY, "a", 1.0, "r")), None, {"source": 1}) == 1
    assert stored(lake) == {("a", 1.0)}


def test_replace_is_one_commit_and_keeps_what_is_outside(lake: Lake, made: Make) -> None:
    odd = 'it\'s \\ "odd"\n%_'
    lake.upsert(PLAIN, held((DAY, odd, 1.0, "r"), (DAY, "b", 2.0, "r")))
    version = lake.version(PLAIN)
    lake.replace(PLAIN, made((DAY, odd, 9.0, "r")), {"name": [odd]})
    assert stored(lake) == {(odd, 9.0), ("b", 2.0)}
    assert lake.version(PLAIN) == version + 1
    lake.replace(PLAIN, made(), {"name": [odd]}, {"name": [], "day": [DAY]})
    assert stored(lake) == {("b", 2.0)}
    lake.replace(PLAIN, made(), {"name": [odd]})
    assert lake.version(PLAIN) == version + 2
    lake.replace(PLAIN, made((DAY, "c", 3.0, "r")), {"name": ["c"]})
    assert stored(lake) == {("b", 2.0), ("c", 3.0)}
    with pytest.raises(OvertakenError, match="another run wrote the same table, plain") as raised:
        lake.replace(PLAIN, made((DAY, "c", 4.0, "r")), {"name": ["c"]}, seen=version)
    assert raised.value.table == "plain"
    with pytest.raises(Exception, match="value_is_positive"):
        lake.replace(PLAIN, made((DAY, "c", -3.0, "r")), {"name": ["c"]})
    assert stored(lake) == {("b", 2.0), ("c", 3.0)}


def test_vacuum_keeps_the_files_of_the_versions_that_are_named(lake: Lake) -> None:
    lake.insert_rows(PLAIN, [row("a", 1.0)])
    at_once = {"delta.deletedFileRetentionDuration": "interval 0 hours"}
    lake._log(PLAIN).alter.set_table_properties(at_once)  # type: ignore[union-attr]
    for value in (2.0, 3.0, 4.0):
        lake.upsert_rows(PLAIN, [row("a", value)])
    kept, gone = lake.version(PLAIN) - 1, lake.version(PLAIN) - 2
    assert lake.load(PLAIN, gone)["value"].to_pylist() == [2.0]
    lake.vacuum(PLAIN, 0, keep_versions={kept})
    assert lake.load(PLAIN, kept)["value"].to_pylist() == [3.0]
    assert stored(lake) == {("a", 4.0)}
    with pytest.raises(VersionGoneError) as raised:
        lake.load(PLAIN, gone)
    assert (raised.value.table, raised.value.version) == ("plain", gone)
    with pytest.raises(VersionGoneError, match="version 99 of table plain"):
        lake.vacuum(PLAIN, 0, keep_versions={99})
    assert lake.load(PLAIN, kept)["value"].to_pylist() == [3.0]
    lake.vacuum(PLAIN, 0)
    with pytest.raises(VersionGoneError):
        lake.load(PLAIN, kept)


def test_insert_adds_once(lake: Lake, made: Make) -> None:
    assert lake.insert(PLAIN, made((DAY, "a", 1.0, "r"))) == 1
    version = lake.version(PLAIN)
    assert lake.insert(PLAIN, made((DAY, "a", 7.0, "r"))) == 0
    assert (lake.version(PLAIN), stored(lake)) == (version, {("a", 1.0)})
    assert lake.insert(PLAIN, made((DAY, "b", 2.0, "r"), (DAY, "b", 2.0, "r"))) == 1
    assert stored(lake) == {("a", 1.0), ("b", 2.0)}


def test_a_row_against_a_check_is_refused_and_nothing_is_stored(lake: Lake, made: Make) -> None:
    lake.upsert(PLAIN, made((DAY, "a", 1.0, "r")))
    with pytest.raises(Exception, match="value_is_positive"):
        lake.upsert(PLAIN, made((DAY, "a", 1.0, "r"), (DAY, "b", -1.0, "r")))
    assert stored(lake) == {("a", 1.0)}


def test_a_column_declared_later_is_added(lake: Lake, spark: SparkSession) -> None:
    lake.upsert(PLAIN, held((DAY, "a", 1.0, "r")))
    wider = replace(PLAIN, columns=(*PLAIN.columns, Column("more", "double", "It's new")))
    assert lake.read(wider).first()["more"] is None  # type: ignore[index]
    assert lake.load(wider)["more"].to_pylist() == [None]
    new = spark.createDataFrame([(DAY, "b", 2.0, "r", 3.0)], wider.schema())
    lake.insert(wider, new)
    assert {(row["name"], row["more"]) for row in lake.rows(wider)} == {("a", None), ("b", 3.0)}
    widest = replace(wider, columns=(*wider.columns, Column("most", "double", "Newer")))
    rows = widest.arrow([widest.row(DAY, "c", 2.0, "r", 3.0, 4.0)])
    lake.replace(widest, rows, {"name": ["c"]}, seen=lake.version(widest))  # It is our own change.
    assert lake.count(widest) == 3


@pytest.mark.heavy
def test_the_checks_of_every_table_are_understood_by_spark(lake: Lake, stage: Stage) -> None:
    """They are declared for both, and delta-rs keeps them in words of its own."""
    for table in all_tables(stage):
        lake.upsert_rows(table, [])
        log = lake._log(table)
        assert log
        kept = log.metadata().configuration
        for check in table.checks:
            condition = kept[f"delta.constraints.{check.name}"]
            assert lake.read(table).where(condition).where(check.condition).isEmpty()


def test_a_check_declared_later_is_added(lake: Lake) -> None:
    bare = replace(PLAIN, checks=())
    lake.insert_rows(bare, [row("a", -1.0)])
    with pytest.raises(PlatelakeError, match="value_is_positive: value > 0"):
        lake.insert_rows(PLAIN, [row("b", 1.0)])
    lake.upsert_rows(bare, [])
    lake.insert_rows(PLAIN, [row("b", 1.0)])
    with pytest.raises(PlatelakeError, match="value_is_positive: value > 0"):
        lake.insert_rows(PLAIN, [row("c", -1.0)])


def test_refresh_computes_only_the_days_that_changed(lake: Lake, made: Make) -> None:
    """Whether the rows are few, and computed here, or not."""

    def lots_of(rows: pa.Table) -> pa.Table:
        names = {(row["day"], row["name"]) for row in rows.to_pylist()}
        return LOTS.arrow([LOTS.row(*name, 1, NOW, NOW, "good") for name in sorted(names)])

    if made is not held:
        lake.here = Here(rows=0)
    later = date(2021, 9, 7)
    lake.upsert(PLAIN, held((DAY, "1", 1.0, "r"), (later, "1", 1.0, "r")))
    assert refresh(lake, LOTS, [PLAIN], lots_of) == 2
    assert refresh(lake, LOTS, [PLAIN], lots_of) == 0
    lake.replace(PLAIN, held((later, "2", 1.0, "r")), {"day": [later]})
    assert refresh(lake, LOTS, [PLAIN], lots_of) == 2
    assert {(row["day"], row["lot"]) for row in lake.rows(LOTS)} == {(DAY, "1"), (later, "2")}
    lake.compact(PLAIN)
    assert refresh(lake, LOTS, [PLAIN], lots_of) == 0


def test_refresh_computes_all_days_if_a_setting_changes(lake: Lake) -> None:
    asked: list[int] = []

    def lots_of(rows: pa.Table) -> pa.Table:
        asked.append(rows.num_rows)
        return LOTS.arrow([LOTS.row(DAY, "1", 1, NOW, NOW, "good")])

    lake.upsert(PLAIN, held((DAY, "1", 1.0, "r"), (date(2021, 9, 7), "1", 1.0, "r")))
    for value in (0, 0, 1, 1, 0, 0):
        refresh(lake, LOTS, [PLAIN], lots_of, settings={"rule": value})
    assert asked == [2, 2, 2]


def test_days_that_another_source_has_are_computed_too(lake: Lake, made: Make) -> None:
    """Of every source a day's function gets that day's rows, be there some or not."""

    def lots_of(rows: pa.Table, lists: pa.Table) -> pa.Table:
        days = {*rows["day"].to_pylist(), *lists["day"].to_pylist()}
        return LOTS.arrow(
            [
                LOTS.row(day, file, rows["day"].to_pylist().count(day), NOW, NOW, "good")
                for day in days
                for file in lists["file"].to_pylist() or ["none"]
            ]
        )

    if made is not held:
        lake.here = Here(rows=0)
    other = date(2021, 9, 7)
    lake.upsert(PLAIN, held((DAY, "1", 1.0, "r"), (DAY, "2", 1.0, "r")))
    list_of_other = {"day": other, "lots": ["1"], "file": "list", "line": 2}
    lake.upsert_rows(ERROR_LISTS, [list_of_other])
    assert refresh(lake, LOTS, [PLAIN, ERROR_LISTS], lots_of) == 2
    found = {(row["day"], row["readings"]) for row in lake.rows(LOTS)}
    assert found == {(DAY, 2), (other, 0)}


def _hold(folder: str, entered: Any, leave: Any, log: str = os.devnull) -> None:
    lake = Lake(folder, "chromate", lambda: pytest.fail("no Spark is needed"))
    with Path(log).open("w", buffering=1) as stream:
        structlog.configure(
            processors=[structlog.processors.JSONRenderer()],
            logger_factory=structlog.PrintLoggerFactory(stream),
        )
        with lake.lock("plain"):
            entered.set()
            leave.wait(30)


@pytest.mark.heavy
def test_one_process_at_a_time_commits_to_a_local_table(tmp_path: Path) -> None:
    """On file: two processes that commit at once lose rows; the second has to wait."""
    spawn = multiprocessing.get_context("spawn")
    entered, leave, second = spawn.Event(), spawn.Event(), spawn.Event()
    held = spawn.Process(target=_hold, args=(str(tmp_path), entered, leave))
    held.start()
    assert entered.wait(60)
    leave_second = spawn.Event()
    log = tmp_path / "log"
    waiting = spawn.Process(target=_hold, args=(str(tmp_path), second, leave_second, str(log)))
    waiting.start()
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text()) and time.monotonic() < deadline:
        assert not second.wait(0.2), "two processes were inside at once"
    assert not second.wait(2), "two processes were inside at once"
    (line,) = log.read_text().splitlines()  # The one that waits says so, once.
    assert json.loads(line)["event"] == "waiting for another run"
    held.kill()  # a killed process does not keep the lock
    assert second.wait(60)
    leave_second.set()
    waiting.join(60)
    held.join(60)


def test_a_commit_waits_for_the_lock_of_its_table(tmp_path: Path) -> None:
    """Also in one process, without Spark. A transaction that is committed is not repeated."""
    lake = Lake(str(tmp_path), "chromate", lambda: pytest.fail("no Spark is needed"))
    writer = threading.Thread(target=lake.append_rows, args=(PLAIN, [row("a", 1.0)], "once"))
    with lake.lock(PLAIN.name):
        assert waits(writer)
        assert writer.is_alive() and lake.version(PLAIN) == -1
    writer.join(60)
    version = lake.version(PLAIN)
    lake.append_rows(PLAIN, [row("a", 1.0)], "once")
    assert (lake.version(PLAIN), stored(lake)) == (version, {("a", 1.0)})


def test_a_lake_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PlatelakeError, match=r"cannot be written.*--lake"):
        Lake(str(tmp_path / "file"), "chromate", lambda: pytest.fail("no Spark is needed"))
