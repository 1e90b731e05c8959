"""From the lake's mirrored tables to their SQL copies: what changed since the last time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import structlog

from lakehouse.errors import PlatelakeError
from lakehouse.io import Lake, row_count
from lakehouse.sql import MirrorState, SummaryStore, is_transient
from lakehouse.table import Table
from lakehouse.tables import MIRRORED
from lakehouse.times import from_micros

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

PAUSES = (1.0, 5.0, 15.0)
"""Seconds to wait before each further attempt after a lost connection or a lock."""


def mirror_tables(lake: Lake, stage: str, url: str, whole: bool = False) -> dict[str, int]:
    """Copy every mirrored table; SQL rows of the stage by table."""
    store = SummaryStore(url)
    try:
        return {table.name: mirror_table(lake, stage, store, table, whole) for table in MIRRORED}
    finally:
        store.close()


def mirror_table(lake: Lake, stage: str, store: SummaryStore, table: Table, whole: bool) -> int:
    """Copy what changed in one table; its SQL rows. Tries again where the database was away."""
    for pause in PAUSES:
        try:
            return _mirror(lake, stage, store, table, whole)
        except Exception as error:
            if not is_transient(error):
                raise
            structlog.get_logger().warning("SQL is away, trying again", seconds=pause)
            time.sleep(pause)
    try:
        return _mirror(lake, stage, store, table, whole)
    except Exception as error:
        if not is_transient(error):
            raise
        raise PlatelakeError(
            f"SQL did not take {table.name} in {len(PAUSES) + 1} attempts: {error}; the lake is "
            "complete, run the sync again once the database is there"
        ) from error


def _mirror(lake: Lake, stage: str, store: SummaryStore, table: Table, whole: bool) -> int:
    log = lake.log(table)
    if log is None:
        return store.count(stage, table)
    source_id, version = str(log.metadata().id), log.version()
    state = store.state(stage, table)
    if state and not whole and (state.source_id, state.lake_version) == (source_id, version):
        return store.count(stage, table)
    rows = lake.read(table, version)
    keys = None if whole else _changed_keys(lake, table, state, source_id, version)
    changed = rows if keys is None else rows.join(keys, list(table.key), "left_semi")
    gone = None if keys is None else keys.join(rows, list(table.key), "left_anti")
    mirrored = store.mirror(
        stage,
        table,
        source_id=source_id,
        version=version,
        upserts=_plain(changed),
        deletes=_plain(gone) if gone is not None else (),
        whole=keys is None,
        expected_rows=row_count(log),
    )
    return mirrored.rows


def _changed_keys(
    lake: Lake, table: Table, state: MirrorState | None, source_id: str, version: int
) -> DataFrame | None:
    """The keys that changed since SQL was brought up to date; None: any may have."""
    if state is None or state.source_id != source_id or state.lake_version > version:
        return None
    feed = lake.changes(table, state.lake_version, version)
    return None if feed is None else feed.select(*table.key).distinct()


def _plain(rows: DataFrame) -> Iterator[dict[str, Any]]:
    """The rows as dictionaries; timestamps in UTC without a zone, as SQL keeps them."""
    from pyspark.sql import functions as F

    moments = {field.name for field in rows.schema if field.dataType.typeName() == "timestamp"}
    plain = rows.select(
        *(F.unix_micros(n).alias(n) if n in moments else F.col(n) for n in rows.columns)
    )
    for row in plain.toLocalIterator():
        values = row.asDict()
        for name in moments & {name for name, value in values.items() if value is not None}:
            values[name] = from_micros(values[name]).replace(tzinfo=None)
        yield values
