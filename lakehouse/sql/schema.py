"""SQL tables of the summaries, made from the declarations of the lake's tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.mysql.base import MySQLDialect
from sqlalchemy.engine import Dialect

from lakehouse.table import Table

KEY_LENGTH = 255  # Characters. Stage and two more, four bytes each, fit InnoDB's 3,072.


class ExactString(sa.types.TypeDecorator[str]):
    """A string compared exactly: case, accents and trailing blanks count, as in the lake."""

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int | None = None) -> None:
        """Make a VARCHAR of that length in characters; without a length, a TEXT."""
        self.length = length
        super().__init__(length)

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[str]:
        """Give MySQL's strings a binary collation without padding; SQLite's are always exact."""
        if not isinstance(dialect, MySQLDialect):
            return sa.String(self.length) if self.length else sa.Text()
        # MySQL and MariaDB have different names for it.
        collation = "utf8mb4_nopad_bin" if dialect.is_mariadb else "utf8mb4_0900_bin"
        if self.length:
            return mysql.VARCHAR(self.length, charset="utf8mb4", collation=collation)
        return mysql.TEXT(charset="utf8mb4", collation=collation)


def timestamp_type() -> sa.types.TypeEngine[Any]:
    """Return a type for UTC times without a zone, with microseconds in both databases."""
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")


TYPES: dict[str, Callable[[], sa.types.TypeEngine[Any]]] = {
    "string": ExactString,
    "bigint": sa.BigInteger,
    "int": sa.Integer,
    "double": sa.Double,
    "boolean": sa.Boolean,
    "date": sa.Date,
    "timestamp": timestamp_type,
}


def sql_table(table: Table, metadata: sa.MetaData) -> sa.Table:
    """Return the SQL copy of a declared table, or the one that `metadata` has already."""
    known = metadata.tables.get(table.name)
    if known is not None:
        return known
    return sa.Table(
        table.name,
        metadata,
        _key("stage"),
        *(
            _key(column.name, column.type)
            if column.name in table.key
            else sa.Column(column.name, TYPES[column.type]())
            for column in table.columns
        ),
        sa.Column("lake_version", sa.BigInteger, nullable=False),
        mysql_engine="InnoDB",
    )


def state_table(metadata: sa.MetaData) -> sa.Table:
    """Return the table of `MirrorState`, one row per stage and table."""
    return sa.Table(
        "mirror_state",
        metadata,
        _key("stage"),
        _key("table_name"),
        sa.Column("source_id", ExactString(KEY_LENGTH), nullable=False),
        sa.Column("lake_version", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("synced_at", timestamp_type(), nullable=False),
        mysql_engine="InnoDB",
    )


def _key(name: str, kind: str = "string") -> sa.Column[Any]:
    sql_type = ExactString(KEY_LENGTH) if kind == "string" else TYPES[kind]()
    return sa.Column(name, sql_type, primary_key=True, autoincrement=False)
