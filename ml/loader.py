"""Tensors of pictures from the lake's live files, through petastorm; nothing else imports it.

petastorm can lose rows in silence, so every finite pass is counted against the Delta log. Its
"dummy" pool reads in this thread, which makes the order repeatable; `seed` shuffles row groups
there and rows here, through a buffer of bounded size.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from lakehouse.errors import PlatelakeError

if TYPE_CHECKING:
    from ml.pictures import PictureFrame

Tensors = NDArray[np.uint8]
Indices = NDArray[np.intp]
Batch = tuple[Tensors, Indices]
ALONE = (0, 1)
BUFFER = 1_024
"""Pictures that wait to be shuffled: 150 MiB of tensors at 224 x 224."""
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
    all. `wanted` are `pixel_sha256`; indices point into it. With `seed` the order is shuffled
    within `buffer` pictures, else it is that of the files.

    `shard` = (rank, workers): a worker gets the pictures whose index leaves `rank` divided by
    `workers`. Every worker passes over the same batches of at most `batch` pictures, and of each
    gets its own share, which may be empty: so the workers keep step, and together make the batches
    of one. petastorm's own shards are whole row groups, of which a small lake has fewer than
    workers, and unequal ones.

    Raises PlatelakeError where the pass gave another number of rows, or not every wanted picture
    just once; the last batch comes only after that check.
    """
    index = {item: at for at, item in enumerate(wanted)}
    found = _wanted(files, index, shard, seed, rows)
    if seed is not None:
        found = _shuffled(found, np.random.default_rng(seed), buffer)
    waiting: list[tuple[int, Tensors | None]] = []
    shape: tuple[int, ...] = (0, 0, 3)
    for at, tensor in found:
        if len(waiting) == batch:
            yield _stacked(waiting, shape)
            waiting = []
        waiting.append((at, tensor))
        shape = shape if tensor is None else tensor.shape
    if waiting:
        yield _stacked(waiting, shape)


def load(
    frame: PictureFrame, indices: Indices, shard: tuple[int, int] = ALONE
) -> tuple[Tensors, Indices]:
    """This worker's share of the frame's pictures at `indices`, whole in memory.

    Returns tensors, shape (n, height, width, 3), and their positions in `indices`, rising.
    """
    rank, workers = shard
    own = np.arange(rank, len(indices), workers)
    tensors = np.empty((len(own), frame.height, frame.width, 3), np.uint8)
    wanted = [frame.items[at] for at in indices]
    for part, at in pictures(frame.files, wanted, 256, shard=shard, rows=frame.rows):
        tensors[at // workers] = part
    return tensors, own


@functools.lru_cache(maxsize=1)
def _whole(files: tuple[str, ...], items: tuple[str, ...], rows: int, side: tuple[int, int]) -> Any:
    """All tensors of a frame, kept for the next round of its study: they are read once."""
    tensors = np.empty((len(items), *side, 3), np.uint8)
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


def _stacked(waiting: list[tuple[int, Tensors | None]], shape: tuple[int, ...]) -> Batch:
    own = [(at, tensor) for at, tensor in waiting if tensor is not None]
    if not own:
        return np.empty((0, *shape), np.uint8), np.empty(0, np.intp)
    return np.stack([tensor for _, tensor in own]), np.array([at for at, _ in own], np.intp)


def _wanted(
    files: Sequence[str],
    index: dict[str, int],
    shard: tuple[int, int],
    seed: int | None,
    rows: int | None,
) -> Iterator[tuple[int, Tensors | None]]:
    """Index of every wanted picture, in the order of reading; the tensor where it is our own."""
    rank, workers = shard
    read = 0
    times = np.zeros(len(index), np.int64)
    for group in _row_groups(files, seed):
        read += len(group.pixel_sha256)
        columns = (group.pixel_sha256, group.tensor_height, group.tensor_width, group.tensor)
        for item, height, width, tensor in zip(*columns, strict=True):
            at = index.get(str(item))
            if at is None:
                continue
            times[at] += 1
            own = at % workers == rank
            yield at, np.frombuffer(tensor, np.uint8).reshape(height, width, 3) if own else None
    if rows is not None and read != rows:
        raise PlatelakeError(
            f"petastorm gave {read} rows of table pictures, its Delta log has {rows}: a pass that "
            "is not whole trains nothing; run the command again, and report it if it stays"
        )
    if (times != 1).any():
        raise PlatelakeError(
            f"table pictures gave {int((times == 0).sum())} of {len(index)} wanted pictures not at "
            f"all and {int((times > 1).sum())} more than once; make the split anew by "
            "`platelake train`"
        )


def _shuffled(
    found: Iterator[tuple[int, Tensors | None]], draw: np.random.Generator, size: int
) -> Iterator[tuple[int, Tensors | None]]:
    """The same, each drawn from a buffer of `size`; the draws depend on no worker's rank."""
    held: list[tuple[int, Tensors | None]] = []
    for one in found:
        held.append(one)
        if len(held) > size:
            at = int(draw.integers(len(held)))
            held[at], held[-1] = held[-1], held[at]
            yield held.pop()
    for at in draw.permutation(len(held)):
        yield held[at]


# -- petastorm ---------------------------------------------------------------------------------


def _row_groups(files: Sequence[str], seed: int | None) -> Iterator[Any]:
    """Row groups of the files, one in memory at a time: a named tuple of columns each."""
    if not files:
        return
    system = _live_files(tuple(files))
    try:
        with _quiet():
            from ml.petastorm_compat import make_batch_reader

            reader = make_batch_reader(
                sorted(system.files),
                schema_fields=list(_COLUMNS),
                reader_pool_type="dummy",
                shuffle_row_groups=seed is not None,
                seed=seed,
                num_epochs=1,
                filesystem=system,
            )
        with reader:
            while True:
                with _quiet():
                    group = next(reader, None)
                if group is None:
                    return
                yield group
    except FileNotFoundError as error:
        raise PlatelakeError(
            f"table pictures: a live file is gone ({error}): vacuum has removed what that version "
            "needs; take a later version by `platelake train`"
        ) from None


class LiveFiles:
    """Shows petastorm the given files, and nothing else, under short names.

    petastorm reads `#`, `%` and `=` in a path as it likes; the names here have none of them.
    """

    def __init__(self, system: Any, files: Sequence[str]) -> None:
        self._system = system
        self.files = {f"/{at:09d}.parquet": file for at, file in enumerate(files)}

    def open(self, path: str, mode: str = "rb") -> Any:
        """The file of that short name, opened."""
        return self._system.open(self.files[path], mode)


def _live_files(files: tuple[str, ...]) -> LiveFiles:
    first = urlsplit(files[0])
    if first.scheme != "hdfs":
        from fsspec.implementations.local import LocalFileSystem

        return LiveFiles(LocalFileSystem(), [f.removeprefix("file://") for f in files])
    try:
        from hdfs_native.fsspec import HdfsFileSystem
    except ImportError:
        raise PlatelakeError(
            f"pictures lie on {first.scheme}://{first.netloc}, which needs the package "
            "hdfs-native; install it by `pip install hdfs-native`"
        ) from None
    return LiveFiles(HdfsFileSystem(first.hostname, first.port), files)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without petastorm's notes that the files were not written by petastorm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        logging.getLogger("petastorm").setLevel(logging.ERROR)
        yield
