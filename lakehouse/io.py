"""The only reader and writer of the lake's tables.

Every write conforms to the table's declaration, is one atomic Delta commit, and makes none
where it would change nothing. On `file:` Delta's commits are safe for one process only, so
a lock between processes stands around each; other file systems rename atomically.
"""

from __future__ import annotations

import contextlib
import functools
import json
import operator
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from filelock import FileLock, Timeout

from lakehouse.errors import PlatelakeError
from lakehouse.table import Table, spark_type

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable as LogReader
    from pyspark.sql import DataFrame, SparkSession

OPERATION = "_operation"

OF_CHANGE = ("_change_type", "_commit_version", "_commit_timestamp")

FEW = 1000
"""So many rows, or less, are held here for a commit, which is sooner than by Spark's workers."""

LIGHT = 64 << 20
"""A table of so many bytes, or less, is rewritten here where few rows change."""

SCOPES = 100
"""So many conditions joined by OR, or less, are planned by delta-rs in good time."""

Scope = Mapping[str, Collection[Any]]
"""Columns, each with some values: the rows are meant that have one of them in each column."""

FIRST = "first rows"
"""The transaction that fills a table for the first time, however many try."""

ALONE: dict[str, Any] = {"max_commit_retries": 0}
"""A commit to the very version that was read: any other in between has it refused."""


class Lake:
    """The tables of one stage, below `root/stage/`.

    `root` is a local folder or a URL of a file system that Spark knows. Spark is started when
    it is first needed: a run that finds nothing new asks the Delta logs alone. With `must_exist`
    a local folder is not made.
    """

    def __init__(
        self,
        root: str,
        stage: str,
        open_session: Callable[[], SparkSession],
        *,
        must_exist: bool = False,
    ) -> None:
        self._open_session = open_session
        root = root.removeprefix("file://")
        self.local = "://" not in root
        self.folder = f"{Path(root).resolve() if self.local else root.rstrip('/')}/{stage}"
        if self.local and must_exist and not Path(self.folder).is_dir():
            raise PlatelakeError(
                f"there is no lake {self.folder}; name one that a run has made by --lake"
            )
        if self.local:
            self._make_folder()

    def _make_folder(self) -> None:
        try:
            locks = Path(self.folder) / ".locks"
            locks.mkdir(parents=True, exist_ok=True)
            (locks / "writable").touch()
        except OSError as error:
            raise PlatelakeError(
                f"the lake {self.folder} cannot be written: {error.strerror}; "
                "give another folder by --lake, or make this one writable"
            ) from None

    @functools.cached_property
    def spark(self) -> SparkSession:
        """The Spark session."""
        return self._open_session()

    def path(self, table: Table) -> str:
        """Where Spark finds the table."""
        return f"{'file:' if self.local else ''}{self.folder}/{table.name}"

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """One process at a time on a local lake; elsewhere Delta's commits guard themselves."""
        if not self.local:
            yield
            return
        lock = FileLock(Path(self.folder) / ".locks" / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            structlog.get_logger().info("waiting for another run", lock=lock.lock_file)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    # -- reading ---------------------------------------------------------------------------

    def log(self, table: Table, version: int | None = None) -> LogReader | None:
        """The table's Delta log, read without Spark; None where the table is not yet made.

        Raises PlatelakeError where the log no longer holds that version.
        """
        from deltalake import DeltaTable as LogReader
        from deltalake.exceptions import DeltaError, TableNotFoundError

        try:
            return LogReader(f"{self.folder}/{table.name}", version=version)
        except TableNotFoundError:
            return None
        except DeltaError:
            if version is None:
                raise
            raise _version_gone(table, version) from None

    def version(self, table: Table) -> int:
        """The latest version; -1 where the table is not yet made."""
        log = self.log(table)
        return -1 if log is None else log.version()

    def file_sizes(self, table: Table) -> list[int]:
        """Bytes of each file of the latest version."""
        log = self.log(table)
        return _of_files(log, "size_bytes") if log else []

    def count(self, table: Table) -> int:
        """Rows of the latest version."""
        log = self.log(table)
        return row_count(log) if log else 0

    def rows(self, table: Table, *columns: str) -> list[dict[str, Any]]:
        """The table's rows, of these columns or all; for small tables, read without Spark.

        Timestamps are aware, in UTC.
        """
        log = self.log(table)
        return log.to_pyarrow_table(columns=list(columns) or None).to_pylist() if log else []

    def arrow(self, table: Table, *columns: str, version: int | None = None) -> pa.Table | None:
        """These columns of the table as Arrow, read without Spark; None where it is not yet made.

        Raises PlatelakeError where a file of that version is no longer there.
        """
        log = self.log(table, version)
        if log is None:
            return None
        try:
            return log.to_pyarrow_table(columns=list(columns) or None)
        except FileNotFoundError:
            raise _version_gone(table, log.version()) from None

    def counts(self, table: Table, column: str, where: pa.compute.Expression) -> Counter[str]:
        """Of each value of the column, how many rows that meet `where` have it; without Spark."""
        found: Counter[str] = Counter()
        log = self.log(table)
        if log:
            for batch in log.to_pyarrow_dataset().to_batches(columns=[column], filter=where):
                for one in batch[column].value_counts().to_pylist():
                    found[one["values"]] += one["counts"]
        return found

    def live_files(self, table: Table, version: int | None = None) -> list[str]:
        """Where the files of that version, or the latest, lie: paths, or URLs off this machine.

        They come from the Delta log, never from a listing: a folder holds old files besides.
        """
        log = self.log(table, version)
        files = sorted(log.file_uris()) if log else []
        if self.local:
            files = [urllib.parse.unquote(file) for file in files]
        gone = [file for file in files if self.local and not Path(file).is_file()]
        if log and gone:
            raise _version_gone(table, log.version())
        return files

    def read(self, table: Table, version: int | None = None) -> DataFrame:
        """The table as it is, or as it was at that version; empty where it is not yet made.

        A column that was declared since then is null.
        """
        from pyspark.sql import functions as F

        if self.version(table) < 0:
            return self.spark.createDataFrame([], table.schema())
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        stored = reader.load(self.path(table))
        absent = [c for c in table.columns if c.name not in stored.columns]
        nulls = {c.name: F.lit(None).cast(spark_type(c.type)) for c in absent}
        return stored.withColumns(nulls).select(*table.names)

    def changes(
        self, table: Table, columns: Sequence[str], after: int, until: int
    ) -> list[dict[str, Any]] | None:
        """These columns of the rows that changed, after < version ≤ until, read without Spark.

        With `_change_type`, `_commit_version` and `_commit_timestamp`. None where the change feed
        does not reach back that far.
        """
        feed = self._feed(table, [*columns, *OF_CHANGE], after, until)
        return None if feed is None else [row for rows in feed for row in rows]

    def changed(
        self, table: Table, columns: Sequence[str], after: int, until: int
    ) -> set[tuple[Any, ...]] | None:
        """The values of these columns in the rows that changed; None as of `changes`."""
        feed = self._feed(table, columns, after, until)
        if feed is None:
            return None
        return {tuple(row[name] for name in columns) for rows in feed for row in rows}

    def _feed(
        self, table: Table, columns: Sequence[str], after: int, until: int
    ) -> Iterator[list[dict[str, Any]]] | None:
        log = self.log(table)
        if log is None:
            return None
        try:
            feed = log.load_cdf(after + 1, until, columns=list(columns)).read_all()
        except Exception:  # Of a file that is gone, delta-rs raises nothing narrower.
            return None
        return (_dicts(batch, columns) for batch in feed.to_batches())

    def consumed(self, table: Table) -> dict[str, int]:
        """The versions of other tables that this one was last computed from."""
        log = self.log(table)
        for commit in log.history() if log else []:
            if commit.get("userMetadata"):
                return {str(k): int(v) for k, v in json.loads(commit["userMetadata"]).items()}
        return {}

    # -- writing ---------------------------------------------------------------------------

    def append_rows(
        self, table: Table, rows: Sequence[Mapping[str, Any]], transaction: str
    ) -> None:
        """Add the rows, once: a second append under the same transaction name adds nothing.

        Each has every declared column; a time must have a zone. Done without Spark.
        """
        from deltalake import Transaction

        with self._shaped(table) as log:
            if log.transaction_version(transaction) is None:
                _commit(log, table, rows, app_transactions=[Transaction(transaction, 1)])

    def insert_rows(
        self,
        table: Table,
        rows: Sequence[Mapping[str, Any]],
        consumed: Mapping[str, int] | None = None,
    ) -> int:
        """Add the rows whose key is new, as `append_rows` does; one that is there stays.

        Of several with one key, the first counts. Returns how many are new. `consumed` is kept as
        `upsert` keeps it.
        """
        if not rows and not consumed:
            return 0
        with self._shaped(table) as log:
            stored = log.to_pyarrow_table(columns=list(table.key)).to_pylist()
            known = {tuple(row.values()) for row in stored}
            by_key = {tuple(row[name] for name in table.key): row for row in reversed(rows)}
            new = [row for key, row in reversed(by_key.items()) if key not in known]
            self._write(log, table, new, consumed)
            return len(new)

    def insert(self, table: Table, rows: DataFrame) -> None:
        """Add the rows whose key is new; a row whose key is there stays as it is."""
        conformed = conform(table, rows)
        stored = self.read(table).select(*table.key)
        if conformed.join(stored, list(table.key), "left_anti").isEmpty():
            return
        with self._committing(table):
            self._delta(table).merge(
                conformed.alias("new"), _same_key(table)
            ).whenNotMatchedInsertAll().execute()

    def replace(self, table: Table, rows: DataFrame, *scopes: Scope) -> None:
        """In one commit, make `rows` the table's only rows in any of the scopes.

        Every one of `rows` must be in one. No commit where there are none, before and after.
        """
        conformed = conform(table, rows)
        with self._shaped(table) as log:
            is_new = not any(_scanned(log, scope, [table.key[0]]).num_rows for scope in scopes)
            if is_new or _is_light(log):
                few = conformed.limit(FEW + 1).toArrow()
                if few.num_rows <= FEW:
                    where = None if is_new else _any_of(scopes, _quoted)
                    self._write(log, table, few.to_pylist(), where=where)
                    return
            where = _any_of(scopes, sql_text)
            with self._spark_commits(table):
                writer = conformed.write.format("delta").mode("overwrite")
                writer.option("replaceWhere", where).save(self.path(table))

    def upsert(
        self,
        table: Table,
        rows: DataFrame,
        scope: Scope | None = None,
        consumed: Mapping[str, int] | None = None,
    ) -> int:
        """Make `rows` the table's only rows within `scope`, touching just those that differ.

        All of `rows` are in `scope`; None: the whole table. `consumed`, the versions of other
        tables that `rows` come from, is kept with the commit. Returns how many rows were added,
        changed or removed; there is no commit where there are none and `consumed` is what it was.

        Few rows are compared without Spark, and written without it where there are only new ones.
        """
        conformed = conform(table, rows).persist()
        try:
            few = conformed.limit(FEW + 1).toArrow()
            if few.num_rows > FEW:
                return self._upsert_many(table, conformed, scope, consumed)
            return self.upsert_rows(table, few.to_pylist(), scope, consumed)
        finally:
            conformed.unpersist()

    def upsert_rows(
        self,
        table: Table,
        rows: Sequence[Mapping[str, Any]],
        scope: Scope | None = None,
        consumed: Mapping[str, int] | None = None,
    ) -> int:
        """As `upsert`, of rows that are held here; a time must have a zone."""
        with self._shaped(table) as log:
            difference = _difference(table, rows, _scanned(log, scope, table.names).to_pylist())
            now = [row for row in difference if row[OPERATION] != "delete"]
            keys = _keys(table, difference)
            if all(row[OPERATION] == "insert" for row in difference):
                self._write(log, table, now, consumed)
            elif _is_light(log) and len(keys) <= SCOPES:
                self._write(log, table, now, consumed, _any_of(keys, _quoted))
            else:
                with self._spark_commits(table, consumed):
                    self._merge(table, self._frame(log, table, difference))
            return len(difference)

    def _upsert_many(
        self,
        table: Table,
        rows: DataFrame,
        scope: Scope | None,
        consumed: Mapping[str, int] | None,
    ) -> int:
        with self._shaped(table) as log, self._spark_commits(table, consumed):
            if not row_count(log) and log.transaction_version(FIRST) is None:
                self._fill(table, rows)
                return rows.count()
            difference = self._difference(table, rows, scope).persist()
            try:
                changed = difference.count()
                if changed:
                    self._merge(table, difference)
                else:
                    self._write(log, table, [], consumed)
                return changed
            finally:
                difference.unpersist()

    def _write(
        self,
        log: LogReader,
        table: Table,
        rows: Sequence[Mapping[str, Any]],
        consumed: Mapping[str, int] | None = None,
        where: str | None = None,
    ) -> None:
        """Add the rows, in place of those that meet the condition, if any."""
        from deltalake import CommitProperties

        note = _note(consumed)
        commit = ALONE | ({"custom_metadata": {"userMetadata": note}} if note else {})
        if rows or where:
            _commit(log, table, rows, where, **commit)
        elif note and consumed != self.consumed(table):
            log.alter.set_table_properties(
                {"platelake.consumed": note},
                raise_if_not_exists=False,
                commit_properties=CommitProperties(**commit),
            )

    def _fill(self, table: Table, rows: DataFrame) -> None:
        first = {"txnAppId": FIRST, "txnVersion": "1"}
        writer = rows.select(*table.names).write.format("delta").mode("append")
        writer.options(**first).save(self.path(table))

    def compact(self, table: Table) -> None:
        """Write the table's small files together; its rows stay as they are."""
        with self._committing(table):
            self._delta(table).optimize().executeCompaction()

    def vacuum(self, table: Table, hours: int) -> None:
        """Remove the files that no version of the last `hours` hours needs; no new version."""
        quiet = {"spark.databricks.delta.vacuum.logging.enabled": "false"}
        with self._committing(table), _session_settings(self.spark, quiet):
            self._delta(table).vacuum(hours)

    def _difference(self, table: Table, rows: DataFrame, scope: Scope | None) -> DataFrame:
        from pyspark.sql import functions as F

        stored = self.read(table)
        for name, values in (scope or {}).items():
            stored = stored.where(F.col(name).isin(list(values)))
        new = rows.select(*table.key, F.struct(*table.names).alias("new"))
        old = stored.select(*table.key, F.struct(*table.names).alias("old"))

        def facts(side: str) -> Any:
            return F.struct(*(F.col(f"{side}.{name}") for name in table.facts))

        return (
            new.join(old, list(table.key), "full")
            .where(
                F.col("new").isNull()
                | F.col("old").isNull()
                | ~facts("new").eqNullSafe(facts("old"))
            )
            .select(
                F.when(F.col("new").isNull(), "delete")
                .when(F.col("old").isNull(), "insert")
                .otherwise("update")
                .alias(OPERATION),
                F.coalesce("new", "old").alias("row"),
            )
            .select(OPERATION, "row.*")
        )

    def _merge(self, table: Table, difference: DataFrame) -> None:
        values = {name: f"new.{name}" for name in table.names}
        (
            self._delta(table)
            .merge(difference.alias("new"), _same_key(table))
            .whenMatchedDelete(f"new.{OPERATION} = 'delete'")
            .whenMatchedUpdate(set=values)
            .whenNotMatchedInsert(values=values)
            .execute()
        )

    def _frame(
        self, log: LogReader, table: Table, difference: Sequence[Mapping[str, Any]]
    ) -> DataFrame:
        operations = [[row[OPERATION] for row in difference]]
        rows = _arrow(log, table, difference).append_column(OPERATION, operations)
        return self.spark.createDataFrame(rows)

    def _delta(self, table: Table) -> Any:
        from delta.tables import DeltaTable

        return DeltaTable.forPath(self.spark, self.path(table)).alias("stored")

    def _make(self, table: Table) -> LogReader:
        from deltalake import DeltaTable as LogReader
        from deltalake import Schema

        return LogReader.create(
            f"{self.folder}/{table.name}",
            Schema.from_json(table.schema().json()),
            mode="ignore",
            description=table.meaning,
            configuration={"delta.enableChangeDataFeed": str(table.changes).lower()},
        )

    @contextlib.contextmanager
    def _shaped(self, table: Table) -> Iterator[LogReader]:
        """Alone with the table, which is made, and has its declared columns and checks."""
        with self.lock(table.name):
            log = self.log(table) or self._make(table)
            _complete(log, table)
            yield log

    @contextlib.contextmanager
    def _committing(self, table: Table) -> Iterator[None]:
        """The surroundings of a commit by Spark."""
        with self._shaped(table), self._spark_commits(table):
            yield

    @contextlib.contextmanager
    def _spark_commits(
        self, table: Table, consumed: Mapping[str, int] | None = None
    ) -> Iterator[None]:
        settings = {
            "spark.sql.parquet.compression.codec": "zstd" if table.compress else "uncompressed",
            "spark.databricks.delta.commitInfo.userMetadata": _note(consumed),
        }
        start = time.monotonic()
        with _session_settings(self.spark, settings):
            yield
        seconds = round(time.monotonic() - start, 2)
        structlog.get_logger().debug("committed", table=table.name, seconds=seconds)


def _note(consumed: Mapping[str, int] | None) -> str | None:
    """What a commit says of the versions that it comes from."""
    return json.dumps(consumed) if consumed else None


def _complete(log: LogReader, table: Table) -> None:
    """Add the columns and checks that were declared since the table was made."""
    from deltalake import Schema

    stored = {field.name for field in log.schema().fields}
    fields = Schema.from_json(table.schema().json()).fields
    new = [field for field in fields if field.name not in stored]
    if new:
        log.alter.add_columns(new)
    known = log.metadata().configuration
    checks = {
        c.name: c.condition for c in table.checks if f"delta.constraints.{c.name}" not in known
    }
    if checks:
        with _explained(table):
            log.alter.add_constraint(checks)


def _scanned(log: LogReader, scope: Scope | None, columns: Sequence[str]) -> pa.Table:
    """These columns of the rows in the scope."""
    import pyarrow as pa
    import pyarrow.compute as pc

    stored = log.to_pyarrow_dataset()
    among = [
        pc.field(name).isin(pa.array(list(values), stored.schema.field(name).type))
        for name, values in (scope or {}).items()
    ]
    every = functools.reduce(operator.and_, among, pc.scalar(True))
    return stored.to_table(columns=list(columns), filter=every)


def _any_of(scopes: Iterable[Scope], quote: Callable[[str], str]) -> str:
    """The rows in any of the scopes, as a condition in SQL."""

    def literal(value: Any) -> str:
        if isinstance(value, date):
            return f"DATE '{value}'"
        return quote(value) if isinstance(value, str) else str(value)

    def among(name: str, values: Collection[Any]) -> str:
        return f"{name} IN ({', '.join(map(literal, values))})" if values else "false"

    every = (" AND ".join(among(*one) for one in scope.items()) for scope in scopes)
    return " OR ".join(f"({one})" for one in every)


def _keys(table: Table, rows: Sequence[Mapping[str, Any]]) -> list[Scope]:
    """As few scopes as may be that hold just the keys of these rows."""
    many = max(table.key, key=lambda name: len({row[name] for row in rows}))
    rest = [name for name in table.key if name != many]
    scopes: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows:
        scopes.setdefault(tuple(row[name] for name in rest), []).append(row[many])
    return [
        {name: [value] for name, value in zip(rest, key, strict=True)} | {many: values}
        for key, values in scopes.items()
    ]


def _is_light(log: LogReader) -> bool:
    return sum(_of_files(log, "size_bytes")) <= LIGHT


def _difference(
    table: Table, rows: Sequence[Mapping[str, Any]], stored: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The rows that are not yet stored so, and those that are no more, with the operation."""

    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in table.key)

    def facts(row: Mapping[str, Any]) -> str:  # As text, in which what is not a number is equal.
        return json.dumps([row[name] for name in table.facts], default=str)

    before = {key(row): facts(row) for row in stored}
    known = {key(row) for row in rows}
    return [
        *({**row, OPERATION: "insert"} for row in rows if key(row) not in before),
        *(
            {**row, OPERATION: "update"}
            for row in rows
            if key(row) in before and facts(row) != before[key(row)]
        ),
        *({**row, OPERATION: "delete"} for row in stored if key(row) not in known),
    ]


def _commit(
    log: LogReader,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    where: str | None = None,
    **commit: Any,
) -> None:
    from deltalake import CommitProperties, WriterProperties, write_deltalake

    compression: Any = "ZSTD" if table.compress else "UNCOMPRESSED"
    how: Any = {"mode": "overwrite", "predicate": where} if where else {"mode": "append"}
    with _explained(table):
        write_deltalake(
            log,
            _arrow(log, table, rows),
            writer_properties=WriterProperties(compression=compression),
            commit_properties=CommitProperties(**commit),
            **how,
        )


@contextlib.contextmanager
def _explained(table: Table) -> Iterator[None]:
    """What a broken check is about, which delta-rs does not say."""
    from deltalake.exceptions import DeltaError

    try:
        yield
    except DeltaError as error:
        if "check" not in str(error).lower():
            raise
        checks = ", ".join(f"{check.name}: {check.condition}" for check in table.checks)
        raise PlatelakeError(f"table {table.name} takes only rows with {checks}; {error}") from None


def _arrow(log: LogReader, table: Table, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    values = [{name: row[name] for name in table.names} for row in rows]
    return pa.Table.from_pylist(values, pa.schema(log.schema().to_arrow()))


@contextlib.contextmanager
def _session_settings(spark: SparkSession, settings: Mapping[str, str | None]) -> Iterator[None]:
    before = {key: spark.conf.get(key, None) for key in settings}

    def put(values: Mapping[str, str | None]) -> None:
        for key, value in values.items():
            if value is None:
                spark.conf.unset(key)
            else:
                spark.conf.set(key, value)

    put(settings)
    try:
        yield
    finally:
        put(before)


def _version_gone(table: Table, version: int) -> PlatelakeError:
    return PlatelakeError(
        f"version {version} of table {table.name} is no longer there: vacuum has removed it; "
        "take a later version, or restore the table's folder from a backup"
    )


def row_count(log: LogReader) -> int:
    """Rows of the version that the log was read at."""
    return sum(_of_files(log, "num_records"))


def _of_files(log: LogReader, what: str) -> list[int]:
    import pyarrow as pa

    values: list[int] = pa.table(log.get_add_actions())[what].to_pylist()
    return values


def conform(table: Table, rows: DataFrame) -> DataFrame:
    """The rows with just the declared columns, in order.

    Raises PlatelakeError that lists every missing or differently typed column at once.
    """
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
    return rows.select(*wanted)


def _quoted(value: str) -> str:
    """The value as a string literal of delta-rs."""
    return "'" + value.replace("'", "''") + "'"


def sql_text(value: str) -> str:
    """The value as a string literal of Spark, whatever characters it holds."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _same_key(table: Table) -> str:
    return " AND ".join(f"stored.{name} = new.{name}" for name in table.key)


def _dicts(batch: Any, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a batch of delta-rs, which pyarrow cannot read: its texts are views."""
    values = (batch[name].to_pylist() for name in columns)
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]
