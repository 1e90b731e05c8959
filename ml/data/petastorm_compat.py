"""petastorm on current pyarrow and numpy, with rows as Arrow batches.

petastorm 0.13.1 imports names that pyarrow 16 and numpy 2 removed, and reads through pyarrow's
first dataset classes. This module gives petastorm's modules replacements for these parts only.
pyarrow's own classes do not change.

petastorm finds the row groups, shuffles them, and reads one after the other. Two of its parts
take most of the time, so they are replaced. Its worker copies each row group and makes a Python
object of each value; the new one gives small Arrow batches. Its thread that hands out row groups
can be late by 0.1 seconds; the new code hands them out at the start.

    from fsspec.implementations.local import LocalFileSystem

    from ml.data.petastorm_compat import make_batch_reader

    with make_batch_reader(["/data/a.parquet"], ["key"], LocalFileSystem()) as reader:
        for batch in reader:
            print(batch["key"])

This file needs nothing else of this project, so other users of petastorm can take it. It does not
support Hive partitions, petastorm's own metadata files, URLs, transforms, predicates, caches, more
than one pass, pools of threads (they lose rows: in 2 of 30 passes over 3,000 rows) or pools of
processes.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BATCH_BYTES = 1 << 20
"""Approximate bytes of a batch: small enough to be in the processor's cache when it is used."""


class ParquetDataset:
    """Parquet files of one schema, in place of the class of that name that pyarrow removed.

    Args:
        path_or_paths: the files. Folders are not listed.
        filesystem: any fsspec file system. Only `open(path)` is used.
    """

    partitions = None
    metadata = None
    common_metadata = None

    def __init__(
        self, path_or_paths: str | Sequence[str], filesystem: Any, **_options: Any
    ) -> None:
        self.paths = path_or_paths
        self.fs = filesystem
        paths = [path_or_paths] if isinstance(path_or_paths, str) else path_or_paths
        self.pieces = [ParquetDatasetPiece(path, filesystem.open) for path in paths]


class ParquetDatasetPiece:
    """One parquet file, or one row group of it."""

    def __init__(
        self,
        path: str,
        open_file_func: Callable[[str], Any],
        row_group: int | None = None,
        partition_keys: Sequence[tuple[str, int]] = (),
    ) -> None:
        self.path = path
        self.row_group = row_group
        self.partition_keys = partition_keys
        self._open = open_file_func

    def get_metadata(self) -> pq.FileMetaData:
        """Read the file's footer."""
        with self._open(self.path) as file:
            return pq.read_metadata(file)


class _Overlay(ModuleType):
    """A module with some names replaced."""

    def __init__(self, module: ModuleType, names: Mapping[str, Any]) -> None:
        super().__init__(module.__name__, module.__doc__)
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


_PARQUET = {"ParquetDataset": ParquetDataset, "ParquetDatasetPiece": ParquetDatasetPiece}
_READ_PARQUET = ("reader", "arrow_reader_worker", "etl.dataset_metadata")
_NUMPY = {"unicode_": np.str_, "string_": np.bytes_}
_ASK_NUMPY = ("unischema", "arrow_reader_worker")


def _import() -> Any:
    """Import petastorm's module of readers. It and its imports use the replacements."""
    with _old_names():
        reader = importlib.import_module("petastorm.reader")
    for name in _READ_PARQUET:
        module = importlib.import_module(f"petastorm.{name}")
        module.pq = _Overlay(pq, _PARQUET)  # type: ignore[attr-defined]
    for name in _ASK_NUMPY:
        module = importlib.import_module(f"petastorm.{name}")
        module.np = _Overlay(np, _NUMPY)  # type: ignore[attr-defined]
    # petastorm prints a line to standard output after each pass.
    reader.print = lambda *_: None  # type: ignore[attr-defined]
    return reader


@contextlib.contextmanager
def _old_names() -> Iterator[None]:
    """Provide the removed names while petastorm is imported, then delete them."""
    nobody = type("Removed", (), {})  # petastorm only compares with these classes.
    modules = {name: ModuleType(name) for name in ("pyarrow.filesystem", "pyarrow.hdfs")}
    for module in modules.values():
        module.LocalFileSystem = module.HadoopFileSystem = nobody  # type: ignore[attr-defined]
    sys.modules |= modules
    pa.lib.ArrowIOError = OSError
    for name, value in _NUMPY.items():
        setattr(np, name, value)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        del pa.lib.ArrowIOError
        for name in _NUMPY:
            delattr(np, name)


_reader = _import()

# These imports work only after the line above.
from petastorm.arrow_reader_worker import ArrowReaderWorker  # noqa: E402
from petastorm.workers_pool import EmptyResultError  # noqa: E402
from petastorm.workers_pool.ventilator import ConcurrentVentilator  # noqa: E402


class _Batches:
    """Takes the batches of a row group, then asks the pool for the next row group."""

    batched_output = True

    def __init__(self) -> None:
        self._batches: Iterator[pa.RecordBatch] = iter(())

    def read_next(self, workers_pool: Any, _schema: Any, _ngram: Any) -> pa.RecordBatch:
        """Return the next batch. Raise StopIteration after the last."""
        while (batch := next(self._batches, None)) is None:
            try:
                self._batches = workers_pool.get_results()
            except EmptyResultError:
                raise StopIteration from None
        return batch


class _Worker(ArrowReaderWorker):  # type: ignore[misc]
    """Opens a row group. Its batches are read when they are needed."""

    new_results_queue_reader = staticmethod(_Batches)

    def _load_rows(self, pq_file: pq.ParquetFile, piece: ParquetDatasetPiece, _part: Any) -> Any:
        group = pq_file.metadata.row_group(piece.row_group)
        rows = max(BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1), 1)
        columns = list(self._schema.fields)
        return pq_file.iter_batches(rows, row_groups=[piece.row_group], columns=columns)


class _Ventilator(ConcurrentVentilator):  # type: ignore[misc]
    """Hands out all row groups at the start, without a thread."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **{**how, "max_ventilation_queue_size": None})

    def start(self) -> None:
        """Hand out all row groups."""
        self._ventilate()


_reader.ArrowReaderWorker = _Worker
_reader.ConcurrentVentilator = _Ventilator


def make_batch_reader(
    files: Sequence[str], columns: Sequence[str], filesystem: Any, seed: int | None = None
) -> Any:
    """Open petastorm's reader for one pass over these columns.

    Args:
        files: parquet files of one schema.
        columns: names of columns.
        filesystem: any fsspec file system. Only `open(path)` is used.
        seed: shuffles the row groups. Without it, their order is that of the files' names.

    Returns:
        A context manager that is also an iterator of `pa.RecordBatch`.
    """
    return _reader.make_batch_reader(
        list(files),
        schema_fields=list(columns),
        reader_pool_type="dummy",
        shuffle_row_groups=seed is not None,
        seed=None if seed is None else seed + 1,  # petastorm takes 0 as no seed.
        num_epochs=1,
        filesystem=filesystem,
    )
