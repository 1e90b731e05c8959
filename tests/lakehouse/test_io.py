"""The lake's writer: exactly once, atomic, no version for nothing, one process at a time."""

import json
import multiprocessing
import os
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
import structlog
from deltalake.exceptions import DeltaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.errors import PlatelakeError
from lakehouse.incremental import refresh
from lakehouse.io import FEW, Lake
from lakehouse.stage import Stage
from lakehouse.table import Check, Column, Table
from lakehouse.tables import all_tables
from lakehouse.tables.lots import LOTS

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


def frame(spark: SparkSession, *rows: tuple[Any, ...]) -> DataFrame:
    return spark.createDataFrame(list(rows), PLAIN.schema())


def row(name: str, value: float) -> dict[str, Any]:
    return {"day": DAY, "name": name, "value": value, "run": "r"}


def stored(lake: Lake) -> set[tuple[str, float]]:
    return {(row["name"], row["value"]) for row in lake.rows(PLAIN)}


def test_every_wrong_column_is_named_at_once(lake: Lake, spark: SparkSession) -> None:
    rows = spark.createDataFrame([(DAY, 1, 2.0)], "day date, name int, other double")
    with pytest.raises(PlatelakeError) as raised:
        lake.replace(PLAIN, rows, {"day": [DAY]})
    for part in (
        "table plain",
        "name should be string, is int",
        "value should be double, is missing",
        "run should be string, is missing",
        "other is not declared",
        "lakehouse/tables/plain.py",
    ):
        assert part in str(raised.value)
    assert lake.version(PLAIN) == -1


@pytest.mark.parametrize("few", [FEW, 1])
def test_upsert_touches_what_differs_within_its_scope(
    lake: Lake, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Whether the rows are few, and compared here, or not."""
    monkeypatch.setattr("lakehouse.io.FEW", few)
    other = date(2021, 9, 7)
    scope = {"day": [DAY]}
    first = [(DAY, "a", 1.0, "r1"), (DAY, "b", 2.0, "r1"), (other, "c", 3.0, "r1")]
    assert lake.upsert(PLAIN, frame(spark, *first)) == 3
    version = lake.version(PLAIN)

    # The same facts by another run: nothing differs, so there is no version.
    assert lake.upsert(PLAIN, frame(spark, *[(*row[:3], "r2") for row in first])) == 0
    assert lake.version(PLAIN) == version

    # Not a number is what it was.
    strange = frame(spark, (other, "c", 3.0, "r2"), (other, "e", float("nan"), "r2"))
    assert lake.upsert(PLAIN, strange, {"day": [other]}) == 1
    assert lake.upsert(PLAIN, strange, {"day": [other]}) == 0
    assert lake.upsert(PLAIN, strange.where("name = 'c'"), {"day": [other]}) == 1
    version = lake.version(PLAIN)

    # One changed, one new, one gone; the other day is out of scope.
    rows = frame(spark, (DAY, "a", 1.5, "r3"), (DAY, "d", 4.0, "r3"))
    assert lake.upsert(PLAIN, rows, scope) == 3
    assert stored(lake) == {("a", 1.5), ("d", 4.0), ("c", 3.0)}
    assert lake.version(PLAIN) == version + 1
    feed = lake.changes(PLAIN, ["name", "value"], version, version + 1)
    assert feed is not None
    before, after = ("delete", "insert") if few > 1 else ("update_preimage", "update_postimage")
    assert {(r["name"], r["value"], r["_change_type"]) for r in feed} == {
        ("a", 1.0, before),
        ("a", 1.5, after),
        ("b", 2.0, "delete"),
        ("d", 4.0, "insert"),
    }


def test_the_keys_that_changed_are_read_without_spark(
    lake: Lake, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of commits by delta-rs; None where the feed's files are gone, not for the moment."""

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("Generic HdfsObjectStore error: blocks not found for /lake/a.parquet")

    lake.upsert(PLAIN, frame(spark, (DAY, "a", 1.0, "r"), (DAY, "b", 2.0, "r")))
    version = lake.version(PLAIN)
    lake.upsert(PLAIN, frame(spark, (DAY, "a", 1.5, "r"), (DAY, "c", 3.0, "r")))
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
        stale = lake.log(PLAIN)
        write(lake)
        with monkeypatch.context() as late:
            late.setattr(lake, "log", lambda *_, stale=stale: stale)
            with pytest.raises(DeltaError, match="Failed to commit transaction"):
                write(lake)
    assert lake.count(PLAIN) == 3


def test_rows_of_each_value_are_counted(lake: Lake, spark: SparkSession) -> None:
    rows = [(DAY, "a", 1.0, "r"), (DAY, "b", 2.0, "r"), (DAY, "c", 1.0, "s")]
    assert not lake.counts(PLAIN, "run", pc.field("value") == 1)
    lake.upsert(PLAIN, frame(spark, *rows))
    assert lake.counts(PLAIN, "run", pc.field("value") == 1) == {"r": 1, "s": 1}


def test_what_was_consumed_is_kept_with_the_commit(lake: Lake, spark: SparkSession) -> None:
    rows = frame(spark, (DAY, "a", 1.0, "r"))
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
    lake: Lake, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash between making a table and its first rows."""

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    rows = frame(spark, (DAY, "a", 1.0, "r"))
    with monkeypatch.context() as broken:
        broken.setattr("lakehouse.delta_rs.write", crash)
        with pytest.raises(KeyboardInterrupt):
            lake.upsert(PLAIN, rows, None, {"source": 1})
    assert (lake.count(PLAIN), lake.consumed(PLAIN)) == (0, {})
    assert lake.upsert(PLAIN, frame(spark, (DAY, "a", 1.0, "r")), None, {"source": 1}) == 1
    assert stored(lake) == {("a", 1.0)}


@pytest.mark.parametrize("few", [FEW, 0])
def test_replace_is_one_commit_and_keeps_what_is_outside(
    lake: Lake, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Whether it is done here or by Spark."""
    monkeypatch.setattr("lakehouse.io.FEW", few)
    odd = 'it\'s \\ "odd"\n%_'
    lake.upsert(PLAIN, frame(spark, (DAY, odd, 1.0, "r"), (DAY, "b", 2.0, "r")))
    version = lake.version(PLAIN)
    lake.replace(PLAIN, frame(spark, (DAY, odd, 9.0, "r")), {"name": [odd]})
    assert stored(lake) == {(odd, 9.0), ("b", 2.0)}
    assert lake.version(PLAIN) == version + 1
    lake.replace(PLAIN, frame(spark), {"name": [odd]}, {"name": [], "day": [DAY]})
    assert stored(lake) == {("b", 2.0)}
    lake.replace(PLAIN, frame(spark, (DAY, "c", 3.0, "r")), {"name": ["c"]})
    assert stored(lake) == {("b", 2.0), ("c", 3.0)}
    with pytest.raises(PlatelakeError, match="another run wrote the same table, plain"):
        lake.replace(PLAIN, frame(spark, (DAY, "c", 4.0, "r")), {"name": ["c"]}, seen=version)
    with pytest.raises(Exception, match="value_is_positive"):
        lake.replace(PLAIN, frame(spark, (DAY, "c", -3.0, "r")), {"name": ["c"]})
    assert stored(lake) == {("b", 2.0), ("c", 3.0)}


def test_a_heavy_table_or_one_changed_all_over_is_left_to_spark(
    lake: Lake, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.upsert_rows(PLAIN, [row("a", 1.0), row("b", 2.0)])

    def types() -> set[str]:
        version = lake.version(PLAIN)
        feed = lake.changes(PLAIN, ["name"], version - 1, version)
        return {change["_change_type"] for change in feed or []}

    lake.upsert_rows(PLAIN, [row("a", 1.5), row("b", 2.0)])
    assert types() == {"delete", "insert"}
    for limit in ("LIGHT", "SCOPES"):
        with monkeypatch.context() as heavy:
            heavy.setattr(f"lakehouse.io.{limit}", 0)
            lake.upsert_rows(PLAIN, [row("a", 3.0), row("b", 2.0)])
            assert types() == {"update_preimage", "update_postimage"}
            lake.upsert_rows(PLAIN, [row("a", 4.0), row("b", 2.0)])
    monkeypatch.setattr("lakehouse.io.LIGHT", 0)
    lake.replace(PLAIN, frame(spark, (DAY, "a", 9.0, "r")), {"name": ["a"]})
    assert stored(lake) == {("a", 9.0), ("b", 2.0)}


def test_insert_adds_once(lake: Lake, spark: SparkSession) -> None:
    lake.insert(PLAIN, frame(spark, (DAY, "a", 1.0, "r")))
    version = lake.version(PLAIN)
    lake.insert(PLAIN, frame(spark, (DAY, "a", 7.0, "r")))
    assert (lake.version(PLAIN), stored(lake)) == (version, {("a", 1.0)})


def test_a_row_against_a_check_is_refused_and_nothing_is_stored(
    lake: Lake, spark: SparkSession
) -> None:
    lake.upsert(PLAIN, frame(spark, (DAY, "a", 1.0, "r")))
    with pytest.raises(Exception, match="value_is_positive"):
        lake.upsert(PLAIN, frame(spark, (DAY, "a", 1.0, "r"), (DAY, "b", -1.0, "r")))
    assert stored(lake) == {("a", 1.0)}


def test_a_column_declared_later_is_added(lake: Lake, spark: SparkSession) -> None:
    lake.upsert(PLAIN, frame(spark, (DAY, "a", 1.0, "r")))
    wider = replace(PLAIN, columns=(*PLAIN.columns, Column("more", "double", "It's new")))
    assert lake.read(wider).first()["more"] is None  # type: ignore[index]
    new = spark.createDataFrame([(DAY, "b", 2.0, "r", 3.0)], wider.schema())
    lake.insert(wider, new)
    assert {(row["name"], row["more"]) for row in lake.rows(wider)} == {("a", None), ("b", 3.0)}
    widest = replace(wider, columns=(*wider.columns, Column("most", "double", "Newer")))
    rows = spark.createDataFrame([(DAY, "c", 2.0, "r", 3.0, 4.0)], widest.schema())
    lake.replace(widest, rows, {"name": ["c"]}, seen=lake.version(widest))  # It is our own change.
    assert lake.count(widest) == 3


def test_the_checks_of_every_table_are_understood_by_spark(lake: Lake, stage: Stage) -> None:
    """They are declared for both, and delta-rs keeps them in words of its own."""
    for table in all_tables(stage):
        lake.upsert_rows(table, [])
        log = lake.log(table)
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


def test_refresh_computes_only_the_days_that_changed(lake: Lake, spark: SparkSession) -> None:
    seen: list[set[date]] = []

    def lots_of(rows: DataFrame) -> DataFrame:
        seen.append({row["day"] for row in rows.select("day").distinct().collect()})
        moment = F.lit(NOW)
        return rows.groupBy("day", F.col("name").alias("lot")).agg(
            F.count("*").alias("readings"),
            F.first(moment).alias("started_at"),
            F.first(moment).alias("ended_at"),
            F.first(F.lit("good")).alias("label"),
        )

    later = date(2021, 9, 7)
    lake.upsert(PLAIN, frame(spark, (DAY, "1", 1.0, "r"), (later, "1", 1.0, "r")))
    assert refresh(lake, LOTS, [PLAIN], lots_of) == 2
    assert refresh(lake, LOTS, [PLAIN], lots_of) == 0
    lake.replace(PLAIN, frame(spark, (later, "2", 1.0, "r")), {"day": [later]})
    assert refresh(lake, LOTS, [PLAIN], lots_of) == 2
    assert seen == [{DAY, later}, {later}]
    assert {(row["day"], row["lot"]) for row in lake.rows(LOTS)} == {(DAY, "1"), (later, "2")}
    lake.compact(PLAIN)
    assert refresh(lake, LOTS, [PLAIN], lots_of) == 0


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


def test_a_lake_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PlatelakeError, match=r"cannot be written.*--lake"):
        Lake(str(tmp_path / "file"), "chromate", lambda: pytest.fail("no Spark is needed"))
