"""Reading the landing zone's files on Spark's workers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lakehouse.errors import PlatelakeError
from lakehouse.io import Lake
from lakehouse.sources.delimited import Facts, Layout, inspect, read_cells
from lakehouse.sources.landing import LandedFile, open_url

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SLICE_BYTES = 64 << 20
FILE = "file string, url string, size bigint"
FACTS = (
    "file string, sha256 string, encoding string, header array<string>, order array<int>, "
    "grouped int, rows bigint, rule string, reason string, note string"
)
CELLS = "file string, line bigint, cells array<string>, fault string"

Batches = Iterable[pa.RecordBatch]


def hash_files(lake: Lake, landing: str, files: Sequence[LandedFile]) -> dict[str, Facts]:
    """The content hash of each file, by `file`; one that cannot be opened has a fault."""
    return _facts_of(lake, files, lambda url: _hash(landing, url))


def inspect_files(
    lake: Lake, landing: str, files: Sequence[LandedFile], layout: Layout
) -> dict[str, Facts]:
    """Hash and whole-file facts of each text file, by `file`."""

    def facts(url: str) -> Facts:
        with open_url(landing, url) as stream:
            return inspect(stream, layout)

    return _facts_of(lake, files, facts)


def read_rows(
    lake: Lake,
    landing: str,
    files: Sequence[tuple[LandedFile, Facts]],
    layout: Layout,
) -> DataFrame:
    """Every row of the text files: file, line, cells in the order of the file's header, fault."""
    facts_by_file = {file.file: facts for file, facts in files}

    def rows(batches: Batches) -> Iterator[pa.RecordBatch]:
        for file, url in _named(batches):
            with open_url(landing, url) as stream:
                try:
                    for batch in read_cells(stream, facts_by_file[file], layout):
                        names = pa.array([file] * batch.num_rows, pa.string())
                        yield pa.RecordBatch.from_arrays(
                            [names, *batch.columns], names=["file", *batch.schema.names]
                        )
                except PlatelakeError as error:
                    raise PlatelakeError(f"{file}: {error}") from None

    return spread(lake.spark, [file for file, _ in files]).mapInArrow(rows, CELLS)


def spread(spark: SparkSession, files: Sequence[LandedFile]) -> DataFrame:
    """The files (file, url, size) over as many tasks as their bytes and the cluster are worth."""
    total = sum(file.size for file in files)
    cores = spark.sparkContext.defaultParallelism
    tasks = max(1, min(len(files), max(cores, total // SLICE_BYTES)))
    rows = [(file.file, file.url, file.size) for file in files]
    return spark.createDataFrame(rows, FILE).repartition(int(tasks))


def _facts_of(
    lake: Lake, files: Sequence[LandedFile], look: Callable[[str], Facts]
) -> dict[str, Facts]:
    def all_facts(batches: Batches) -> Iterator[pa.RecordBatch]:
        for file, url in _named(batches):
            try:
                facts = look(url)
            except OSError as error:
                facts = Facts(rule="unreadable", reason=f"cannot be read: {error.strerror}")
            yield _record({"file": file, **asdict(facts)})

    if not files:
        return {}
    found = spread(lake.spark, files).mapInArrow(all_facts, FACTS).collect()
    facts = {row["file"]: row.asDict() for row in found}
    return {file: Facts(**{k: v for k, v in f.items() if k != "file"}) for file, f in facts.items()}


def _hash(landing: str, url: str) -> Facts:
    with open_url(landing, url) as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
        return Facts(sha256=digest.hexdigest())


def _named(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, str]]:
    for batch in batches:
        yield from zip(batch["file"].to_pylist(), batch["url"].to_pylist(), strict=True)


def _record(values: dict[str, Any]) -> pa.RecordBatch:
    strings = pa.list_(pa.string())
    types = {"header": strings, "order": pa.list_(pa.int32()), "grouped": pa.int32()}
    types["rows"] = pa.int64()
    return pa.RecordBatch.from_pydict(
        {name: pa.array([value], types.get(name, pa.string())) for name, value in values.items()}
    )
