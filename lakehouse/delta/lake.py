"""Read, write and maintain the lake's tables. No other module touches Delta.

Each write conforms to the table's declaration and is one atomic Delta commit. A write that
would change nothing makes no commit. On a local folder, Delta's commits are safe for one process
only, so each write holds a lock between processes. Other file systems rename atomically.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lakehouse.delta import by_spark, delta_rs
from lakehouse.delta.keys import compare
from lakehouse.delta.reader import LakeReader
from lakehouse.delta.rows import Row, Rows, conform, is_held_here
from lakehouse.delta.snapshot import Scope, rows_in
from lakehouse.errors import OvertakenError
from lakehouse.table import Table

if TYPE_CHECKING:
    from deltalake import DeltaTable as LogReader


class Lake(LakeReader):
    """The tables of one stage, to read, write and maintain."""

    def append_rows(self, table: Table, rows: Sequence[Row], transaction: str) -> None:
        """Add the rows once: a second append with the same transaction name adds nothing.

        Args:
            table: The table.
            rows: Dicts with every declared column; each time has a zone.
            transaction: A name of this append, such as the run's id.
        """
        with self.shaped(table) as log:
            delta_rs.append_once(log, table, table.arrow(rows), transaction)

    def insert_rows(
        self,
        table: Table,
        rows: Sequence[Row],
        consumed: Mapping[str, int] | None = None,
    ) -> int:
        """Like `insert`, with Python dicts; each time has a zone."""
        return self.insert(table, table.arrow(rows), consumed) if rows or consumed else 0

    def insert(self, table: Table, rows: Rows, consumed: Mapping[str, int] | None = None) -> int:
        """Add the rows whose key is new; a stored row stays as it is.

        Args:
            table: The table.
            rows: Rows with the declared columns. Of several rows with one key, the first counts;
                of Spark's rows, any.
            consumed: Versions of other tables that `rows` come from; kept with the commit.

        Returns:
            How many rows are new.
        """
        conformed = conform(table, rows)
        with self.shaped(table) as log:
            if not is_held_here(conformed):
                return by_spark.insert(self, table, conformed)
            new = delta_rs.without_known(log, table, conformed)
            delta_rs.write(log, table, new, note=consumed)
            return int(new.num_rows)

    def replace(self, table: Table, rows: Rows, *scopes: Scope, seen: int | None = None) -> None:
        """In one commit, make `rows` the table's only rows in the scopes.

        Makes no commit if there are no such rows before and after.

        Args:
            table: The table.
            rows: Rows with the declared columns, each of them in one of the scopes.
            scopes: Column to values; a row is in a scope if each column has one of its values.
            seen: The version of the table that `rows` depend on; None if they depend on none.

        Raises:
            OvertakenError: The table has another version than `seen` now.
        """
        conformed = conform(table, rows)
        with self.shaped(table, seen) as log:
            known = any(rows_in(log, scope, table.key).num_rows for scope in scopes)
            if is_held_here(conformed):
                where = delta_rs.in_sql(scopes) if known else ""
                delta_rs.write(log, table, conformed, where)
            elif known or not conformed.isEmpty():
                by_spark.replace(self, table, conformed, delta_rs.in_sql(scopes, by_spark.sql_text))

    def upsert(
        self,
        table: Table,
        rows: Rows,
        scope: Scope | None = None,
        consumed: Mapping[str, int] | None = None,
    ) -> int:
        """Make `rows` the table's only rows within `scope`; write only the rows that differ.

        Makes no commit if no row differs and `consumed` is unchanged.

        Args:
            table: The table.
            rows: Rows with the declared columns, all of them in the scope.
            scope: Column to values; None is the whole table.
            consumed: Versions of other tables that `rows` come from; kept with the commit.

        Returns:
            How many rows were added, changed or removed.
        """
        conformed = conform(table, rows)
        with self.shaped(table) as log:
            if not is_held_here(conformed):
                return by_spark.upsert(self, log, table, conformed, scope, consumed)
            stored = rows_in(log, scope, table.names).cast(conformed.schema)
            difference = compare(table, conformed, stored)
            delta_rs.write_difference(log, table, difference, consumed)
            return int(difference.num_rows)

    def upsert_rows(
        self,
        table: Table,
        rows: Sequence[Row],
        scope: Scope | None = None,
        consumed: Mapping[str, int] | None = None,
    ) -> int:
        """Like `upsert`, with Python dicts; each time has a zone."""
        return self.upsert(table, table.arrow(rows), scope, consumed)

    def compact(self, table: Table) -> None:
        """Join the table's small files into larger ones, without Spark. Rows do not change."""
        with self.shaped(table) as log:
            delta_rs.compact(log, table)

    def vacuum(self, table: Table, hours: int, keep_versions: Collection[int] = ()) -> None:
        """Remove files that no version of the last `hours` hours needs, without Spark.

        If there are such files, Delta writes start and end to the log, as two versions.

        Args:
            table: The table.
            hours: How long a version stays readable after the next one.
            keep_versions: Older versions that stay readable too.

        Raises:
            VersionGoneError: One of `keep_versions` is not in the log.
        """
        with self.shaped(table) as log:
            for version in keep_versions:
                self._log(table, version)
            delta_rs.vacuum(log, hours, keep_versions)

    @contextlib.contextmanager
    def shaped(self, table: Table, seen: int | None = None) -> Iterator[LogReader]:
        """Lock the table, and give it its declared columns and checks. Creates it if needed.

        Raises OvertakenError if the table has another version than `seen`.
        """
        with self.lock(table.name):
            if seen is not None and self.version(table) != seen:
                raise OvertakenError(table.name)
            log = self._log(table) or delta_rs.make(f"{self.folder}/{table.name}", table)
            delta_rs.complete(log, table)
            yield log
