"""Rows on their way into a table: held in the driver by Arrow, or by Spark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, Union

import pyarrow as pa

from lakehouse.errors import PlatelakeError
from lakehouse.table import Table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Row = Mapping[str, Any]

Rows: TypeAlias = Union["pa.Table", "DataFrame"]
"""Rows that are held here, or by Spark."""


def is_held_here(rows: Rows) -> TypeGuard[pa.Table]:
    """Whether the rows are in this process's memory, and not Spark's."""
    return isinstance(rows, pa.Table)


def conform(table: Table, rows: Any) -> Any:
    """The rows with just the declared columns, in order.

    Raises PlatelakeError that lists every missing or differently typed column at once.
    """
    here = is_held_here(rows)
    if here:
        wanted = {field.name: field.type for field in table.arrow_schema()}
        found = {field.name: field.type for field in rows.schema}
    else:
        wanted = {field.name: field.dataType.simpleString() for field in table.schema()}
        found = {field.name: field.dataType.simpleString() for field in rows.schema}
    faults = [
        f"{name} should be {kind}, is {found.get(name, 'missing')}"
        for name, kind in wanted.items()
        if found.get(name) != kind
    ] + [f"{name} is not declared" for name in found if name not in wanted]
    if faults:
        raise PlatelakeError(
            f"table {table.name}: {'; '.join(faults)}; change the transform, or the declaration "
            f"in lakehouse/tables/{table.name}.py"
        )
    return rows.select(table.names).cast(table.arrow_schema()) if here else rows.select(*wanted)
