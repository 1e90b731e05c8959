"""The lake's summaries in SQL: a copy of every mirrored table, in SQLite or MySQL.

A copy has `stage`, the declared columns and `lake_version`, the version of the lake's table
that the row came from; its key is `stage` and the declared key. `mirror_state` holds the version
of each copy. Times are in UTC, with microseconds and without a zone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.engine import Connection, Dialect

from lakehouse.errors import PlatelakeError, QualityGateError
from lakehouse.sql.database import Database
from lakehouse.sql.literals import plain, statements
from lakehouse.sql.schema import KEY_LENGTH, sql_table, state_table
from lakehouse.table import Table

BATCH_ROWS = 500
"""Keys of one statement that deletes; SQLite allows 32,766 values in a statement."""
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
        upserts: Iterable[pa.RecordBatch],
        deletes: Iterable[Row],
        whole: bool,
        expected_rows: int,
    ) -> Mirrored:
        """Bring the copy to `version` of the lake's table, completely or not at all.

        `upserts` hold every declared column, `deletes` at least the key. Both are read once, a
        batch at a time, `deletes` first. With `whole`, `upserts` are all rows: other rows are
        deleted, and `deletes` are not read.

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

    def upsert(self, batches: Iterable[pa.RecordBatch], version: int) -> int:
        """Write the rows; return how many."""
        others = [column.name for column in self.sql.c if not column.primary_key]
        dialect = self.connection.dialect
        statement = str(_upsert(dialect, self.sql, None, others).compile(dialect=dialect))
        written = 0
        for batch in batches:
            columns = self._columns(batch, version)
            if dialect.name == "sqlite":
                rows = list(zip(*(column.to_pylist() for column in columns.values()), strict=True))
                if rows:
                    self.connection.exec_driver_sql(statement, rows)
            else:
                for text in statements(statement, columns):
                    options = {"no_parameters": True}  # A % in a text is a % then.
                    self.connection.exec_driver_sql(text, execution_options=options)
            written += batch.num_rows
        return written

    def delete(self, rows: Iterable[Row]) -> int:
        """Delete the rows with these keys; return how many there were."""
        key = sa.tuple_(*(self.sql.c[name] for name in self.table.key))
        deleted = 0
        keys = (tuple(row[name] for name in self.table.key) for row in rows)
        while these_keys := list(islice(keys, BATCH_ROWS)):
            these = key.in_(these_keys)
            deleted += self.execute(
                sa.delete(self.sql).where(self.sql.c.stage == self.stage, these)
            )
        return deleted

    def replace(self, rows: Iterable[pa.RecordBatch], version: int) -> tuple[int, int]:
        """Write the rows and delete all others; return the number of each."""
        of_stage = self.sql.c.stage == self.stage
        self.execute(sa.update(self.sql).where(of_stage).values(lake_version=UNSEEN))
        written = self.upsert(rows, version)
        unseen = sa.and_(of_stage, self.sql.c.lake_version == UNSEEN)
        return written, self.execute(sa.delete(self.sql).where(unseen))

    def _columns(self, batch: pa.RecordBatch, version: int) -> dict[str, pa.Array]:
        """Return the columns of the SQL table, with values that both databases take."""
        count = batch.num_rows
        columns = {
            "stage": pa.repeat(self.stage, count),
            "lake_version": pa.repeat(version, count),
        }
        for name in self.table.names:
            self._check(name, batch[name])
            columns[name] = plain(batch[name])
        return {column.name: columns[column.name] for column in self.sql.c}

    def _check(self, name: str, values: pa.Array) -> None:
        """Raise QualityGateError if SQL cannot hold one of the values."""
        bad, fault = None, ""
        if pa.types.is_floating(values.type):
            bad, fault = pc.invert(pc.is_finite(values)), "which SQL cannot hold"
        if pa.types.is_string(values.type) and name in self.table.key:
            bad = pc.greater(pc.utf8_length(values), KEY_LENGTH)
            fault = f"longer than the {KEY_LENGTH} characters that SQL's keys hold"
        if bad is not None and pc.any(bad).as_py():
            value = values.filter(bad)[0].as_py()
            raise QualityGateError(
                f"{self.table.name} of stage {self.stage}: {name} is {value}, {fault}"
            )


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
