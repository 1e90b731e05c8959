"""Reading the landing zone's files: on Spark's workers, or here where that is sooner.

Starting Python workers takes seconds. Files of at most `LOCAL_BYTES` together are read in the
driver; more are spread over the cluster. The reading itself is the same function.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from lakehouse.errors import PlatelakeError
from lakehouse.io import Lake
from lakehouse.sources.delimited import Facts, Layout, inspect, read_cells
from lakehouse.sources.landing import LandedFile, open_url

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

LOCAL_BYTES = 64 << 20
SLICE_BYTES = 64 << 20

STRINGS = pa.list_(pa.string())
FACTS = pa.schema(
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
    ]
)
CELLS = pa.schema(
    [("file", pa.string()), ("line", pa.int64()), ("cells", STRINGS), ("fault", pa.string())]
)


class Landed(NamedTuple):
    """A file as a worker gets it."""

    file: str
    url: str
    size: int


Read = Callable[[Iterable[Landed]], Iterator[pa.RecordBatch]]


def read_here(files: Sequence[LandedFile], read: Read, schema: pa.Schema) -> pa.Table | None:
    """What `read` makes of the files, read in this process; None where they are too much for it."""
    if sum(file.size for file in files) > LOCAL_BYTES:
        return None
    return pa.Table.from_batches(read(map(_landed, files)), schema)


def read_files(lake: Lake, files: Sequence[LandedFile], read: Read, schema: pa.Schema) -> DataFrame:
    """What `read` makes of the files, as a frame of that schema.

    The frame may read the files each time it is used; persist it to read them once.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    here = read_here(files, read, schema)
    if here is not None:
        rows: Any = here if here.num_rows else []  # Spark takes no table without a batch.
        return lake.spark.createDataFrame(rows, from_arrow_schema(schema))

    def read_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from read(Landed(**row) for row in batch.to_pylist())

    cores = lake.spark.sparkContext.defaultParallelism
    total = sum(file.size for file in files)
    tasks = max(1, min(len(files), max(cores, total // SLICE_BYTES)))
    spread = lake.spark.createDataFrame(
        list(map(_landed, files)), "file string, url string, size bigint"
    )
    return spread.repartition(tasks).mapInArrow(read_batches, from_arrow_schema(schema))


def hash_files(lake: Lake, landing: str, files: Sequence[LandedFile]) -> dict[str, Facts]:
    """The content hash of each file, by `file`; one that cannot be opened has a fault."""
    return _look(lake, files, lambda url: _hash(landing, url))


def inspect_files(
    lake: Lake, landing: str, files: Sequence[LandedFile], layout: Layout
) -> dict[str, Facts]:
    """Hash and whole-file facts of each text file, by `file`."""

    def facts(url: str) -> Facts:
        with open_url(landing, url) as stream:
            return inspect(stream, layout)

    return _look(lake, files, facts)


def read_rows(
    lake: Lake, landing: str, files: Sequence[tuple[LandedFile, Facts]], layout: Layout
) -> DataFrame:
    """Every row of the text files: file, line, cells in the order of the file's header, fault.

    Raises PlatelakeError if a file changes meanwhile.
    """
    facts_by_file = {file.file: facts for file, facts in files}

    def read(landed: Iterable[Landed]) -> Iterator[pa.RecordBatch]:
        for file, url, _ in landed:
            with open_url(landing, url) as stream:
                try:
                    for batch in read_cells(stream, facts_by_file[file], layout):
                        names = pa.array([file] * batch.num_rows, pa.string())
                        yield pa.RecordBatch.from_arrays([names, *batch.columns], schema=CELLS)
                except PlatelakeError as error:
                    raise PlatelakeError(f"{file}: {error}") from None

    return read_files(lake, [file for file, _ in files], read, CELLS)


def _look(
    lake: Lake, files: Sequence[LandedFile], look: Callable[[str], Facts]
) -> dict[str, Facts]:
    def read(landed: Iterable[Landed]) -> Iterator[pa.RecordBatch]:
        for file, url, _ in landed:
            try:
                facts = look(url)
            except OSError as error:
                facts = Facts(rule="unreadable", reason=f"cannot be read: {error.strerror}")
            yield pa.RecordBatch.from_pylist([{"file": file, **asdict(facts)}], FACTS)

    here = read_here(files, read, FACTS)
    if here is None:
        here = read_files(lake, files, read, FACTS).toArrow()
    names = [field.name for field in fields(Facts)]
    return {row["file"]: Facts(**{name: row[name] for name in names}) for row in here.to_pylist()}


def _landed(file: LandedFile) -> Landed:
    return Landed(file.file, file.url, file.size)


def _hash(landing: str, url: str) -> Facts:
    with open_url(landing, url) as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
        return Facts(sha256=digest.hexdigest())
