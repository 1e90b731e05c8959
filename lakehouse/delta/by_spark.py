"""Commits by Spark, for more rows than the driver holds."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from lakehouse.delta import delta_rs
from lakehouse.delta.keys import OPERATION
from lakehouse.delta.reader import LakeReader
from lakehouse.delta.snapshot import Scope, row_count
from lakehouse.table import Table

if TYPE_CHECKING:
    from deltalake import DeltaTable as LogReader
    from pyspark.sql import DataFrame, SparkSession

FIRST = "first rows"
"""The transaction that fills a table for the first time, however many try."""


def replace(lake: LakeReader, table: Table, rows: DataFrame, where: str) -> None:
    """Make `rows` the table's only rows that meet the condition."""
    with commits(lake, table):
        writer = rows.write.format("delta").mode("overwrite")
        writer.option("replaceWhere", where).save(lake.path(table))


def insert(lake: LakeReader, table: Table, rows: DataFrame) -> int:
    """Add the rows whose key is new. Returns how many are new."""
    once = rows.dropDuplicates(list(table.key))
    stored = lake.read(table).select(*table.key)
    new = once.join(stored, list(table.key), "left_anti").count()
    if new:
        with commits(lake, table):
            _delta(lake, table).merge(
                once.alias("new"), _same_key(table)
            ).whenNotMatchedInsertAll().execute()
    return new


def upsert(
    lake: LakeReader,
    log: LogReader,
    table: Table,
    rows: DataFrame,
    scope: Scope | None,
    consumed: Mapping[str, int] | None,
) -> int:
    """Make `rows` the table's only rows within the scope. Returns how many rows differ."""
    rows = rows.persist()
    difference = None
    try:
        with commits(lake, table, consumed):
            if not row_count(log) and log.transaction_version(FIRST) is None:
                _fill(lake, table, rows)
                return rows.count()
            difference = _difference(lake, table, rows, scope).persist()
            changed = difference.count()
            if changed:
                _merge(lake, table, difference)
            else:
                delta_rs.write(log, table, table.arrow([]), note=consumed)
            return changed
    finally:
        for frame in (rows, difference) if difference else (rows,):
            frame.unpersist()


def _fill(lake: LakeReader, table: Table, rows: DataFrame) -> None:
    first = {"txnAppId": FIRST, "txnVersion": "1"}
    writer = rows.select(*table.names).write.format("delta").mode("append")
    writer.options(**first).save(lake.path(table))


def _difference(lake: LakeReader, table: Table, rows: DataFrame, scope: Scope | None) -> DataFrame:
    from pyspark.sql import functions as F

    stored = lake.read(table)
    for name, values in (scope or {}).items():
        stored = stored.where(F.col(name).isin(list(values)))
    new = rows.select(*table.key, F.struct(*table.names).alias("new"))
    old = stored.select(*table.key, F.struct(*table.names).alias("old"))

    def facts(side: str) -> Any:
        return F.struct(*(F.col(f"{side}.{name}") for name in table.facts))

    return (
        new.join(old, list(table.key), "full")
        .where(
            F.col("new").isNull() | F.col("old").isNull() | ~facts("new").eqNullSafe(facts("old"))
        )
        .select(
            F.when(F.col("new").isNull(), "delete")
            .when(F.col("old").isNull(), "insert")
            .otherwise("update")
            .alias(OPERATION),
            F.coalesce("new", "old").alias("row"),
        )
        .select(OPERATION, "row.*")
    )


def _merge(lake: LakeReader, table: Table, difference: DataFrame) -> None:
    values = {name: f"new.{name}" for name in table.names}
    (
        _delta(lake, table)
        .merge(difference.alias("new"), _same_key(table))
        .whenMatchedDelete(f"new.{OPERATION} = 'delete'")
        .whenMatchedUpdate(set=values)
        .whenNotMatchedInsert(values=values)
        .execute()
    )


def _delta(lake: LakeReader, table: Table) -> Any:
    from delta.tables import DeltaTable

    return DeltaTable.forPath(lake.spark, lake.path(table)).alias("stored")


@contextlib.contextmanager
def commits(
    lake: LakeReader, table: Table, consumed: Mapping[str, int] | None = None
) -> Iterator[None]:
    """Set what a commit by Spark needs in its session, and log how long it took."""
    note = json.dumps(consumed) if consumed else None
    settings = {
        "spark.sql.parquet.compression.codec": "zstd" if table.compress else "uncompressed",
        "spark.databricks.delta.commitInfo.userMetadata": note,
        # It compares each row with each value; `replace` is given no other rows.
        "spark.databricks.delta.replaceWhere.constraintCheck.enabled": "false",
    }
    start = time.monotonic()
    with _session_settings(lake.spark, settings):
        yield
    seconds = round(time.monotonic() - start, 2)
    structlog.get_logger().debug("committed", table=table.name, seconds=seconds)


@contextlib.contextmanager
def _session_settings(spark: SparkSession, settings: Mapping[str, str | None]) -> Iterator[None]:
    before = {key: spark.conf.get(key, None) for key in settings}

    def put(values: Mapping[str, str | None]) -> None:
        for key, value in values.items():
            if value is None:
                spark.conf.unset(key)
            else:
                spark.conf.set(key, value)

    put(settings)
    try:
        yield
    finally:
        put(before)


def sql_text(value: str) -> str:
    """The value as a string literal of Spark, whatever characters it holds."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _same_key(table: Table) -> str:
    return " AND ".join(f"stored.{name} = new.{name}" for name in table.key)
