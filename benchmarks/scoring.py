"""Verdicts of champions on lots and on pictures, beside a plain script of ONNX Runtime.

    .venv/bin/python benchmarks/scoring.py [--lots 72500] [--pictures 2000] [--only photos]

Makes a lake with a model of either kind, as a plant would. The verdicts of the sides are compared
first. Then the sides take turns, each in a fresh copy of the lake.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import bench
import inputs
import numpy as np
import pyarrow.parquet as pq
from deltalake import DeltaTable

sys.path.insert(0, str(bench.ROOT))

from jobs.runner import Options, begin
from jobs.train import open_registry
from lakehouse.delta.lake import Lake
from lakehouse.tables.picture_names import PICTURE_NAMES
from lakehouse.tables.pictures import PICTURES

STAGE = "chromate"
DAYS = 100
READINGS = 69
"""Readings of a lot."""
SIDE = 224
LEARNED = 32
"""Pictures that the model learns from; it is about time and not about how good it is."""
AT_ONCE = 500
"""Pictures made at once."""
KEYS = {"lots": ["day", "lot"], "photos": ["pixel_sha256"]}
TRAINED = {
    "lots": ["trees", "--kind", "lightgbm"],
    "photos": ["cnn", "--network", "timm:tf_efficientnet_lite0"],
}


def platelake(lake: Path, *command: str) -> list[str]:
    """A command on that lake."""
    return [bench.PLATELAKE, *command, "--stage", STAGE, "--lake", str(lake)]


def do(command: list[str]) -> None:
    """Run a command of the preparation. Raises CalledProcessError if it fails."""
    env = {**os.environ, "PYTHONPATH": str(bench.ROOT)}
    subprocess.run(command, check=True, stdout=sys.stderr, env=env)


def make_lots(lake: Path, lots: int) -> None:
    """Labelled lots with features, by the main job."""
    landing = lake.with_name("landing")
    of_day = lots // DAYS
    inputs.make_readings(landing, DAYS, of_day * READINGS, lots=of_day)
    do(platelake(lake, "run", "--landing", str(landing)))


def make_pictures(lake: Lake, first: int, last: int) -> None:
    """Pictures by number, of noise; every second one is labelled bad and has a dark spot."""
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
    lake.insert_rows(PICTURES, rows)
    lake.insert_rows(PICTURE_NAMES, names)


def make_model(lake: Path, kind: str) -> None:
    """Train a model of that kind, make it the champion, and keep its file beside the lake."""
    do(platelake(lake, "train", *TRAINED[kind], "--folds", "2"))
    name = f"{STAGE}-{kind}"
    do(platelake(lake, "promote", name))
    registry = open_registry(begin(Options(STAGE, lake=str(lake))))
    model_of(lake, kind).write_bytes(registry.content(registry.need(name)))


def model_of(lake: Path, kind: str) -> Path:
    """Where the plain script finds the model."""
    return lake.with_name(f"{kind}.onnx")


def prepare(lake: Path, kind: str, count: int) -> None:
    """Fill the lake with so many lots or pictures, and train a model."""
    if kind == "lots":
        make_lots(lake, count)
        make_model(lake, kind)
        return
    tables = begin(Options(STAGE, lake=str(lake))).lake
    make_pictures(tables, 0, LEARNED)
    make_model(lake, kind)
    for first in range(LEARNED, count, AT_ONCE):
        make_pictures(tables, first, min(first + AT_ONCE, count))


def case(lake: Path, kind: str, count: int) -> bench.Case:
    """The sides, each with a copy of the lake, whose large files are links."""

    def copy_file(source: str, target: str) -> None:
        (os.link if source.endswith(".parquet") else shutil.copy2)(source, target)

    def copy(target: Path) -> None:
        shutil.copytree(lake, target, copy_function=copy_file)

    def plain(folder: Path) -> list[str]:
        script, model = bench.HERE / "peer_scoring.py", model_of(lake, kind)
        return [bench.PYTHON, str(script), kind, str(folder / STAGE), str(model), str(folder)]

    return bench.Case(
        f"verdicts on {count:,} {'lots' if kind == 'lots' else 'pictures'}",
        {"lake": lambda folder: platelake(folder, f"score-{kind}"), "plain": plain},
        before=copy,
        check=same_verdicts(kind),
    )


def same_verdicts(kind: str) -> Callable[[dict[str, Path]], None]:
    """A check that raises AssertionError where verdicts of the sides differ."""

    def check(folders: dict[str, Path]) -> None:
        table = folders["lake"] / STAGE / f"{kind.removesuffix('s')}_verdicts"
        order = [(name, "ascending") for name in KEYS[kind]]
        ours = DeltaTable(str(table)).to_pyarrow_table().sort_by(order)
        theirs = pq.read_table(f"{folders['plain']}.parquet").sort_by(order)
        for name in [*KEYS[kind], "verdict"]:
            assert ours[name].to_pylist() == theirs[name].to_pylist(), name
        p, q = ours["probability"].to_numpy(), theirs["probability"].to_numpy()
        assert np.abs(p - q).max() <= 1e-6, f"probabilities differ by {np.abs(p - q).max()}"

    return check


def main(argv: list[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lots", type=int, default=72_500)
    parser.add_argument("--pictures", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", choices=["", *KEYS], help="one kind alone")
    given = parser.parse_args(argv)
    results: bench.Results = {}
    with tempfile.TemporaryDirectory() as name:
        for kind, count in {"lots": given.lots, "photos": given.pictures}.items():
            if given.only in ("", kind):
                lake = Path(name) / kind / "lake"
                prepare(lake, kind, count)
                one = case(lake, kind, count)
                bench.run(one, given.rounds, Path(name) / "out")
                results[one.name] = {s: [asdict(x) for x in f] for s, f in one.found.items()}
    print(bench.table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
