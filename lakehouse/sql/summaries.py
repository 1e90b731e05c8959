"""The lake's summaries in SQL: a copy of every mirrored table, in SQLite or MySQL.

A copy has `stage`, the declared columns and `lake_version`, the version of the lake's table
that the row came from; its key is `stage` and the declared key. `mirror_state` holds the version
of each copy. Times are in UTC, with microseconds and without a zone.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.engine import Connection, Dialect

from lakehouse.errors import PlatelakeError, QualityGateError
from lakehouse.sql.database import Database
from lakehouse.sql.schema import KEY_LENGTH, sql_table, state_table
from lakehouse.table import Table

BATCH_ROWS = 500
MANY_ROWS = 10_000
"""Rows of one call, if one statement works for any number of rows."""
BATCH_VALUES = 30_000  # SQLite allows 32,766 in a statement.
UNSEEN = -1  # Not a version of the lake: the running sync has not brought the row yet.

Row = Mapping[str, object]


@dataclass(frozen=True)
class MirrorState:
    """The state of a copy: which lake (the table's Delta id), which version, how many rows."""

    source_id: str
    lake_version: int
    rows: int


@dataclass(frozen=True)
class Mirrored:
    """What a sync did. `stale`: a newer sync came first, so nothing was changed."""

    written: int
    deleted: int
    rows: int
    stale: bool


class SummaryStore:
    """The copies in one database. Opening it brings its schema up to date.

    Every method raises SqlError if the database fails.
    """

    def __init__(self, url: str, place: str = "") -> None:
        """Open the database at that SQLAlchemy URL, like `Database`.

        `place` names stage and lake as on the command line, for the command that errors advise.
        """
        self._advice = f"`platelake sync --whole{place}`"
        self._database = Database(url)
        self.engine = self._database.engine
        self._metadata = sa.MetaData()
        self._state = state_table(self._metadata)

    def state(self, stage: str, table: Table) -> MirrorState | None:
        """Return the copy's state; None if there is no copy yet."""
        columns = [self._state.c[name] for name in ("source_id", "lake_version", "rows")]
        query = sa.select(*columns).where(self._here(stage, table))
        with self._database.transaction() as connection:
            found = connection.execute(query).one_or_none()
        return None if found is None else MirrorState(*found)

    def mirror(
        self,
        stage: str,
        table: Table,
        *,
        source_id: str,
        version: int,
        upserts: Iterable[Row],
        deletes: Iterable[Row],
        whole: bool,
        expected_rows: int,
    ) -> Mirrored:
        """Bring the copy to `version` of the lake's table, completely or not at all.

        `upserts` hold every declared column, `deletes` at least the key. Both are read once, a
        batch at a time, `deletes` first. With `whole`, `upserts` are all rows: other rows are
        deleted, and `deletes` are not read. A time without a zone is in UTC.

        Raises QualityGateError if the copy would not end with `expected_rows` rows.
        """
        with self._database.transaction(write=True) as connection:
            copy = _Copy(connection, stage, table, sql_table(table, self._metadata))
            if not self._claim(copy, source_id, version, whole):
                return Mirrored(0, 0, copy.count(), stale=True)
            if whole:
                written, deleted = copy.replace(upserts, version)
            else:
                deleted = copy.delete(deletes)
                written = copy.upsert(upserts, version)
            count = copy.count()
            if count != expected_rows:
                raise QualityGateError(
                    f"{table.name} of stage {stage}: the lake has {expected_rows} rows, SQL would "
                    f"have {count}; nothing was changed: run {self._advice}"
                )
            here = self._here(stage, table)
            connection.execute(sa.update(self._state).where(here).values(rows=count))
        return Mirrored(written, deleted, count, stale=False)

    def rows(self, stage: str, table: Table) -> list[dict[str, object]]:
        """Return all rows of the copy, with the declared columns, ordered by key."""
        copy = sql_table(table, self._metadata)
        query = (
            sa.select(*(copy.c[name] for name in table.names))
            .where(copy.c.stage == stage)
            .order_by(*(copy.c[name] for name in table.key))
        )
        with self._database.transaction() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def count(self, stage: str, table: Table) -> int:
        """Count the rows of the copy."""
        with self._database.transaction() as connection:
            return _Copy(connection, stage, table, sql_table(table, self._metadata)).count()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _here(self, stage: str, table: Table) -> sa.ColumnElement[bool]:
        return sa.and_(self._state.c.stage == stage, self._state.c.table_name == table.name)

    def _claim(self, copy: "_Copy", source_id: str, version: int, whole: bool) -> bool:
        """Lock the copy's state and set it to `version`; return False if it is newer already."""
        state, here = self._state, self._here(copy.stage, copy.table)
        now = datetime.now(UTC).replace(tzinfo=None)
        new = {"source_id": source_id, "lake_version": version, "synced_at": now}
        row = {"stage": copy.stage, "table_name": copy.table.name, "rows": 0} | new
        # If the row exists, this changes nothing but locks it until the commit.
        copy.execute(_upsert(copy.connection.dialect, state, [row | {"lake_version": UNSEEN}], []))
        same = sa.and_(here, state.c.source_id == source_id, state.c.lake_version <= version)
        if copy.execute(sa.update(state).where(same).values(new)):
            return True
        known = copy.connection.execute(sa.select(state.c.source_id).where(here)).scalar_one()
        if known == source_id:
            return False
        if not whole:
            raise PlatelakeError(
                f"{copy.table.name} of stage {copy.stage}: SQL holds a copy of another lake table "
                f"({known}; the lake's is {source_id} now): run {self._advice}"
            )
        copy.execute(sa.update(state).where(here).values(new))
        return True


@dataclass(frozen=True)
class _Copy:
    """One stage's rows of a copy, in a transaction."""

    connection: Connection
    stage: str
    table: Table
    sql: sa.Table

    def execute(self, statement: sa.Insert | sa.Update | sa.Delete) -> int:
        """Run the statement; return the number of matched rows."""
        return self.connection.execute(statement).rowcount

    def count(self) -> int:
        query = sa.select(sa.func.count()).select_from(self.sql)
        return self.connection.execute(query.where(self.sql.c.stage == self.stage)).scalar_one()

    def upsert(self, rows: Iterable[Row], version: int) -> int:
        """Write the rows; return how many."""
        fixed = {"stage": self.stage, "lake_version": version}
        others = [column.name for column in self.sql.c if not column.primary_key]
        dialect, written = self.connection.dialect, 0
        of_any = _upsert(dialect, self.sql, None, others)
        at_once = MANY_ROWS if _takes_many(dialect, of_any) else None
        for batch in self._batches(rows, self.table.names, at_once):
            values = [fixed | row for row in batch]
            if at_once:
                self.connection.execute(of_any, values)
            else:
                self.execute(_upsert(dialect, self.sql, values, others))
            written += len(batch)
        return written

    def delete(self, rows: Iterable[Row]) -> int:
        """Delete the rows with these keys; return how many there were."""
        key = sa.tuple_(*(self.sql.c[name] for name in self.table.key))
        deleted = 0
        for batch in self._batches(rows, self.table.key):
            these = key.in_([tuple(row.values()) for row in batch])
            deleted += self.execute(
                sa.delete(self.sql).where(self.sql.c.stage == self.stage, these)
            )
        return deleted

    def replace(self, rows: Iterable[Row], version: int) -> tuple[int, int]:
        """Write the rows and delete all others; return the number of each."""
        of_stage = self.sql.c.stage == self.stage
        self.execute(sa.update(self.sql).where(of_stage).values(lake_version=UNSEEN))
        written = self.upsert(rows, version)
        unseen = sa.and_(of_stage, self.sql.c.lake_version == UNSEEN)
        return written, self.execute(sa.delete(self.sql).where(unseen))

    def _batches(
        self, rows: Iterable[Row], names: Iterable[str], at_once: int | None = None
    ) -> Iterator[list[dict[str, object]]]:
        values = ({name: self._value(name, row[name]) for name in names} for row in rows)
        count = at_once or min(BATCH_ROWS, BATCH_VALUES // len(self.sql.c))
        while batch := list(islice(values, count)):
            yield batch

    def _value(self, name: str, value: object) -> object:
        """Convert the value for both databases; raise QualityGateError if one cannot hold it."""
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC).replace(tzinfo=None)
        fault = None
        if isinstance(value, float) and not math.isfinite(value):
            fault = "which SQL cannot hold"
        if isinstance(value, str) and name in self.table.key and len(value) > KEY_LENGTH:
            fault = f"longer than the {KEY_LENGTH} characters that SQL's keys hold"
        if fault:
            raise QualityGateError(
                f"{self.table.name} of stage {self.stage}: {name} is {value}, {fault}"
            )
        return value


def _takes_many(dialect: Dialect, statement: sa.Insert) -> bool:
    """Return whether the driver sends many rows at once with this statement for one row.

    PyMySQL does so for statements that match its pattern; for others it silently sends row by row.
    """
    if dialect.name == "sqlite":
        return True
    from pymysql.cursors import RE_INSERT_VALUES

    return RE_INSERT_VALUES.match(str(statement.compile(dialect=dialect))) is not None


def _upsert(
    dialect: Dialect, sql: sa.Table, rows: list[dict[str, object]] | None, replace: list[str]
) -> sa.Insert:
    """Return one statement for all rows, or for any row that it is executed with.

    If a row's key exists, the columns in `replace` get the new values; there may be none.
    """
    key = [column.name for column in sql.primary_key]
    names = replace or key[:1]
    if dialect.name == "sqlite":
        insert = sqlite.insert(sql)
        insert = insert.values(rows) if rows else insert
        return insert.on_conflict_do_update(
            index_elements=key, set_={name: insert.excluded[name] for name in names}
        )
    other = mysql.insert(sql)
    other = other.values(rows) if rows else other
    return other.on_duplicate_key_update({name: other.inserted[name] for name in names})
