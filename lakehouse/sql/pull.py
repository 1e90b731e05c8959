"""Pull the rows that the app wrote from SQL into the lake, each once. They never change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from lakehouse.delta.lake import Lake
from lakehouse.sql.database import Database
from lakehouse.sql.schema import TYPES
from lakehouse.table import Table
from lakehouse.tables import COLLECTED

ROWS_AT_ONCE = 10_000  # SQLite allows 32,766 values in a statement.


def collect_tables(lake: Lake, stage: str, url: str) -> dict[str, int]:
    """Bring the app's rows that the lake does not have yet; return how many were new, by table."""
    database = Database(url)
    try:
        return {table.name: collect_table(lake, stage, database, table) for table in COLLECTED}
    finally:
        database.engine.dispose()


def collect_table(lake: Lake, stage: str, database: Database, table: Table) -> int:
    """Bring the new rows of one table, known by their keys; return how many were new."""
    (key,) = table.key
    source = sa.table(
        table.name,
        sa.column("stage"),
        *(sa.column(column.name, TYPES[column.type]()) for column in table.columns),
    )
    here = source.c.stage == stage
    with database.transaction() as connection:
        there = set(connection.scalars(sa.select(source.c[key]).where(here)))
    new = sorted(there - {row[key] for row in lake.rows(table, key)})
    for start in range(0, len(new), ROWS_AT_ONCE):
        some = new[start : start + ROWS_AT_ONCE]
        own = [source.c[name] for name in table.names]
        query = sa.select(*own).where(here, source.c[key].in_(some))
        with database.transaction() as connection:
            rows = [_aware(row) for row in connection.execute(query)]
        lake.insert_rows(table, rows)
    return len(new)


def _aware(row: Any) -> dict[str, Any]:
    """Return the row by column, with its times in UTC; SQL keeps them without a zone."""
    return {
        name: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
        for name, value in row._mapping.items()
    }
