"""Readings and error lists: from the landing zone into their tables, exactly once.

Order of commits: quarantine, then the doubts of lists, then the table, then the ledger. Each is a
replacement of what the same files brought before, so a run cut off anywhere is made good by the
next, and a file delivered again with other content replaces its own rows in one commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import structlog

from lakehouse import ledger, quality
from lakehouse.clear_landing import clear_landing, hold_back_reused_names, put_back_left
from lakehouse.copies import copies, superseders
from lakehouse.ingest import HELD_BACK, Ingest, in_files
from lakehouse.io import Lake
from lakehouse.ledger import LOADED, QUARANTINED, Counts, Delivery
from lakehouse.list_doubts import never_doubted, replace_doubts
from lakehouse.sources import error_lists as error_list_source
from lakehouse.sources import readings as readings_source
from lakehouse.sources.delimited import Layout
from lakehouse.sources.workers import inspect_files, read_rows
from lakehouse.table import Table
from lakehouse.tables.error_lists import ERROR_LISTS
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def ingest_readings(to: Ingest) -> Counts:
    """Sensor files that are new, changed or asked for again, into `readings`."""
    layout = readings_source.layout(to.stage, to.settings)
    return _ingest(to, "readings", readings(to.stage), layout)


def ingest_error_lists(to: Ingest) -> Counts:
    """Error lists that are new, changed or asked for again, into `error_lists`."""
    layout = error_list_source.layout(to.stage, to.settings)
    to = replace(to, again=to.again | never_doubted(to.lake))
    return _ingest(to, "error_lists", ERROR_LISTS, layout)


def _ingest(to: Ingest, kind: str, table: Table, layout: Layout) -> Counts:
    put_back_left(to)
    known = ledger.current(to.lake, kind)
    landed = to.settled(to.landed(kind, known), known)
    facts = inspect_files(to.lake, to.landing, to.candidates(landed, known), layout)
    facts |= inspect_files(to.lake, to.landing, ledger.heirs(landed, known, facts), layout)
    hold_back_reused_names(to, kind, known, facts)
    again = copies(landed, known, facts, to.again)
    unread = [file for file in again if file.file not in facts]
    facts |= inspect_files(to.lake, to.landing, unread, layout)
    for file in facts if kind == "readings" else ():
        readings_source.judge_file(to.stage, file, facts[file])
    plan = ledger.plan(landed, known, facts, {*to.again, *(file.file for file in again)})
    deliveries = [*plan.deliveries, *plan.released]
    if deliveries:
        _warn(kind, deliveries)
        _load(to, kind, table, layout, deliveries, superseders(deliveries, known))
    counts = ledger.count(plan)
    if counts.reconciled:
        ledger.record(to.lake, deliveries, to.run_id)
        clear_landing(to, kind, table, landed)
    return counts


def _warn(kind: str, deliveries: Sequence[Delivery]) -> None:
    """Say what a person should look at: a column that is not read may hold a failed lot."""
    for d in deliveries:
        if d.facts.note and d.status == LOADED:
            structlog.get_logger().warning(
                "unusual file", kind=kind, file=d.landed.file, note=d.facts.note
            )


def _load(
    to: Ingest,
    kind: str,
    table: Table,
    layout: Layout,
    deliveries: Sequence[Delivery],
    superseded: dict[str, set[str]],
) -> None:
    """A file that could not be read keeps the rows it brought before."""
    files = [delivery.landed.file for delivery in deliveries if delivery.facts.sha256]
    unread = [delivery.landed.file for delivery in deliveries if not delivery.facts.sha256]
    loading = [delivery for delivery in deliveries if delivery.status == LOADED]
    seen = to.lake.version(table)
    judged = _judged(to, kind, table, layout, loading, superseded).persist()
    try:
        rows = judged
        if kind == "readings":
            rows = _with_stored(to.lake, table, judged, files)
        else:
            held = _superseded_days(to.lake, table, judged, loading, superseded)
            replace_doubts(to, judged, deliveries, held)
        held_back = _held_back(to, kind, rows, deliveries).persist()
        to.replace_quarantine(kind, held_back, files, unread)
        held_back.unpersist()
        if loading or to.lake.counts(table, "file", in_files(files)):
            passed = quality.filter_passed(rows).select(*table.names)
            to.lake.replace(table, passed, {"file": files}, seen=seen)
    finally:
        judged.unpersist()
    _count(to.lake, kind, table, deliveries)


def _judged(
    to: Ingest,
    kind: str,
    table: Table,
    layout: Layout,
    loading: Sequence[Delivery],
    superseded: dict[str, set[str]],
) -> DataFrame:
    """The files' rows, typed, with the rules they break."""
    from pyspark.sql import functions as F

    spark, stage = to.lake.spark, to.stage
    cells = read_rows(to.lake, to.landing, [(d.landed, d.facts) for d in loading], layout)
    about = spark.createDataFrame(
        [
            (d.landed.file, d.facts.grouped, readings_source.file_date(stage, d.landed.file))
            for d in loading
        ],
        "file string, grouped int, file_date date",
    )
    cells = cells.join(F.broadcast(about), "file", "left")
    if kind == "error_lists":
        typed = error_list_source.with_typed(cells, stage)
        judged = quality.with_broken(typed, error_list_source.rules(stage))
        return _with_superseded(to.lake, table, judged, loading, superseded)
    fields = list(layout.fields)
    typed = readings_source.with_typed(cells, stage, fields)
    judged = quality.with_broken(typed, readings_source.rules(stage, fields))
    judged = _with_superseded(to.lake, table, judged, loading, superseded)
    # Whole lots together: the search for duplicates needs no other shuffle.
    return quality.with_duplicates_broken(judged.repartition("day", "lot"), table.key)


def _with_superseded(
    lake: Lake,
    table: Table,
    rows: DataFrame,
    loading: Sequence[Delivery],
    superseded: dict[str, set[str]],
) -> DataFrame:
    """Mark the rows of copies, of days that a corrected file now holds."""
    days = _superseded_days(lake, table, rows, loading, superseded)
    return rows if days is None else quality.with_superseded_broken(rows, days)


def _superseded_days(
    lake: Lake,
    table: Table,
    rows: DataFrame,
    loading: Sequence[Delivery],
    superseded: dict[str, set[str]],
) -> DataFrame | None:
    """The days of copies, as `file` and `day`, that a corrected file, `by`, holds; None: none."""
    from pyspark.sql import functions as F

    pairs = [(file, by) for file, some in superseded.items() for by in sorted(some)]
    if not pairs:
        return None
    loaded = [delivery.landed.file for delivery in loading]
    stored = lake.read(table).where(~F.col("file").isin(loaded)).select("file", "day")
    days = quality.filter_passed(rows).select("file", "day").unionByName(stored)
    held = days.distinct().withColumnRenamed("file", "by")
    of_copies = lake.spark.createDataFrame(pairs, "file string, by string")
    return (
        held.join(F.broadcast(of_copies), "by").groupBy("file", "day").agg(F.min("by").alias("by"))
    )


def _with_stored(lake: Lake, table: Table, rows: DataFrame, files: Sequence[str]) -> DataFrame:
    """Mark the rows whose key another file has stored before."""
    from pyspark.sql import functions as F

    if not lake.count(table):
        return rows
    others = lake.read(table).where(~F.col("file").isin(files))
    days = [row["day"] for row in quality.filter_passed(rows).select("day").distinct().collect()]
    return quality.with_stored_broken(rows, others.where(F.col("day").isin(days)), table.key)


def _held_back(to: Ingest, kind: str, rows: DataFrame, deliveries: Sequence[Delivery]) -> DataFrame:
    """Quarantine entries: the rows that broke rules, and the files that are bad as a whole."""
    from pyspark.sql import functions as F

    spark = to.lake.spark
    about = spark.createDataFrame(
        [(d.landed.file, d.facts.sha256, d.facts.header) for d in deliveries],
        "file string, sha256 string, header array<string>",
    )
    raw = F.when(
        F.col("fault").isNull(), F.to_json(F.map_from_arrays("header", "cells"))
    ).otherwise(F.to_json(F.create_map(F.lit("line"), F.col("cells")[0])))
    bad_rows = quality.filter_held_back(rows).join(F.broadcast(about), "file")
    bad_files = [
        (d.landed.file, d.facts.sha256, 0, d.facts.rule, d.facts.reason, None)
        for d in deliveries
        if d.status == QUARANTINED
    ]
    return to.entries(
        kind,
        bad_rows.select("file", "sha256", "line", "rule", "reason", raw.alias("raw")).unionByName(
            spark.createDataFrame(bad_files, HELD_BACK)
        ),
    )


def _count(lake: Lake, kind: str, table: Table, deliveries: Sequence[Delivery]) -> None:
    """Count what the tables now hold of each file."""
    own = in_files([delivery.landed.file for delivery in deliveries])
    rows = (pc.field("kind") == kind) & (pc.field("line") > 0)
    stored = lake.counts(table, "file", own)
    held = lake.counts(QUARANTINE, "file", own & rows)
    for delivery in deliveries:
        file = delivery.landed.file
        if not delivery.facts.sha256:
            continue
        delivery.rows_read = delivery.facts.rows if delivery.status == LOADED else 0
        delivery.rows_stored = stored[file]
        delivery.rows_quarantined = held[file]
