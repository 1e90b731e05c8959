"""petastorm on a current pyarrow and numpy: the few old names that it still asks for.

petastorm 0.13.1 imports names that pyarrow 16 and numpy 2 have removed, and reads through
pyarrow's first dataset classes. `make_batch_reader` here is petastorm's own, with stand-ins for
just these parts. pyarrow's own classes stay as they are: only petastorm's modules see the others.

    from fsspec.implementations.local import LocalFileSystem

    from ml.petastorm_compat import make_batch_reader

    with make_batch_reader(
        ["/data/a.parquet"], filesystem=LocalFileSystem(), reader_pool_type="dummy"
    ) as reader:
        for row_group in reader:
            print(row_group.key)

This file needs nothing else of this project, so another user of petastorm may take it. What it
does not give: Hive partitions, petastorm's own metadata files, and URLs without a `filesystem`.
Use the "dummy" pool: the thread pool loses rows (2 of 30 passes over 3,000 rows).
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


class ParquetDataset:
    """Parquet files of one schema, as pyarrow's removed class of that name showed them.

    Args:
        path_or_paths: the files. A folder is not looked into.
        filesystem: any fsspec file system; `open(path)` is all that is asked of it.
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
        """The file's footer."""
        with self._open(self.path) as file:
            return pq.read_metadata(file)

    def read(self, columns: Sequence[str], partitions: Any = None) -> pa.Table:
        """These columns of the row group, or of the whole file."""
        with self._open(self.path) as file:
            stored = pq.ParquetFile(file)
            wanted = list(columns)
            if self.row_group is None:
                return stored.read(columns=wanted)
            return stored.read_row_group(self.row_group, columns=wanted)


class _Overlay(ModuleType):
    """A module as it is, but for some names."""

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
    """Petastorm's `make_batch_reader`, its modules seeing the stand-ins."""
    with _old_names():
        reader = importlib.import_module("petastorm.reader")
    for name in _READ_PARQUET:
        module = importlib.import_module(f"petastorm.{name}")
        module.pq = _Overlay(pq, _PARQUET)  # type: ignore[attr-defined]
    for name in _ASK_NUMPY:
        module = importlib.import_module(f"petastorm.{name}")
        module.np = _Overlay(np, _NUMPY)  # type: ignore[attr-defined]
    # It prints a line to standard output after each pass.
    reader.print = lambda *_: None  # type: ignore[attr-defined]
    return reader.make_batch_reader


@contextlib.contextmanager
def _old_names() -> Iterator[None]:
    """While petastorm is imported, the removed names are there; afterwards they are gone."""
    nobody = type("Removed", (), {})  # petastorm compares with these classes, no more.
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


make_batch_reader = _import()
