"""Push changes of the lake's mirrored tables to their SQL copies.

The tables are summaries and are read as Arrow without Spark: most syncs bring one row of `runs`.
"""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa
import structlog

from lakehouse.delta.keys import with_key_among
from lakehouse.delta.lake import Lake
from lakehouse.errors import PlatelakeError
from lakehouse.sql.database import is_transient
from lakehouse.sql.summaries import MirrorState, SummaryStore
from lakehouse.table import Table
from lakehouse.tables import MIRRORED

PAUSES = (1.0, 5.0, 15.0)
"""Seconds to wait before each further attempt after a lost connection or a lock."""

BATCH_ROWS = 50_000
"""Rows that are prepared for SQL together."""

Key = tuple[Any, ...]


def mirror_tables(
    lake: Lake, stage: str, url: str, whole: bool = False, place: str = ""
) -> dict[str, int]:
    """Copy the changes of every mirrored table to SQL.

    Args:
        lake: The lake of the stage.
        stage: The stage's name; one database may hold several stages.
        url: SQLAlchemy URL of the database; its schema is brought up to date.
        whole: Compare all rows, not only those that changed since the last sync.
        place: What names stage and lake on the command line, for the command that errors advise.

    Returns:
        The stage's number of rows in SQL, by table.

    Raises:
        UsageError: The URL is neither `sqlite:///` nor `mysql+pymysql://`.
        PlatelakeError: The database fails, even after several attempts.
        QualityGateError: SQL would not have as many rows as the lake; nothing is changed.

    Example:
        >>> import tempfile
        >>> from datetime import UTC, date, datetime
        >>> from lakehouse.tables.lots import LOTS
        >>> moment = datetime(2021, 11, 1, tzinfo=UTC)
        >>> lot = LOTS.row(date(2021, 11, 1), "17", 69, moment, moment, "good")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lake = Lake(folder, "chromate", open_session=lambda: None)
        ...     _ = lake.insert_rows(LOTS, [lot])
        ...     mirror_tables(lake, "chromate", f"sqlite:///{folder}/summaries.db")["lots"]
        1
    """
    store = SummaryStore(url, place)
    try:
        return {table.name: mirror_table(lake, stage, store, table, whole) for table in MIRRORED}
    finally:
        store.close()


def mirror_table(lake: Lake, stage: str, store: SummaryStore, table: Table, whole: bool) -> int:
    """Copy the changes of one table; return its SQL rows. Retry if the database does not answer."""
    pauses = iter(PAUSES)
    while True:
        try:
            return _mirror(lake, stage, store, table, whole)
        except Exception as error:
            if not is_transient(error):
                raise
            pause = next(pauses, None)
            if pause is None:
                raise PlatelakeError(
                    f"SQL did not accept {table.name} in {len(PAUSES) + 1} attempts: {error}; the "
                    "lake is complete, run the sync again when the database answers"
                ) from error
            structlog.get_logger().warning("SQL does not answer, trying again", seconds=pause)
            time.sleep(pause)


def _mirror(lake: Lake, stage: str, store: SummaryStore, table: Table, whole: bool) -> int:
    found = lake.identity(table)
    if found is None:
        return store.count(stage, table)
    source_id, version = found
    state = store.state(stage, table)
    if state and not whole and (state.source_id, state.lake_version) == found:
        return store.count(stage, table)
    stored = lake.load(table, version)
    keys = None if whole else _changed_keys(lake, table, state, source_id, version)
    changed = stored if keys is None else with_key_among(stored, _as_rows(table, keys), table.key)
    gone = keys - _keys(table, changed) if keys else set()
    mirrored = store.mirror(
        stage,
        table,
        source_id=source_id,
        version=version,
        upserts=changed.to_batches(max_chunksize=BATCH_ROWS),
        deletes=_as_rows(table, gone).to_pylist(),
        whole=keys is None,
        expected_rows=lake.count(table, version),
    )
    return mirrored.rows


def _changed_keys(
    lake: Lake, table: Table, state: MirrorState | None, source_id: str, version: int
) -> set[Key] | None:
    """Return the keys that changed since the last sync to SQL; None: any may have changed."""
    if state is None or state.source_id != source_id or state.lake_version > version:
        return None
    return lake.changed(table, table.key, state.lake_version, version)


def _keys(table: Table, stored: pa.Table) -> set[Key]:
    return set(zip(*(stored[name].to_pylist() for name in table.key), strict=True))


def _as_rows(table: Table, keys: set[Key]) -> pa.Table:
    """Return the keys as rows of the key's columns."""
    schema = pa.schema([table.arrow_schema().field(name) for name in table.key])
    return pa.Table.from_pylist([dict(zip(table.key, key, strict=True)) for key in keys], schema)
