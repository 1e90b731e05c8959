"""Read the landing zone's files in the driver, or with Spark's workers if they are large.

Both call the same function.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import NamedTuple

import pyarrow as pa
import structlog

from lakehouse.delta.engine import collected, gathered, in_slices, spark_schema
from lakehouse.delta.lake import Lake
from lakehouse.delta.rows import Rows
from lakehouse.errors import PlatelakeError
from lakehouse.files.cells import read_cells, whole, with_file
from lakehouse.files.delimited import inspect
from lakehouse.files.layout import FileReport, Layout
from lakehouse.files.small_files import Small, in_runs, read_together
from lakehouse.landing.files import LandedFile
from lakehouse.landing.zone import open_url

SLICE_BYTES = 64 << 20

HASHED = 1 / 16
"""Work to hash a byte, compared with decoding it."""

STRINGS = pa.list_(pa.string())
REPORT_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("sha256", pa.string()),
        ("encoding", pa.string()),
        ("header", STRINGS),
        ("order", pa.list_(pa.int32())),
        ("grouped", pa.int32()),
        ("rows", pa.int64()),
        ("rule", pa.string()),
        ("reason", pa.string()),
        ("note", pa.string()),
        ("delimiter", pa.string()),
        ("first_line", pa.int64()),
        ("end_line", pa.int64()),
        ("mixes_notations", pa.bool_()),
        ("has_extra", pa.bool_()),
    ]
)


class Landed(NamedTuple):
    """A file as a worker gets it."""

    file: str
    url: str
    size: int


Read = Callable[[Iterable[Landed]], Iterator[pa.RecordBatch]]

Typed = Callable[[pa.RecordBatch, Mapping[str, FileReport]], pa.RecordBatch]
"""Types the rows of some files, as `read_cells` gives them, with the files' reports."""

TYPED_AT_ONCE = 50_000
"""Rows of small files are typed together: about this many at once, or some more."""

READ_AT_ONCE = 4 << 20
"""A thread reads files of up to this many bytes together, or one file, one after the other."""


def _read_here(files: Sequence[LandedFile], read: Read, schema: pa.Schema) -> pa.Table:
    def batches(some: Sequence[LandedFile]) -> list[pa.RecordBatch]:
        return list(read(map(_landed, some)))

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        portions = in_slices(files, [file.size for file in files], READ_AT_ONCE)
        read_at_once = threads.map(batches, portions)
        return pa.Table.from_batches(itertools.chain.from_iterable(read_at_once), schema)


def read_files(
    lake: Lake,
    files: Sequence[LandedFile],
    read: Read,
    schema: pa.Schema,
    weight: float = 1.0,
) -> Rows:
    """Read the files with `read`; return rows of that schema.

    `weight` is the work for a byte, compared with decoding it. Spark may read its rows again each
    time they are used; keep them to read them once.
    """
    total = sum(file.size for file in files)
    if total * weight <= lake.here.bytes:
        return _read_here(files, read, schema)
    structlog.get_logger().info("read by Spark", files=len(files), bytes=total)

    def read_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from read(Landed(**row) for row in batch.to_pylist())

    cores = lake.spark.sparkContext.defaultParallelism
    tasks = max(1, min(len(files), max(cores, total // SLICE_BYTES)))
    spread = lake.spark.createDataFrame(
        list(map(_landed, files)), "file string, url string, size bigint"
    )
    return spread.repartition(tasks).mapInArrow(read_batches, spark_schema(schema))


def hash_files(lake: Lake, landing: str, files: Sequence[LandedFile]) -> dict[str, FileReport]:
    """Return the content hash of each file, by `file`; a file that cannot be opened has a fault."""
    return _look(lake, files, lambda url: _hash(landing, url), HASHED)


def inspect_files(
    lake: Lake, landing: str, files: Sequence[LandedFile], layout: Layout
) -> dict[str, FileReport]:
    """Return the hash and report of each text file, by `file`."""

    def report(url: str) -> FileReport:
        with open_url(landing, url) as stream:
            return inspect(stream, layout)

    return _look(lake, files, report)


def read_rows(
    lake: Lake,
    landing: str,
    files: Sequence[tuple[LandedFile, FileReport]],
    layout: Layout,
    typed: Typed,
    schema: pa.Schema,
) -> Rows:
    """Read all rows of the text files, typed by `typed`, with that schema.

    Raises PlatelakeError if a file changes meanwhile.
    """
    reports = {file.file: report for file, report in files}

    def read(landed: Iterable[Landed]) -> Iterator[pa.RecordBatch]:
        for some in gathered(_cells(landing, landed, reports, layout), TYPED_AT_ONCE):
            yield typed(pa.concat_batches(some), reports)

    return read_files(lake, [file for file, _ in files], read, schema)


def _cells(
    landing: str, landed: Iterable[Landed], reports: Mapping[str, FileReport], layout: Layout
) -> Iterator[pa.RecordBatch]:
    """Yield the cells of these files, of small ones that look alike together."""
    found = ((one, one.size, reports[one.file]) for one in landed)
    for run in in_runs(found, layout):
        if len(run) > 1:
            some = [Small(one.file, _content(landing, one), reports[one.file]) for one in run]
            if (together := read_together(some, layout)) is not None:
                yield together
                continue
        for one in run:
            yield from _cells_of(landing, one, reports[one.file], layout)


def _content(landing: str, one: Landed) -> bytes:
    with open_url(landing, one.url) as stream:
        return bytes(stream.read())


def _cells_of(
    landing: str, one: Landed, report: FileReport, layout: Layout
) -> Iterator[pa.RecordBatch]:
    with open_url(landing, one.url) as stream:
        try:
            parts = read_cells(stream, report, layout)
            for batch in whole(parts) if layout.is_long else parts:
                yield with_file(batch, one.file)
        except PlatelakeError as error:
            raise PlatelakeError(f"{one.file}: {error}") from None


def _look(
    lake: Lake,
    files: Sequence[LandedFile],
    look: Callable[[str], FileReport],
    weight: float = 1.0,
) -> dict[str, FileReport]:
    def report(url: str) -> FileReport:
        try:
            return look(url)
        except OSError as error:
            return FileReport(rule="unreadable", reason=f"cannot be read: {error.strerror}")

    def read(landed: Iterable[Landed]) -> Iterator[pa.RecordBatch]:
        found = [{"file": file, **vars(report(url))} for file, url, _ in landed]
        yield pa.RecordBatch.from_pylist(found, REPORT_SCHEMA)

    here = collected(read_files(lake, files, read, REPORT_SCHEMA, weight))
    names = [field.name for field in fields(FileReport)]
    return {
        row["file"]: FileReport(**{name: row[name] for name in names}) for row in here.to_pylist()
    }


def _landed(file: LandedFile) -> Landed:
    return Landed(file.file, file.url, file.size)


def _hash(landing: str, url: str) -> FileReport:
    with open_url(landing, url) as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
        return FileReport(sha256=digest.hexdigest())
