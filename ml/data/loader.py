"""Tensors of pictures from the lake's live files, through petastorm; nothing else imports it.

petastorm can lose rows in silence, so every finite pass is counted against the Delta log. Its
"dummy" pool reads in this thread, which makes the order repeatable; `seed` shuffles row groups
there and rows here. A tensor is copied once, from Arrow's memory to its place in a batch.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import math
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lakehouse.errors import PlatelakeError

if TYPE_CHECKING:
    from ml.data.pictures import PictureFrame

Tensors = NDArray[np.uint8]
Indices = NDArray[np.intp]
Batch = tuple[Tensors, Indices]
ALONE = (0, 1)
BUFFER = 1_024
"""Places in the batches that are filled at the same time: 150 MiB at 224 x 224."""
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
    """One pass over the wanted pictures: tensors, shape (n, height, width, 3), and their indices.

    `files` are live parquet files of `pictures`, paths or `hdfs://` URLs, which hold `rows` rows in
    all. `wanted` are `pixel_sha256`; indices point into it. Without `seed` the order is that of the
    files. With it the row groups are shuffled, `buffer` pictures' worth of batches are filled at
    the same time, and each picture goes to one of them at random. So a batch takes its pictures
    from about `buffer` that follow each other, and no more are in memory; from HDFS also one row
    group. A batch of one picture is full at once: then only row groups are shuffled.

    `shard` = (rank, workers): a worker gets the pictures whose index leaves `rank` divided by
    `workers`. Every worker passes over the same batches of at most `batch` pictures, and of each
    gets its own share, which may be empty: so the workers keep step, and together make the batches
    of one. petastorm's own shards are whole row groups, of which a small lake has fewer than
    workers, and unequal ones.

    Raises PlatelakeError where the pass gave another number of rows, or not every wanted picture
    just once; the last batch comes only after that check.
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
                deque(found, maxlen=0)  # At its end it raises if the pass is not whole.
            yield one.share()


class _Batch:
    """A batch that is being filled; of its pictures only a worker's own are kept."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._tensors = np.empty(0, np.uint8)
        self._indices: list[int] = []

    def add(self, at: int, tensor: Tensors, own: bool) -> None:
        """Take a place, and copy the picture if it is the worker's own."""
        if not self._tensors.size:
            self._tensors = _empty(self.places, *tensor.shape)
        if own:
            self._tensors[len(self._indices)] = tensor
            self._indices.append(at)
        self.places -= 1

    def share(self) -> Batch:
        """The worker's own pictures."""
        return self._tensors[: len(self._indices)], np.array(self._indices, np.intp)


def load(
    frame: PictureFrame, indices: Indices, shard: tuple[int, int] = ALONE
) -> tuple[Tensors, Indices]:
    """This worker's share of the frame's pictures at `indices`, whole in memory.

    Returns tensors, shape (n, height, width, 3), and their positions in `indices`, rising.
    """
    rank, workers = shard
    own = np.arange(rank, len(indices), workers)
    tensors = _empty(len(own), frame.height, frame.width, 3)
    wanted = [frame.items[at] for at in indices]
    for part, at in pictures(frame.files, wanted, 256, shard=shard, rows=frame.rows):
        tensors[at // workers] = part
    return tensors, own


@functools.lru_cache(maxsize=1)
def _whole(files: tuple[str, ...], items: tuple[str, ...], rows: int, side: tuple[int, int]) -> Any:
    """All tensors of a frame, kept for the next round of its study: they are read once."""
    tensors = _empty(len(items), *side, 3)
    for part, at in pictures(files, items, 256, rows=rows):
        tensors[at] = part
    tensors.flags.writeable = False
    return tensors


class Source:
    """Pictures at `indices` of a frame, in batches: from memory where they fit, else streamed.

    A process alone reads the whole frame, once for all its sources; one of several its own share.
    `seconds` is how long the batches made wait; a batch's positions point into `indices`.
    """

    def __init__(
        self, frame: PictureFrame, indices: Indices, memory_bytes: int, shard: tuple[int, int]
    ) -> None:
        self.frame, self.indices, self.shard = frame, indices, shard
        self.labels = frame.labels[indices]
        self.seconds = 0.0
        start = time.monotonic()
        self.memory, self.place = self._held(memory_bytes)
        self.first_seconds = time.monotonic() - start

    def _held(self, memory_bytes: int) -> tuple[Tensors | None, Indices]:
        """Tensors, and for each of `indices` its row there, where that many bytes suffice."""
        frame, workers = self.frame, self.shard[1]
        size = frame.height * frame.width * 3
        if workers == 1 and size * len(frame.items) <= memory_bytes:
            side = (frame.height, frame.width)
            return _whole(frame.files, frame.items, frame.rows, side), self.indices
        rows = np.arange(len(self.indices)) // workers
        if size * len(self.indices) // workers <= memory_bytes:
            return load(frame, self.indices, self.shard)[0], rows
        return None, rows

    def batches(self, batch: int, seed: int | None) -> Iterator[tuple[Tensors, Indices]]:
        """This shard's share of every batch of all pictures; shuffled where there is a seed."""
        found = self._stored(batch, seed) if self.memory is not None else self._read(batch, seed)
        while True:
            start = time.monotonic()
            one = next(found, None)
            self.seconds += time.monotonic() - start
            if one is None:
                return
            yield one

    def _stored(self, batch: int, seed: int | None) -> Iterator[tuple[Tensors, Indices]]:
        assert self.memory is not None
        rank, workers = self.shard
        count = len(self.indices)
        order = np.arange(count)
        if seed is not None:
            order = np.random.default_rng(seed).permutation(count)
        for start in range(0, count, batch):
            part = order[start : start + batch]
            own = part[part % workers == rank]
            yield self.memory[self.place[own]], own

    def _read(self, batch: int, seed: int | None) -> Iterator[tuple[Tensors, Indices]]:
        wanted = [self.frame.items[at] for at in self.indices]
        files, rows = self.frame.files, self.frame.rows
        yield from pictures(files, wanted, batch, seed=seed, shard=self.shard, rows=rows)


def _wanted(
    files: Sequence[str], wanted: Sequence[str], seed: int | None, rows: int | None
) -> Iterator[tuple[int, Tensors]]:
    """Index and tensor of every wanted picture, in the order of reading; no tensor is copied."""
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
            f"petastorm gave {read} rows of table pictures, its Delta log has {rows}: a pass that "
            "is not whole trains nothing; run the command again, and report it if it stays"
        )
    if (times != 1).any():
        raise PlatelakeError(
            f"table pictures gave {int((times == 0).sum())} of {len(wanted)} wanted pictures not "
            f"at all and {int((times > 1).sum())} more than once; make a new split by "
            "`platelake train`"
        )


def _empty(*shape: int) -> Tensors:
    """Arrow's memory, not yet filled.

    It starts at a multiple of 64 bytes, so copies into it are faster. Arrow reuses it when it is
    freed. NumPy would return it to the system, and the next array would cost more to get than to
    fill.
    """
    return np.frombuffer(pa.allocate_buffer(math.prod(shape)), np.uint8).reshape(shape)


def _views(values: pa.BinaryArray) -> Iterator[Tensors]:
    """The bytes of each value, where Arrow has them: its own scalars are copies."""
    _, bounds, content = values.cast(pa.binary()).buffers()
    ends = np.frombuffer(bounds, np.int32)[values.offset :][: len(values) + 1].tolist()
    pixels = np.frombuffer(content, np.uint8)
    return (pixels[start:end] for start, end in itertools.pairwise(ends))


# -- petastorm ---------------------------------------------------------------------------------


def _record_batches(files: Sequence[str], seed: int | None) -> Iterator[pa.RecordBatch]:
    """The files' rows, some at a time."""
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
            f"table pictures: a live file is gone ({error}): vacuum has removed what that version "
            "needs; take a later version by `platelake train`"
        ) from None


class LiveFiles:
    """Shows petastorm the given files, and nothing else, under short names.

    petastorm reads `#`, `%` and `=` in a path as it likes; the names here have none of them.
    """

    def __init__(self, open_file: Callable[[str], Any], files: Sequence[str]) -> None:
        self._open = open_file
        self.files = {f"/{at:09d}.parquet": file for at, file in enumerate(files)}

    def open(self, path: str) -> Any:
        """The file of that short name, opened."""
        return self._open(self.files[path])


def _live_files(files: tuple[str, ...]) -> LiveFiles:
    first = urlsplit(files[0])
    if first.scheme != "hdfs":
        # Mapped: Arrow then reads without a copy. Delta never changes a file that it has written.
        return LiveFiles(pa.memory_map, [file.removeprefix("file://") for file in files])
    try:
        from hdfs_native.fsspec import HdfsFileSystem
    except ImportError:
        raise PlatelakeError(
            f"pictures lie on {first.scheme}://{first.netloc}, which needs the package "
            "hdfs-native; install it by `pip install hdfs-native`"
        ) from None
    return LiveFiles(HdfsFileSystem(first.hostname, first.port).open, files)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without petastorm's notes that the files were not written by petastorm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        logging.getLogger("petastorm").setLevel(logging.ERROR)
        yield
