"""Table declarations: columns with meaning and unit, key, checks. Importing starts no Spark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql.types import DataType, StructType


@dataclass(frozen=True)
class Column:
    """One column.

    `type` is a Spark type name (`string`, `double`, `array<string>`, …). `bookkeeping` marks a
    column that describes the run that wrote the row (run, time of writing), not the plant: two
    tables that differ only there hold the same data.
    """

    name: str
    type: str
    meaning: str
    unit: str = ""
    bookkeeping: bool = False


@dataclass(frozen=True)
class Check:
    """A condition, in SQL, that every stored row meets; Delta enforces it on each commit.

    Write no brackets around the compared values: delta-rs stores the condition in its own form and
    loses them.
    """

    name: str
    condition: str


@dataclass(frozen=True)
class Table:
    """A declared table.

    `key` columns are never null, and together they are unique. `compress` is off if the bytes are
    compressed already. `changes` keeps Delta's change feed for the jobs that come after.
    `mirrored` tables are copied to SQL.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    checks: tuple[Check, ...] = ()
    compress: bool = True
    changes: bool = False
    mirrored: bool = False

    def __post_init__(self) -> None:
        """Check that column names are unique and that the key has only columns."""
        names = [column.name for column in self.columns]
        assert len(set(names)) == len(names), f"{self.name}: a column is declared twice"
        assert set(self.key) <= set(names), f"{self.name}: key {self.key} has an unknown column"

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return [column.name for column in self.columns]

    @property
    def facts(self) -> list[str]:
        """The names of the columns that describe the plant, in order."""
        return [column.name for column in self.columns if not column.bookkeeping]

    def row(self, *values: Any) -> dict[str, Any]:
        """Return a row by column name, from one value for each column in order."""
        return dict(zip(self.names, values, strict=True))

    def arrow_schema(self) -> pa.Schema:
        """Return the Arrow schema; times are in UTC, in microseconds."""
        return pa.schema(
            [
                pa.field(column.name, arrow_type(column.type), nullable=column.name not in self.key)
                for column in self.columns
            ]
        )

    def arrow(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Return the rows as Arrow; times must have a zone."""
        values = [{name: row[name] for name in self.names} for row in rows]
        return pa.Table.from_pylist(values, self.arrow_schema())

    def schema(self) -> StructType:
        """Return the Spark schema; key columns are not nullable, comments give meaning and unit."""
        from pyspark.sql.types import StructField, StructType

        return StructType(
            [
                StructField(
                    column.name,
                    spark_type(column.type),
                    nullable=column.name not in self.key,
                    metadata={
                        "comment": column.meaning + (f" [{column.unit}]" * bool(column.unit))
                    },
                )
                for column in self.columns
            ]
        )


def arrow_type(name: str) -> pa.DataType:
    """Return the Arrow type of a column's type."""
    if name.startswith("array<"):
        return pa.list_(arrow_type(name.removeprefix("array<").removesuffix(">")))
    plain: dict[str, pa.DataType] = {
        "string": pa.string(),
        "binary": pa.binary(),
        "boolean": pa.bool_(),
        "int": pa.int32(),
        "bigint": pa.int64(),
        "double": pa.float64(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", "UTC"),
    }
    return plain[name]


def spark_type(name: str) -> DataType:
    """Return the Spark type of that name; needs no session."""
    from pyspark.sql import types

    if name.startswith("array<"):
        return types.ArrayType(spark_type(name.removeprefix("array<").removesuffix(">")))
    plain: dict[str, type[DataType]] = {
        "string": types.StringType,
        "binary": types.BinaryType,
        "boolean": types.BooleanType,
        "int": types.IntegerType,
        "bigint": types.LongType,
        "double": types.DoubleType,
        "date": types.DateType,
        "timestamp": types.TimestampType,
    }
    return plain[name]()
