"""A lake with small pictures, written without Spark. It imports no torch: light tests use it."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from lakehouse.delta.lake import Lake

SIDE = 32
DAY = date(2021, 9, 6)


def no_spark() -> NoReturn:
    raise AssertionError("models are trained without Spark")


def tensor(seed: int, bad: bool, side: int = SIDE) -> np.ndarray:
    """A grey texture; a bad one has a dark spot somewhere."""
    draw = np.random.default_rng(seed)
    pixels = draw.normal(130, 12, (side, side, 1)).repeat(3, 2)
    if bad:
        x, y = draw.integers(0, side - 8, 2)
        pixels[y : y + 8, x : x + 8] -= 90
    return pixels.clip(0, 255).astype(np.uint8)


def photo_lake(
    folder: Path,
    count: int = 24,
    files: int = 3,
    hashes: Sequence[str] = (),
    labels: Sequence[str] = (),
    sides: Sequence[int] = (),
) -> Lake:
    """Pictures `p000`, `p001`, …; every second one is bad; named `p000.png`; in so many files."""
    lake = Lake(str(folder), "chromate", no_spark)
    draw = np.random.default_rng(7)
    rows, names = [], []
    for at in range(count):
        label = labels[at] if labels else ("good", "bad")[at % 2]
        side = sides[at] if sides else SIDE
        about = {"pixel_sha256": f"p{at:03d}"}
        phash = hashes[at] if hashes else draw.bytes(8).hex()
        size = dict.fromkeys(("width", "height", "tensor_width", "tensor_height"), side)
        content = tensor(at, label == "bad", side).tobytes()
        rows.append({**about, "phash": phash, **size, "tensor": content})
        day = DAY + timedelta(days=at)
        names.append({**about, "label": label, "name": f"p{at:03d}.png", "day": day})
    kinds = pa.schema(
        [("pixel_sha256", pa.string()), ("phash", pa.string())]
        + [(name, pa.int32()) for name in ("width", "height", "tensor_width", "tensor_height")]
        + [("tensor", pa.binary())]
    )
    for part in range(files):
        table = pa.Table.from_pylist(rows[part::files], kinds)
        write_deltalake(f"{lake.folder}/pictures", table, mode="append")
    write_deltalake(f"{lake.folder}/picture_names", pa.Table.from_pylist(names))
    return lake
