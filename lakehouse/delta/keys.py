"""Compare Arrow tables by their keys."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.errors import PlatelakeError
from lakehouse.table import Table

OPERATION = "_operation"
"""Column for what to do with a row: insert, update or delete."""


def with_key_among(rows: pa.Table, others: pa.Table, key: Sequence[str]) -> pa.Table:
    """Keep the rows, in their order, whose key is among the others."""
    return rows.take(_places(rows, others, key, "left semi"))


def with_key_not_among(rows: pa.Table, others: pa.Table, key: Sequence[str]) -> pa.Table:
    """Keep the rows, in their order, whose key is not among the others."""
    places = _places(rows, others, key, "left anti")
    return rows if len(places) == rows.num_rows else rows.take(places)


def first_of_each(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    """Keep the first of the rows with one key, in their order."""
    first = _numbered(rows, key, "at").group_by(list(key)).aggregate([("at", "min")])
    return rows if first.num_rows == rows.num_rows else rows.take(first["at_min"].sort())


def _places(rows: pa.Table, others: pa.Table, key: Sequence[str], join_type: str) -> pa.Array:
    """Return the places of the rows that the join keeps; a join of whole rows cannot take lists."""
    keys = others.select(key).cast(rows.select(key).schema)
    return _numbered(rows, key, "at").join(keys, list(key), join_type=join_type)["at"].sort()


def _numbered(rows: pa.Table, key: Sequence[str], name: str) -> pa.Table:
    """Return the rows' keys, with their places as another column."""
    return rows.select(key).append_column(name, pa.array(range(rows.num_rows), pa.int64()))


def compare(table: Table, rows: pa.Table, stored: pa.Table) -> pa.Table:
    """Return the rows to insert, update or delete, so that `stored` becomes `rows`.

    Raises PlatelakeError if two rows have the same key.
    """
    key = list(table.key)
    known = rows.select(key).group_by(key).aggregate([]).num_rows
    if known < rows.num_rows:
        raise PlatelakeError(
            f"table {table.name}: of {rows.num_rows} rows, only {known} differ in their key "
            f"{', '.join(key)}; change the transform so that each key occurs once"
        )
    old_keys = _numbered(stored, key, "old")
    pairs = _numbered(rows, key, "new").join(old_keys, key, join_type="full outer")
    pairs = pairs.select(["new", "old"]).sort_by([("new", "ascending"), ("old", "ascending")])
    new, old = pairs["new"], pairs["old"]
    both = pairs.filter(pc.and_(pc.is_valid(new), pc.is_valid(old)))
    after, before = rows.take(both["new"]), stored.take(both["old"])
    differs = functools.reduce(pc.or_, (_differs(after[n], before[n]) for n in table.facts))
    parts = {
        "insert": rows.take(new.filter(pc.is_null(old))),
        "update": after.filter(differs),
        "delete": stored.take(old.filter(pc.is_null(new))),
    }
    return pa.concat_tables(
        part.append_column(OPERATION, pa.array([name] * part.num_rows, pa.string()))
        for name, part in parts.items()
    )


def _differs(one: pa.ChunkedArray, other: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a mask of the values that differ; null equals null, and NaN equals NaN."""
    if pa.types.is_nested(one.type):
        pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
        return pa.chunked_array([pa.array([a != b for a, b in pairs], pa.bool_())])
    differs = pc.not_equal(one, other)
    if pa.types.is_floating(one.type):
        differs = pc.and_not(differs, pc.and_(pc.is_nan(one), pc.is_nan(other)))
    return pc.fill_null(differs, pc.xor(pc.is_null(one), pc.is_null(other)))
