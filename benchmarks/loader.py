"""An epoch of pictures, lake to tensors: the loader, and what feeds a network elsewhere.

    python benchmarks/loader.py SIDE LAKE FOLDER

Makes one side's passes over the lake's tensors of 224 x 224, in shuffled batches of 32, from files
that the system has in memory, and prints the seconds of one. The sum of all bytes, which is the
same for all sides, goes to FOLDER/total.json.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from case import STAGE, Case, Suite, script
from numpy.typing import NDArray

COUNT, SIDE, BATCH = 2_000, 224, 32
SHAPE = (SIDE, SIDE, 3)
PASSES = 3
"""Passes of one process, behind a first that looks at all bytes."""

Tensors = NDArray[np.uint8]
Epoch = Callable[[int], Iterator[Any]]
"""One pass, shuffled by a seed: batches of tensors."""

SIDES = {
    "streamed": {"lake": "streamed", "pyarrow, one thread": "pyarrow"},
    "in memory": {"lake": "held", "mapped array": "mapped"},
}


def cases(suite: Suite) -> Iterator[Case]:
    """Streamed, and in memory."""
    lake = suite.folder / "tensors"
    for how, sides in SIDES.items():
        yield Case(
            f"an epoch of {COUNT:,} tensors, {how}",
            {side: partial(_command, name, lake) for side, name in sides.items()},
            prepare=partial(make_lake, lake),
            check=same_totals,
            work=COUNT,
            unit="pictures",
            tells=True,
        )


def _command(name: str, lake: Path, folder: Path) -> list[str]:
    return script("loader", name, lake, folder)


def same_totals(folders: dict[str, Path]) -> None:
    """Raise AssertionError if the sides gave other tensors."""
    totals = {side: (folder / "total.json").read_text() for side, folder in folders.items()}
    assert len(set(totals.values())) == 1 and json.loads(totals["lake"])[0] == COUNT, totals


def make_lake(folder: Path) -> None:
    """A lake with such pictures, if it is not there."""
    from lakehouse.tables.pictures import PICTURES

    if folder.exists():
        return
    draw = np.random.default_rng(7)
    sizes = ("width", "height", "tensor_width", "tensor_height")
    columns: dict[str, Any] = {name: pa.array([SIDE] * COUNT, pa.int32()) for name in sizes}
    tensors = [draw.bytes(SIDE * SIDE * 3) for _ in range(COUNT)]
    columns |= {"pixel_sha256": _items(), "phash": ["0" * 16] * COUNT, "tensor": tensors}
    _lake(folder).insert(PICTURES, pa.table(columns).select(PICTURES.names))


def _items() -> tuple[str, ...]:
    return tuple(f"{at:064x}" for at in range(COUNT))


def _lake(folder: Path) -> Any:
    from lakehouse.delta.lake import Lake

    return Lake(str(folder), STAGE, _no_spark)


def _no_spark() -> NoReturn:
    raise AssertionError("the table is read and written without Spark")


def lake_side(folder: Path, memory_bytes: int) -> Epoch:
    """The product: its pictures in memory if so many bytes suffice, else streamed."""
    from lakehouse.tables.pictures import PICTURES
    from ml.data.loader import ALONE
    from ml.data.pictures import PictureFrame
    from ml.data.source import Source

    frame = PictureFrame(
        versions={},
        items=_items(),
        labels=np.zeros(COUNT, np.int64),
        groups=_items(),
        days=(date(2021, 9, 6),) * COUNT,
        files=tuple(_lake(folder).live_files(PICTURES)),
        rows=COUNT,
        height=SIDE,
        width=SIDE,
    )
    source = Source(frame, np.arange(COUNT), memory_bytes, ALONE)
    assert (source.memory is None) == (memory_bytes == 0)
    return lambda seed: (tensors for tensors, _ in source.batches(BATCH, seed))


def pyarrow_side(files: list[str]) -> Epoch:
    """Pyarrow alone: row groups in shuffled order, then drawn from a buffer as large as ours."""
    from ml.data.loader import BUFFER

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


def _row_group_tensors(files: list[str], draw: np.random.Generator) -> Iterator[Tensors]:
    opened = [pq.ParquetFile(file, memory_map=True) for file in files]
    groups = [(file, at) for file in opened for at in range(file.num_row_groups)]
    for place in draw.permutation(len(groups)):
        file, group = groups[place]
        for rows in file.iter_batches(BATCH, row_groups=[group], columns=["tensor"]):
            content = np.frombuffer(rows["tensor"].buffers()[2], np.uint8)
            yield content.reshape(-1, *SHAPE)


def mapped_side(files: list[str], file: Path) -> Epoch:
    """An array of all tensors on disk, mapped into memory, in shuffled order."""
    np.save(file, np.concatenate(list(_row_group_tensors(files, np.random.default_rng(0)))))
    mapped = np.load(file, mmap_mode="r")

    def epoch(seed: int) -> Iterator[Tensors]:
        order = np.random.default_rng(seed).permutation(COUNT)
        for start in range(0, COUNT, BATCH):
            yield mapped[order[start : start + BATCH]]

    return epoch


def total(batches: Iterator[Any]) -> tuple[int, int]:
    """How many tensors, and the sum of all their bytes."""
    count = content = 0
    for batch in batches:
        tensors = np.asarray(batch)
        count += len(tensors)
        content += int(tensors.sum(dtype=np.uint64))
    return count, content


def main(side: str, lake: Path, folder: Path) -> None:
    """The passes of one side."""
    from lakehouse.tables.pictures import PICTURES

    folder.mkdir()
    files = _lake(lake).live_files(PICTURES)
    make: dict[str, Callable[[], Epoch]] = {
        "streamed": lambda: lake_side(lake, 0),
        "held": lambda: lake_side(lake, 2 << 30),
        "pyarrow": lambda: pyarrow_side(files),
        "mapped": lambda: mapped_side(files, folder / "tensors.npy"),
    }
    epoch = make[side]()
    (folder / "total.json").write_text(json.dumps(total(epoch(0))))
    cpu, start = sum(os.times()[:4]), time.monotonic()
    for seed in range(1, PASSES + 1):
        for _ in epoch(seed):
            pass
    wall, cpu = time.monotonic() - start, sum(os.times()[:4]) - cpu
    print(json.dumps({"wall": wall / PASSES, "cpu": cpu / PASSES}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
