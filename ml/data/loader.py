"""Tensors of pictures from the lake's live files, through petastorm. No other module imports it.

petastorm can lose rows without an error, so the rows of every pass are compared with the Delta
log. Its "dummy" pool reads in this thread, so the order is repeatable. `seed` shuffles row groups
in petastorm and rows in this module. A tensor is copied once, from Arrow's memory into a batch.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lakehouse.errors import PlatelakeError

Tensors = NDArray[np.uint8]
Indices = NDArray[np.intp]
Batch = tuple[Tensors, Indices]
ALONE = (0, 1)
BUFFER = 1_024
"""Pictures in all batches that are being filled: 150 MiB at 224 x 224."""
_COLUMNS = ("pixel_sha256", "tensor_height", "tensor_width", "tensor")


def pictures(
    files: Sequence[str],
    wanted: Sequence[str],
    batch: int,
    *,
    seed: int | None = None,
    shard: tuple[int, int] = ALONE,
    rows: int | None = None,
    buffer: int = BUFFER,
) -> Iterator[Batch]:
    """Read the wanted pictures once, in batches.

    With a seed, row groups are shuffled, enough batches for `buffer` pictures are filled at the
    same time, and each picture goes to one of them at random. So a batch takes its pictures from
    about `buffer` neighbours, and no more are in memory; from HDFS also one row group. A batch of
    one picture is full at once, so then only row groups are shuffled.

    All workers read the same batches, and each gets its own share of each batch. A share may be
    empty. So the workers keep step, and their shares together are the batches of a single worker.
    petastorm's own shards are whole row groups. A small lake has fewer of them than workers, and
    they are of unequal size.

    Args:
        files: live parquet files of `pictures`: paths or `hdfs://` URLs.
        wanted: `pixel_sha256` of the pictures.
        batch: pictures in a batch, over all workers. The last batch may have fewer.
        seed: of the shuffle. Without it, the order is that of the files.
        shard: (rank, workers). A worker gets the pictures with index % workers == rank.
        rows: how many rows the files have by the Delta log. Without it, rows are not counted.
        buffer: pictures in all batches that are being filled.

    Yields:
        Tensors, uint8, shape (n, height, width, 3), and their indices in `wanted`, shape (n,).

    Raises:
        PlatelakeError: petastorm gave another number of rows, a wanted picture was not given
            exactly once, or a file is gone. The last batch is given only after these checks.

    Example:
        >>> import tempfile
        >>> import pyarrow.parquet as pq
        >>> columns = {"pixel_sha256": ["a", "b", "c"], "tensor_height": [2] * 3}
        >>> columns |= {"tensor_width": [2] * 3, "tensor": [bytes([n] * 12) for n in range(3)]}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = f"{folder}/part.parquet"
        ...     pq.write_table(pa.table(columns), file)
        ...     batches = list(pictures([file], ["c", "a"], batch=2, rows=3))
        >>> [(tensors.shape, indices.tolist()) for tensors, indices in batches]
        [((2, 2, 2, 3), [1, 0])]
    """
    rank, workers = shard
    draw = np.random.default_rng(seed)
    whole, rest = divmod(len(wanted), batch)
    later = map(_Batch, [batch] * whole + [rest] * (rest > 0))
    opened = list(itertools.islice(later, 1 if seed is None else max(buffer // batch, 1)))
    found = _wanted(files, wanted, seed, rows)
    for at, tensor in found:
        place = int(draw.integers(len(opened)))
        one = opened[place]
        one.add(at, tensor, own=at % workers == rank)
        if not one.places:
            opened[place : place + 1] = itertools.islice(later, 1)
            if not opened:
                deque(found, maxlen=0)  # Its end raises an error if rows or pictures are missing.
            yield one.share()


class _Batch:
    """A batch that is being filled. It keeps only the worker's own pictures."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._tensors = np.empty(0, np.uint8)
        self._indices: list[int] = []

    def add(self, at: int, tensor: Tensors, own: bool) -> None:
        """Use up a place, and copy the picture if it is the worker's own."""
        if not self._tensors.size:
            self._tensors = empty(self.places, *tensor.shape)
        if own:
            self._tensors[len(self._indices)] = tensor
            self._indices.append(at)
        self.places -= 1

    def share(self) -> Batch:
        """Return the worker's own pictures."""
        return self._tensors[: len(self._indices)], np.array(self._indices, np.intp)


def _wanted(
    files: Sequence[str], wanted: Sequence[str], seed: int | None, rows: int | None
) -> Iterator[tuple[int, Tensors]]:
    """Yield index and tensor of each wanted picture, in the order of reading, without a copy."""
    index = {item: at for at, item in enumerate(wanted)}
    times = np.zeros(len(wanted), np.int64)
    read = 0
    for batch in _record_batches(files, seed):
        read += batch.num_rows
        items, *sizes = (batch[name].to_pylist() for name in _COLUMNS[:3])
        for item, height, width, pixels in zip(items, *sizes, _views(batch["tensor"]), strict=True):
            at = index.get(item)
            if at is not None:
                times[at] += 1
                yield at, pixels.reshape(height, width, 3)
    if rows is not None and read != rows:
        raise PlatelakeError(
            f"petastorm gave {read} rows of table pictures, its Delta log has {rows}: training "
            "stops, because it needs all rows; run the command again, and report it if it stays"
        )
    if (times != 1).any():
        raise PlatelakeError(
            f"table pictures lacks {int((times == 0).sum())} of {len(wanted)} wanted pictures, "
            f"and has {int((times > 1).sum())} more than once; make a new split by "
            "`platelake train`"
        )


def empty(*shape: int) -> Tensors:
    """Allocate an array of that shape in Arrow's memory, not yet filled.

    It starts at a multiple of 64 bytes, so copies into it are faster. Arrow reuses freed memory.
    NumPy would return it to the system, and getting the next array would cost more than filling it.
    """
    return np.frombuffer(pa.allocate_buffer(math.prod(shape)), np.uint8).reshape(shape)


def _views(values: pa.BinaryArray) -> Iterator[Tensors]:
    """Yield the bytes of each value without a copy. Arrow's own scalars are copies."""
    _, bounds, content = values.cast(pa.binary()).buffers()
    ends = np.frombuffer(bounds, np.int32)[values.offset :][: len(values) + 1].tolist()
    pixels = np.frombuffer(content, np.uint8)
    return (pixels[start:end] for start, end in itertools.pairwise(ends))


# -- petastorm ---------------------------------------------------------------------------------


def _record_batches(files: Sequence[str], seed: int | None) -> Iterator[pa.RecordBatch]:
    """Yield the files' rows, some at a time."""
    if not files:
        return
    system = _live_files(tuple(files))
    try:
        with _quiet():
            from ml.data.petastorm_compat import make_batch_reader

            reader = make_batch_reader(sorted(system.files), _COLUMNS, system, seed)
        with reader:
            yield from reader
    except FileNotFoundError as error:
        raise PlatelakeError(
            f"table pictures: a live file is gone ({error}): vacuum removed a file that this "
            "version needs; use a later version by `platelake train`"
        ) from None


class LiveFiles:
    """Shows petastorm only the given files, under short names.

    petastorm gives `#`, `%` and `=` in a path a special meaning. The short names have none of them.
    """

    def __init__(self, open_file: Callable[[str], Any], files: Sequence[str]) -> None:
        self._open = open_file
        self.files = {f"/{at:09d}.parquet": file for at, file in enumerate(files)}

    def open(self, path: str) -> Any:
        """Open the file with that short name."""
        return self._open(self.files[path])


def _live_files(files: tuple[str, ...]) -> LiveFiles:
    first = urlsplit(files[0])
    if first.scheme != "hdfs":
        # A memory map lets Arrow read without a copy. Delta never changes a file after writing it.
        return LiveFiles(pa.memory_map, [file.removeprefix("file://") for file in files])
    try:
        from hdfs_native.fsspec import HdfsFileSystem
    except ImportError:
        raise PlatelakeError(
            f"the pictures are on {first.scheme}://{first.netloc}, which needs the package "
            "hdfs-native; install it by `pip install hdfs-native`"
        ) from None
    return LiveFiles(HdfsFileSystem(first.hostname, first.port).open, files)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide petastorm's warnings that it did not write the files itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        logging.getLogger("petastorm").setLevel(logging.ERROR)
        yield
