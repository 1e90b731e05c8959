"""The only reader and writer of the lake's tables.

Every write conforms to the table's declaration, is one atomic Delta commit, and makes none
where it would change nothing. On `file:` Delta's commits are safe for one process only, so
a lock between processes stands around each; other file systems rename atomically.
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, Union

import structlog
from filelock import FileLock, Timeout

from lakehouse.delta import delta_rs
from lakehouse.delta.delta_rs import OPERATION, Row, Scope
from lakehouse.errors import PlatelakeError
from lakehouse.settings import Here
from lakehouse.table import Table, spark_type

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable as LogReader
    from pyspark.sql import DataFrame, SparkSession

Rows: TypeAlias = Union["pa.Table", "DataFrame"]
"""Rows that are held here, or by Spark."""

BUFFER_BYTES = 1 << 20
"""So many bytes of a file's column are read at once if rows come in batches."""

OF_CHANGE = ("_change_type", "_commit_version", "_commit_timestamp")

FIRST = "first rows"
"""The transaction that fills a table for the first time, however many try."""


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
        here: Here = Here(),  # noqa: B008 - It cannot be changed.
    ) -> None:
        self._open_session = open_session
        self.here = here
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
        return delta_rs.file_sizes(log) if log else []

    def count(
        self, table: Table, version: int | None = None, where: pa.compute.Expression | None = None
    ) -> int:
        """Rows of that version, or the latest, or those that meet `where`; read without Spark."""
        log = None if version == -1 else self.log(table, version)
        return delta_rs.row_count(log, where) if log else 0

    def load(
        self,
        table: Table,
        version: int | None = None,
        where: pa.compute.Expression | None = None,
        columns: Sequence[str] = (),
    ) -> pa.Table:
        """The rows of that version, or the latest, as declared; those that meet `where`, or all.

        Of these columns, or all. Read without Spark. Empty if the table is not yet made, which is
        version -1. A column that was declared later is null. Raises PlatelakeError if the version
        is gone.
        """
        columns = columns or table.names
        log = None if version == -1 else self.log(table, version)
        if log is None:
            return table.arrow_schema().empty_table().select(columns)
        try:
            return delta_rs.load(log, table, columns, where)
        except FileNotFoundError:
            raise _version_gone(table, log.version()) from None

    def rows(self, table: Table, *columns: str) -> list[dict[str, Any]]:
        """The table's rows, of these columns or all; for small tables, read without Spark.

        Timestamps are aware, in UTC.
        """
        found: list[dict[str, Any]] = self.load(table, columns=columns).to_pylist()
        return found

    def batches(
        self,
        table: Table,
        columns: Sequence[str],
        where: pa.compute.Expression,
        version: int | None = None,
        at_once: int = 1 << 17,
    ) -> Iterator[pa.RecordBatch]:
        """These columns of the rows that meet `where`, up to so many at once; without Spark.

        Files are read in parts, because one may hold 150 MB of tensors.
        """
        from pyarrow.dataset import ParquetFragmentScanOptions

        log = self.log(table, version)
        if log:
            in_parts = ParquetFragmentScanOptions(
                pre_buffer=False, use_buffered_stream=True, buffer_size=BUFFER_BYTES
            )
            yield from log.to_pyarrow_dataset().to_batches(
                columns=list(columns),
                filter=where,
                batch_size=at_once,
                fragment_readahead=1,
                fragment_scan_options=in_parts,
            )

    def counts(
        self,
        table: Table,
        column: str,
        where: pa.compute.Expression,
        version: int | None = None,
    ) -> Counter[Any]:
        """Of each value of the column, how many rows that meet `where` have it; without Spark."""
        found: Counter[Any] = Counter()
        for batch in self.batches(table, [column], where, version):
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
        return None if feed is None else {tuple(row.values()) for rows in feed for row in rows}

    def _feed(
        self, table: Table, columns: Sequence[str], after: int, until: int
    ) -> Iterator[list[dict[str, Any]]] | None:
        log = self.log(table)
        return delta_rs.changes(log, columns, after, until) if log else None

    def consumed(self, table: Table, version: int | None = None) -> dict[str, int]:
        """The versions of other tables that this one, or that version of it, is computed from."""
        log = None if version == -1 else self.log(table, version)
        return delta_rs.consumed(log) if log else {}

    # -- writing ---------------------------------------------------------------------------

    def append_rows(self, table: Table, rows: Sequence[Row], transaction: str) -> None:
        """Add the rows, once: a second append under the same transaction name adds nothing.

        Each has every declared column; a time must have a zone. Done without Spark.
        """
        with self._shaped(table) as log:
            delta_rs.append_once(log, table, table.arrow(rows), transaction)

    def insert_rows(
        self,
        table: Table,
        rows: Sequence[Row],
        consumed: Mapping[str, int] | None = None,
    ) -> int:
        """As `insert`, of Python rows; a time must have a zone."""
        return self.insert(table, table.arrow(rows), consumed) if rows or consumed else 0

    def insert(self, table: Table, rows: Rows, consumed: Mapping[str, int] | None = None) -> int:
        """Add the rows whose key is new; one that is there stays. Returns how many are new.

        Of several with one key, the first counts, of Spark's rows any. `consumed` is kept as
        `upsert` keeps it.
        """
        conformed = conform(table, rows)
        if not is_held_here(conformed):
            return self._insert_many(table, conformed)
        with self._shaped(table) as log:
            new = delta_rs.without_known(log, table, conformed)
            delta_rs.write(log, table, new, note=consumed)
            return int(new.num_rows)

    def _insert_many(self, table: Table, rows: DataFrame) -> int:
        once = rows.dropDuplicates(list(table.key))
        stored = self.read(table).select(*table.key)
        new = once.join(stored, list(table.key), "left_anti").count()
        if new:
            with self._committing(table):
                self._delta(table).merge(
                    once.alias("new"), _same_key(table)
                ).whenNotMatchedInsertAll().execute()
        return new

    def replace(self, table: Table, rows: Rows, *scopes: Scope, seen: int | None = None) -> None:
        """In one commit, make `rows` the table's only rows in any of the scopes.

        Every one of `rows` must be in one. No commit where there are none, before and after. Raises
        PlatelakeError where the table is no longer of the version `seen`, on which `rows` depend.
        """
        conformed = conform(table, rows)
        with self._shaped(table, seen) as log:
            known = any(delta_rs.rows_in(log, scope, table.key).num_rows for scope in scopes)
            if is_held_here(conformed):
                where = delta_rs.in_sql(scopes) if known else ""
                delta_rs.write(log, table, conformed, where)
            elif known or not conformed.isEmpty():
                where = delta_rs.in_sql(scopes, sql_text)
                with self._spark_commits(table):
                    writer = conformed.write.format("delta").mode("overwrite")
                    writer.option("replaceWhere", where).save(self.path(table))

    def upsert(
        self,
        table: Table,
        rows: Rows,
        scope: Scope | None = None,
        consumed: Mapping[str, int] | None = None,
    ) -> int:
        """Make `rows` the table's only rows within `scope`, touching just those that differ.

        All of `rows` are in `scope`; None: the whole table. `consumed`, the versions of other
        tables that `rows` come from, is kept with the commit. Returns how many rows were added,
        changed or removed; there is no commit where there are none and `consumed` is what it was.
        """
        conformed = conform(table, rows)
        if not is_held_here(conformed):
            return self._upsert_many(table, conformed, scope, consumed)
        with self._shaped(table) as log:
            stored = delta_rs.rows_in(log, scope, table.names).cast(conformed.schema)
            difference = delta_rs.compare(table, conformed, stored)
            delta_rs.write_difference(log, table, difference, consumed)
            return int(difference.num_rows)

    def upsert_rows(
        self,
        table: Table,
        rows: Sequence[Row],
        scope: Scope | None = None,
        consumed: Mapping[str, int] | None = None,
    ) -> int:
        """As `upsert`, of Python rows; a time must have a zone."""
        return self.upsert(table, table.arrow(rows), scope, consumed)

    def _upsert_many(
        self,
        table: Table,
        rows: DataFrame,
        scope: Scope | None,
        consumed: Mapping[str, int] | None,
    ) -> int:
        rows = rows.persist()
        difference = None
        try:
            with self._shaped(table) as log, self._spark_commits(table, consumed):
                if not delta_rs.row_count(log) and log.transaction_version(FIRST) is None:
                    self._fill(table, rows)
                    return rows.count()
                difference = self._difference(table, rows, scope).persist()
                changed = difference.count()
                if changed:
                    self._merge(table, difference)
                else:
                    delta_rs.write(log, table, table.arrow([]), note=consumed)
                return changed
        finally:
            for frame in (rows, difference) if difference else (rows,):
                frame.unpersist()

    def _fill(self, table: Table, rows: DataFrame) -> None:
        first = {"txnAppId": FIRST, "txnVersion": "1"}
        writer = rows.select(*table.names).write.format("delta").mode("append")
        writer.options(**first).save(self.path(table))

    def compact(self, table: Table) -> None:
        """Write the table's small files together, without Spark; its rows stay as they are."""
        with self._shaped(table) as log:
            delta_rs.compact(log, table)

    def vacuum(self, table: Table, hours: int) -> None:
        """Remove the files that no version of the last `hours` hours needs, without Spark.

        Where there are such files, Delta notes start and end in the log, as two versions.
        """
        with self._shaped(table) as log:
            delta_rs.vacuum(log, hours)

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

    def _delta(self, table: Table) -> Any:
        from delta.tables import DeltaTable

        return DeltaTable.forPath(self.spark, self.path(table)).alias("stored")

    @contextlib.contextmanager
    def _shaped(self, table: Table, seen: int | None = None) -> Iterator[LogReader]:
        """Alone with the table, which is made, and has its declared columns and checks.

        Raises PlatelakeError where it was no longer of the version `seen`, before that.
        """
        with self.lock(table.name):
            if seen is not None and self.version(table) != seen:
                raise delta_rs.overtaken(table)
            log = self.log(table) or delta_rs.make(f"{self.folder}/{table.name}", table)
            delta_rs.complete(log, table)
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
        note = json.dumps(consumed) if consumed else None
        settings = {
            "spark.sql.parquet.compression.codec": "zstd" if table.compress else "uncompressed",
            "spark.databricks.delta.commitInfo.userMetadata": note,
            # It compares each row with each value; `replace` is given no other rows.
            "spark.databricks.delta.replaceWhere.constraintCheck.enabled": "false",
        }
        start = time.monotonic()
        with _session_settings(self.spark, settings):
            yield
        seconds = round(time.monotonic() - start, 2)
        structlog.get_logger().debug("committed", table=table.name, seconds=seconds)


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


def is_held_here(rows: Rows) -> TypeGuard[pa.Table]:
    """Whether the rows are in this process's memory, and not Spark's."""
    import pyarrow as pa

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


def sql_text(value: str) -> str:
    """The value as a string literal of Spark, whatever characters it holds."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _same_key(table: Table) -> str:
    return " AND ".join(f"stored.{name} = new.{name}" for name in table.key)
