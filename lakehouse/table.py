"""What a table is: columns with meaning and unit, key, checks. Pure; importing starts no Spark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import DataType, StructType


@dataclass(frozen=True)
class Column:
    """One column.

    `type` is a Spark type name (`string`, `double`, `array<string>`, …). `bookkeeping` marks
    what tells about the writing (run, time of writing) and not about the plant: two tables
    that differ only there hold the same data.
    """

    name: str
    type: str
    meaning: str
    unit: str = ""
    bookkeeping: bool = False


@dataclass(frozen=True)
class Check:
    """A condition, in SQL, that every stored row meets; Delta enforces it on each commit.

    Without brackets around what is compared: delta-rs, which keeps it in words of its own, loses
    them.
    """

    name: str
    condition: str


@dataclass(frozen=True)
class Table:
    """A declared table.

    `key` columns are never null and together unique. `compress` is off for bytes that are
    compressed already. `changes` keeps Delta's change feed, for the jobs that read on.
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
        """Refuse a declaration that contradicts itself."""
        names = [column.name for column in self.columns]
        assert len(set(names)) == len(names), f"{self.name}: a column is declared twice"
        assert set(self.key) <= set(names), f"{self.name}: key {self.key} is not all columns"

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return [column.name for column in self.columns]

    @property
    def facts(self) -> list[str]:
        """The columns that tell about the plant, in order."""
        return [column.name for column in self.columns if not column.bookkeeping]

    def row(self, *values: Any) -> dict[str, Any]:
        """A row by its columns, from one value for each, in order."""
        return dict(zip(self.names, values, strict=True))

    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema; times are microseconds in UTC."""
        import pyarrow as pa

        return pa.schema(
            [
                pa.field(column.name, arrow_type(column.type), nullable=column.name not in self.key)
                for column in self.columns
            ]
        )

    def arrow(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """The rows as Arrow; a time must have a zone."""
        import pyarrow as pa

        values = [{name: row[name] for name in self.names} for row in rows]
        return pa.Table.from_pylist(values, self.arrow_schema())

    def schema(self) -> StructType:
        """The Spark schema; key columns are not nullable, meaning and unit are the comment."""
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
    """The Arrow type of a column's type."""
    import pyarrow as pa

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
    """The Spark type of that name; works with no session."""
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
