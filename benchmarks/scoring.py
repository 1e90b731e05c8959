"""Verdicts of champions on lots and on pictures, and a plain script of ONNX Runtime.

A lake with a model of either kind is made as a plant would. Each side gets a fresh copy of it.
"""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import compare
import inputs
import numpy as np
from case import STAGE, Case, Suite, copy_lake, do, platelake, script

LOTS = 72_500
DAYS = 100
READINGS = 69
"""Readings of a lot."""
SIDE = 224
LEARNED = 32
"""Pictures that the model learns from; it is about time and not about how good it is."""
AT_ONCE = 500
"""Pictures made at once."""
KEYS = {"lots": ["day", "lot"], "photos": ["pixel_sha256"]}
TABLES = {"lots": "lot_verdicts", "photos": "photo_verdicts"}
TRAINED = {
    "lots": ["trees", "--kind", "lightgbm"],
    "photos": ["cnn", "--network", "timm:tf_efficientnet_lite0"],
}


def cases(suite: Suite) -> Iterator[Case]:
    """Lots, then pictures."""
    for kind, count, what in (("lots", LOTS, "lots"), ("photos", suite.given.pictures, "pictures")):
        lake = suite.folder / "scoring" / kind
        yield Case(
            f"verdicts on {count:,} {what}",
            {"lake": partial(_score, kind), "plain": partial(_plain, kind, model_of(lake, kind))},
            prepare=partial(prepare, lake, kind, count),
            before=partial(copy_lake, lake),
            check=partial(compare.verdicts, table=TABLES[kind], keys=KEYS[kind]),
            work=count,
            unit=what,
        )


def _score(kind: str, folder: Path) -> list[str]:
    return platelake(folder, f"score-{kind}")


def _plain(kind: str, model: Path, folder: Path) -> list[str]:
    return script("peer_scoring", kind, folder / STAGE, model, folder / TABLES[kind])


def make_lots(lake: Path, lots: int) -> None:
    """Labelled lots with features, by the main job."""
    landing = lake.with_name("landing")
    of_day = lots // DAYS
    inputs.make_readings(landing, DAYS, of_day * READINGS, lots=of_day)
    do(platelake(lake, "run", "--landing", str(landing)))


def make_pictures(lake: Path, first: int, last: int) -> None:
    """Pictures by number, of noise; every second one is labelled bad and has a dark spot."""
    from jobs.options import Options
    from jobs.runner import begin
    from lakehouse.tables.picture_names import PICTURE_NAMES
    from lakehouse.tables.pictures import PICTURES

    rows, names = [], []
    for number in range(first, last):
        rng = np.random.default_rng(number)
        tensor = rng.integers(90, 170, (SIDE, SIDE, 3), np.uint8)
        if number % 2:
            x, y = rng.integers(0, SIDE - 32, 2)
            tensor[y : y + 32, x : x + 32] //= 4
        key = rng.bytes(32).hex()
        sizes = (SIDE, SIDE, SIDE, SIDE)
        rows.append(PICTURES.row(key, rng.bytes(8).hex(), *sizes, tensor.tobytes()))
        day = inputs.FIRST_DAY + timedelta(number % DAYS)
        about = ("bad" if number % 2 else "good", f"{number}.png", f"{number}.png", key)
        names.append(PICTURE_NAMES.row(key, *about, None, None, day))
    tables = begin(Options(STAGE, lake=str(lake))).lake
    tables.insert_rows(PICTURES, rows)
    tables.insert_rows(PICTURE_NAMES, names)


def make_model(lake: Path, kind: str) -> None:
    """Train a model of that kind, make it the champion, and keep its file beside the lake."""
    from jobs.options import Options
    from jobs.runner import begin
    from jobs.train import open_registry

    do(platelake(lake, "train", *TRAINED[kind], "--folds", "2"))
    name = f"{STAGE}-{kind}"
    do(platelake(lake, "promote", name))
    registry = open_registry(begin(Options(STAGE, lake=str(lake))))
    model_of(lake, kind).write_bytes(registry.content(registry.need(name)))


def model_of(lake: Path, kind: str) -> Path:
    """Where the plain script finds the model."""
    return lake.with_name(f"{lake.name}-{kind}.onnx")


def prepare(lake: Path, kind: str, count: int) -> None:
    """Fill the lake with so many lots or pictures, and train a model; once."""
    if model_of(lake, kind).exists():
        return
    if kind == "lots":
        make_lots(lake, count)
        make_model(lake, kind)
        return
    make_pictures(lake, 0, LEARNED)
    make_model(lake, kind)
    for first in range(LEARNED, count, AT_ONCE):
        make_pictures(lake, first, min(first + AT_ONCE, count))
