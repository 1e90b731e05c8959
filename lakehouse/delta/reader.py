"""Read the lake's tables: where they lie, their logs, and their rows at any version."""

from __future__ import annotations

import contextlib
import functools
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import structlog
from deltalake import DeltaTable as LogReader
from deltalake.exceptions import DeltaError, TableNotFoundError
from filelock import FileLock, Timeout
from pyarrow.dataset import ParquetFragmentScanOptions

from lakehouse.delta import snapshot
from lakehouse.errors import NoLakeError, PlatelakeError, VersionGoneError
from lakehouse.settings import Here
from lakehouse.table import Table, spark_type

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BUFFER_BYTES = 1 << 20
"""So many bytes of a file's column are read at once if rows come in batches."""

OF_CHANGE = ("_change_type", "_commit_version", "_commit_timestamp")


class LakeReader:
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
            raise NoLakeError(self.folder)
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
    def lock(self, name: str) -> Iterator[bool]:
        """Let in one process at a time; yields whether it had to wait for another.

        Only on a local lake: elsewhere Delta's commits protect themselves.
        """
        if not self.local:
            yield False
            return
        lock = FileLock(Path(self.folder) / ".locks" / f"{name}.lock")
        waited = False
        try:
            lock.acquire(timeout=0)
        except Timeout:
            structlog.get_logger().info("waiting for another run", lock=lock.lock_file)
            lock.acquire()
            waited = True
        try:
            yield waited
        finally:
            lock.release()

    def _log(self, table: Table, version: int | None = None) -> LogReader | None:
        """The table's Delta log, read without Spark; None where the table is not yet made.

        Raises VersionGoneError where the log no longer holds that version.
        """
        try:
            return LogReader(f"{self.folder}/{table.name}", version=version)
        except TableNotFoundError:
            return None
        except DeltaError:
            if version is None:
                raise
            raise VersionGoneError(table.name, version) from None

    def version(self, table: Table) -> int:
        """The latest version; -1 where the table is not yet made."""
        log = self._log(table)
        return -1 if log is None else log.version()

    def identity(self, table: Table) -> tuple[str, int] | None:
        """The id that the table got when it was made, and its latest version; None if not made."""
        log = self._log(table)
        return None if log is None else (str(log.metadata().id), log.version())

    def file_sizes(self, table: Table) -> list[int]:
        """Bytes of each file of the latest version."""
        log = self._log(table)
        return snapshot.file_sizes(log) if log else []

    def count(
        self, table: Table, version: int | None = None, where: pc.Expression | None = None
    ) -> int:
        """Rows of that version, or the latest, or those that meet `where`; read without Spark."""
        log = None if version == -1 else self._log(table, version)
        return snapshot.row_count(log, where) if log else 0

    def load(
        self,
        table: Table,
        version: int | None = None,
        where: pc.Expression | None = None,
        columns: Sequence[str] = (),
    ) -> pa.Table:
        """The rows of that version, or the latest, as declared; those that meet `where`, or all.

        Of these columns, or all. Read without Spark. Empty if the table is not yet made, which is
        version -1. A column that was declared later is null. Raises VersionGoneError if the
        version is gone.
        """
        columns = columns or table.names
        log = None if version == -1 else self._log(table, version)
        if log is None:
            return table.arrow_schema().empty_table().select(columns)
        try:
            return snapshot.load(log, table, columns, where)
        except FileNotFoundError:
            raise VersionGoneError(table.name, log.version()) from None

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
        where: pc.Expression,
        version: int | None = None,
        at_once: int = 1 << 17,
    ) -> Iterator[pa.RecordBatch]:
        """These columns of the rows that meet `where`, up to so many at once; without Spark.

        Files are read in parts, because one may hold 150 MB of tensors. A column that was declared
        later is null.
        """
        log = self._log(table, version)
        if log:
            in_parts = ParquetFragmentScanOptions(
                pre_buffer=False, use_buffered_stream=True, buffer_size=BUFFER_BYTES
            )
            stored = log.to_pyarrow_dataset()
            there = [name for name in columns if name in stored.schema.names]
            later = [field for field in table.arrow_schema() if field.name in {*columns} - {*there}]
            for batch in stored.to_batches(
                columns=there,
                filter=where,
                batch_size=at_once,
                fragment_readahead=1,
                fragment_scan_options=in_parts,
            ):
                for field in later:
                    batch = batch.append_column(field, pa.nulls(len(batch), field.type))
                yield batch.select(columns) if later else batch

    def counts(
        self,
        table: Table,
        column: str,
        where: pc.Expression,
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
        log = self._log(table, version)
        files = sorted(log.file_uris()) if log else []
        if self.local:
            files = [urllib.parse.unquote(file) for file in files]
        gone = [file for file in files if self.local and not Path(file).is_file()]
        if log and gone:
            raise VersionGoneError(table.name, log.version())
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
        log = self._log(table)
        return snapshot.changes(log, columns, after, until) if log else None

    def consumed(self, table: Table, version: int | None = None) -> dict[str, int]:
        """The versions of other tables that this one, or that version of it, is computed from."""
        log = None if version == -1 else self._log(table, version)
        return snapshot.consumed(log) if log else {}
