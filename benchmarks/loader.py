"""An epoch of pictures, lake to tensors: the loader beside what feeds a network elsewhere.

    .venv/bin/python benchmarks/loader.py [--rounds 9]

The sides give the same 2,000 tensors of 224 x 224, in shuffled batches of 32. First the sums of
all bytes are compared. Then the sides take turns, in one process, from files that the system has
in memory. The lake's table and all shuffles are drawn with fixed seeds.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from lakehouse.delta.lake import Lake
from lakehouse.tables.pictures import PICTURES
from ml.data.loader import ALONE, BUFFER, Source
from ml.data.pictures import PictureFrame

COUNT, SIDE, BATCH = 2_000, 224, 32
SHAPE = (SIDE, SIDE, 3)

Tensors = NDArray[np.uint8]
Epoch = Callable[[int], Iterator[Any]]
"""One pass, shuffled by a seed: batches of tensors."""


def make_lake(folder: Path) -> PictureFrame:
    """A lake with such pictures, all of them wanted."""
    lake = Lake(str(folder), "chromate", _no_spark)
    draw = np.random.default_rng(7)
    items = tuple(f"{at:064x}" for at in range(COUNT))
    sizes = ("width", "height", "tensor_width", "tensor_height")
    columns: dict[str, Any] = {name: pa.array([SIDE] * COUNT, pa.int32()) for name in sizes}
    tensors = [draw.bytes(SIDE * SIDE * 3) for _ in items]
    columns |= {"pixel_sha256": items, "phash": ["0" * 16] * COUNT, "tensor": tensors}
    lake.insert(PICTURES, pa.table(columns).select(PICTURES.names))
    return PictureFrame(
        versions={},
        items=items,
        labels=np.zeros(COUNT, np.int64),
        groups=items,
        days=(date(2021, 9, 6),) * COUNT,
        files=tuple(lake.live_files(PICTURES)),
        rows=COUNT,
        height=SIDE,
        width=SIDE,
    )


def _no_spark() -> NoReturn:
    raise AssertionError("the table is written without Spark")


def lake_side(frame: PictureFrame, memory_bytes: int) -> Epoch:
    """The product: its pictures in memory if so many bytes suffice, else streamed."""
    source = Source(frame, np.arange(COUNT), memory_bytes, ALONE)
    assert (source.memory is None) == (memory_bytes == 0)
    return lambda seed: (tensors for tensors, _ in source.batches(BATCH, seed))


def pyarrow_side(files: tuple[str, ...]) -> Epoch:
    """Pyarrow alone: row groups in shuffled order, then drawn from a buffer as large as ours."""
    room = np.empty((BUFFER, *SHAPE), np.uint8)

    def epoch(seed: int) -> Iterator[Tensors]:
        draw = np.random.default_rng(seed)
        held = 0
        for tensors in _row_group_tensors(files, draw):
            fits = tensors[: BUFFER - held]
            room[held : held + len(fits)] = fits
            held += len(fits)
            if len(rest := tensors[len(fits) :]):
                places = draw.choice(BUFFER, len(rest), replace=False)
                yield room[places]
                room[places] = rest
        order = draw.permutation(held)
        for start in range(0, held, BATCH):
            yield room[order[start : start + BATCH]]

    return epoch


def _row_group_tensors(files: tuple[str, ...], draw: np.random.Generator) -> Iterator[Tensors]:
    opened = [pq.ParquetFile(file, memory_map=True) for file in files]
    groups = [(file, at) for file in opened for at in range(file.num_row_groups)]
    for place in draw.permutation(len(groups)):
        file, group = groups[place]
        for rows in file.iter_batches(BATCH, row_groups=[group], columns=["tensor"]):
            content = np.frombuffer(rows["tensor"].buffers()[2], np.uint8)
            yield content.reshape(-1, *SHAPE)


def mapped_side(frame: PictureFrame, file: Path) -> Epoch:
    """An array of all tensors on disk, mapped into memory, in shuffled order."""
    whole = np.concatenate(list(_row_group_tensors(frame.files, np.random.default_rng(0))))
    np.save(file, whole)
    mapped = np.load(file, mmap_mode="r")

    def epoch(seed: int) -> Iterator[Tensors]:
        order = np.random.default_rng(seed).permutation(COUNT)
        for start in range(0, COUNT, BATCH):
            yield mapped[order[start : start + BATCH]]

    return epoch


class ParquetFiles(IterableDataset[torch.Tensor]):
    """Files of tensors, dealt out to the workers of a DataLoader; each as `pyarrow_side`."""

    def __init__(self, files: tuple[str, ...], seed: int) -> None:
        self.files, self.seed = files, seed

    def __iter__(self) -> Iterator[torch.Tensor]:
        """This worker's batches."""
        worker = get_worker_info()
        assert worker is not None
        own = self.files[worker.id :: worker.num_workers]
        return map(torch.from_numpy, pyarrow_side(own)(self.seed))


def torch_side(files: tuple[str, ...]) -> Epoch:
    """Torch's DataLoader with two processes."""
    return lambda seed: iter(DataLoader(ParquetFiles(files, seed), batch_size=None, num_workers=2))


def total(batches: Iterator[Any]) -> tuple[int, int]:
    """How many tensors, and the sum of all their bytes."""
    count = content = 0
    for batch in batches:
        tensors = np.asarray(batch)
        count += len(tensors)
        content += int(tensors.sum(dtype=np.uint64))
    return count, content


def timed(batches: Iterator[Any]) -> tuple[float, float]:
    """Seconds on the clock and of processors, those of ended children too, of one pass."""
    cpu, start = sum(os.times()[:4]), time.monotonic()
    for _ in batches:
        pass
    return time.monotonic() - start, sum(os.times()[:4]) - cpu


def table(found: dict[str, list[tuple[float, float]]]) -> str:
    """The figures, a row for each side."""
    lines = [
        "| side | pictures a second | least to most | processors' seconds |",
        "| --- | --- | --- | --- |",
    ]
    for side, rounds in found.items():
        paces = [COUNT / wall for wall, _ in rounds]
        cpu = statistics.median(cpu for _, cpu in rounds)
        lines.append(
            f"| {side} | {statistics.median(paces):,.0f} | {min(paces):,.0f} to "
            f"{max(paces):,.0f} | {cpu:.2f} |"
        )
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Make the lake, compare what the sides give, then time them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        frame = make_lake(Path(name) / "lake")
        sides = {
            "lake, streamed": lake_side(frame, 0),
            "lake, in memory": lake_side(frame, 2 << 30),
            "pyarrow, one thread": pyarrow_side(frame.files),
            "mapped array": mapped_side(frame, Path(name) / "tensors.npy"),
            "torch DataLoader, 2 workers": torch_side(frame.files),
        }
        totals = {side: total(epoch(0)) for side, epoch in sides.items()}
        assert len(set(totals.values())) == 1 and totals["lake, streamed"][0] == COUNT, totals
        found: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
        turns = random.Random(7)  # noqa: S311 - No secret is made of it.
        for seed in range(1, given.rounds + 1):
            for side in turns.sample(list(sides), len(sides)):
                found[side].append(timed(sides[side](seed)))
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
