"""What a table holds at one version, read from its Delta log and files without Spark."""

from __future__ import annotations

import functools
import json
import operator
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from lakehouse.table import Table

Scope = Mapping[str, Collection[Any]]
"""Columns with values: the rows that have one of these values in each of the columns."""

OUT_OF_REACH = re.compile(
    "Object at location .+ not found|Invalid table version|does not have change data enabled"
)
"""Errors of delta-rs about files, a log or a feed that do not exist any more, or not yet."""


def row_count(log: DeltaTable, where: pc.Expression | None = None) -> int:
    """Count the rows of the log's version, or those that meet the condition."""
    if where is None:
        return sum(_of_files(log, "num_records"))
    return int(log.to_pyarrow_dataset().count_rows(filter=where))


def file_sizes(log: DeltaTable) -> list[int]:
    """Return the bytes of each file of that version."""
    return _of_files(log, "size_bytes")


def _of_files(log: DeltaTable, what: str) -> list[int]:
    values: list[int] = pa.table(log.get_add_actions())[what].to_pylist()
    return values


def load(
    log: DeltaTable, table: Table, columns: Sequence[str], where: pc.Expression | None = None
) -> pa.Table:
    """Load these columns as declared; a column declared after the rows were stored is null."""
    stored = log.to_pyarrow_dataset()
    there = [name for name in columns if name in stored.schema.names]
    rows = stored.to_table(columns=there, filter=where)
    declared = table.arrow_schema()
    schema = pa.schema([declared.field(name) for name in columns])
    return pa.table(
        [
            rows[field.name].cast(field.type)
            if field.name in there
            else pa.nulls(rows.num_rows, field.type)
            for field in schema
        ],
        schema=schema,
    )


def rows_in(log: DeltaTable, scope: Scope | None, columns: Sequence[str]) -> pa.Table:
    """Load these columns of the rows in the scope; None: of all rows."""
    stored = log.to_pyarrow_dataset()
    among = [
        pc.field(name).isin(pa.array(list(values), stored.schema.field(name).type))
        for name, values in (scope or {}).items()
    ]
    every = functools.reduce(operator.and_, among, pc.scalar(True))
    return stored.to_table(columns=list(columns), filter=every)


def changes(
    log: DeltaTable, columns: Sequence[str], after: int, until: int
) -> Iterator[list[dict[str, Any]]] | None:
    """Return these columns of the change feed, after < version ≤ until, some rows at a time.

    None if the feed does not reach back that far.
    """
    try:
        feed = log.load_cdf(after + 1, until, columns=list(columns)).read_all()
    except Exception as error:  # delta-rs raises no narrower class.
        if OUT_OF_REACH.search(str(error)):
            return None
        raise

    def rows(batch: Any) -> list[dict[str, Any]]:  # Not with pyarrow: the texts are views.
        values = (batch[name].to_pylist() for name in columns)
        return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]

    return map(rows, feed.to_batches())


def consumed(log: DeltaTable) -> dict[str, int]:
    """Return the versions of other tables that this one was last computed from."""
    for commit in log.history():
        if commit.get("userMetadata"):
            return {str(k): int(v) for k, v in json.loads(commit["userMetadata"]).items()}
    return {}
