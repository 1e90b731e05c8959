"""Pictures of a frame in batches: from memory if they fit, else from the lake's files."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from ml.data.loader import ALONE, Indices, Tensors, empty, pictures
from ml.data.pictures import PictureFrame


def load(
    frame: PictureFrame, indices: Indices, shard: tuple[int, int] = ALONE
) -> tuple[Tensors, Indices]:
    """Read this worker's share of a frame's pictures into memory.

    Args:
        frame: the pictures.
        indices: which of them, shape (m,).
        shard: (rank, workers). A worker gets every `workers`-th of `indices`, from `rank` on.

    Returns:
        Tensors, uint8, shape (n, height, width, 3), and their positions in `indices`, ascending,
        shape (n,).

    Raises:
        PlatelakeError: as `pictures` does.
    """
    rank, workers = shard
    own = np.arange(rank, len(indices), workers)
    tensors = empty(len(own), frame.height, frame.width, 3)
    wanted = [frame.items[at] for at in indices]
    for part, at in pictures(frame.files, wanted, 256, shard=shard, rows=frame.rows):
        tensors[at // workers] = part
    return tensors, own


@functools.lru_cache(maxsize=1)
def _whole(files: tuple[str, ...], items: tuple[str, ...], rows: int, side: tuple[int, int]) -> Any:
    """Read all tensors of a frame once, and keep them for the next round of the study."""
    tensors = empty(len(items), *side, 3)
    for part, at in pictures(files, items, 256, rows=rows):
        tensors[at] = part
    tensors.flags.writeable = False
    return tensors


class Source:
    """Pictures at `indices` of a frame, in batches: from memory if they fit, else from the files.

    A single process reads the whole frame once for all its sources. One of several processes reads
    its own share. `seconds` is the time spent waiting for batches, `first_seconds` the time of the
    first read into memory. The positions of a batch point into `indices`.
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
        """Return tensors if they fit into so many bytes, and the row of each of `indices`."""
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
        """Yield this shard's share of every batch of all pictures, shuffled if there is a seed.

        Args:
            batch: pictures in a batch, over all shards.
            seed: of the shuffle. None: the order of `indices` or, from files, of the files.

        Yields:
            Tensors, uint8, shape (n, height, width, 3), and their positions, shape (n,).

        Raises:
            PlatelakeError: as `pictures` does.
        """
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
