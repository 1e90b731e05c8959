"""Test if a model of patches looks at the part: other backgrounds, other light, other colour.

    python benchmarks/photo_light.py --photos FOLDER --work FOLDER [--near 6] [--folds N]

The folder of --photos has `good` and `bad` photos of metal parts on a coloured ground. --work gets
two lakes: photos as they are, and photos whose background is grey. Each group of similar photos is
left out once, or with --folds one of so many parts of the groups; the model of the other photos
gives its probabilities, on photos as they are and altered. It prints a JSON line for each lake:
AUROC, and by how much a shift changes the probability.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from jobs.options import Options
from jobs.runner import begin
from lakehouse.delta.lake import Lake
from lakehouse.files.photos import as_tensor, read_upright
from lakehouse.settings import load_settings
from ml.data.pictures import PERCEPTUAL_NEIGHBOURS, PictureFrame, picture_frame
from ml.figures.metrics import auroc, bootstrap
from ml.photos.patch_model import fit_patches
from ml.photos.recipe import PATCHES, PatchRecipe, recipe_for
from ml.study.context import Protocol

Pixels = NDArray[np.uint8]
GROUND = 60
"""Grey of a background that is masked."""
STAGE = """title = "Parts on a ground"

[photos]
labels = {{ good = "good/*", bad = "bad/*" }}
width = {side}
height = {side}
"""
SIDE = 320


def part_of(pixels: Pixels) -> NDArray[np.bool_]:
    """Find the part: the largest bright area without colour, with its holes filled."""
    values = pixels.astype(np.float32)
    colour = values.max(2) - values.min(2)
    grey = ndimage.gaussian_filter(values.mean(2) - 1.2 * colour, 2)
    areas, count = ndimage.label(ndimage.binary_opening(grey > 45, iterations=4))
    sizes = ndimage.sum_labels(np.ones_like(areas), areas, range(1, count + 1))
    whole = ndimage.binary_closing(areas == 1 + int(np.argmax(sizes)), iterations=8)
    return np.asarray(ndimage.binary_fill_holes(whole), bool)


def masked(pixels: Pixels) -> Pixels:
    """Replace the background by grey."""
    return np.where(part_of(pixels)[..., None], pixels, np.uint8(GROUND))


def without_part(pixels: Pixels) -> Pixels:
    """Replace the part by grey: what is left must decide nothing."""
    return np.where(part_of(pixels)[..., None], np.uint8(GROUND), pixels)


def replaced(pixels: Pixels) -> Pixels:
    """Replace the background by a brown one with a texture."""
    draw = np.random.default_rng(0)
    rough = ndimage.gaussian_filter(draw.normal(0, 60, pixels.shape[:2]), 3)[..., None]
    ground = (np.array([120, 95, 70]) + rough).clip(0, 255).astype(np.uint8)
    return np.where(part_of(pixels)[..., None], pixels, ground)


def times(*gain: float) -> Callable[[Pixels], Pixels]:
    """Return a shift of brightness, or of colour: a gain for all channels or for each."""
    return lambda pixels: (pixels * np.array(gain)).clip(0, 255).astype(np.uint8)


SHIFTS: Mapping[str, Callable[[Pixels], Pixels]] = {
    "darker by 15 %": times(0.85),
    "brighter by 15 %": times(1.15),
    "warmer": times(1.08, 1.0, 0.92),
    "colder": times(0.92, 1.0, 1.08),
    "greener": times(0.95, 1.05, 0.95),
}
GROUNDS: Mapping[str, Callable[[Pixels], Pixels]] = {
    "background masked": masked,
    "background replaced": replaced,
    "part masked": without_part,
}


def main(argv: Sequence[str]) -> int:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--near", type=int, default=PERCEPTUAL_NEIGHBOURS)
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(argv)
    recipe = recipe_for(PATCHES)
    assert isinstance(recipe, PatchRecipe)
    recipe = replace(recipe, threads=given.threads)
    one_out = Protocol("leave_one_group_out")
    protocol = Protocol("kfold", given.folds) if given.folds else one_out
    settings = load_settings()
    photos = {
        file.name: np.asarray(read_upright(file.read_bytes(), settings), np.uint8)
        for file in sorted(given.photos.rglob("*.png"))
    }
    lake = ingested(given.photos, given.work / "as-they-are")
    frame = picture_frame(lake, None, given.near)
    say("trained on photos as they are", of_frame(recipe, frame, photos, protocol))
    write_masked(given.photos, photos, given.work / "masked-photos")
    other = ingested(given.work / "masked-photos", given.work / "masked")
    by_name = {name: g for g, own in zip(frame.groups, frame.names, strict=True) for name in own}
    hidden = {name: masked(pixels) for name, pixels in photos.items()}
    found = of_frame(recipe, picture_frame(other, by_name, -1), hidden, protocol)
    say("trained on photos with a masked background", found)
    return 0


def say(part: str, found: Any) -> None:
    """Print a part of the report."""
    print(json.dumps({part: found}), flush=True)


def write_masked(folder: Path, photos: Mapping[str, Pixels], target: Path) -> None:
    """Write the photos with a masked background, in the folders of their labels."""
    for file in sorted(folder.rglob("*.png")):
        to = target / file.relative_to(folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(masked(photos[file.name])).save(to)


def ingested(landing: Path, work: Path) -> Lake:
    """Ingest the photos into a lake below `work`."""
    work.mkdir(parents=True, exist_ok=True)
    (work / "parts.toml").write_text(STAGE.format(side=SIDE), "utf-8")
    job = Path(__file__).parents[1] / "jobs" / "ingest_photos.py"
    place = ["--stage-file", str(work / "parts.toml"), "--lake", str(work / "lake")]
    subprocess.run([sys.executable, str(job), *place, "--landing", str(landing)], check=True)
    options = Options(stage_file=work / "parts.toml", lake=str(work / "lake"))
    return begin(options, lake_must_exist=True).lake


def of_frame(
    recipe: PatchRecipe, frame: PictureFrame, photos: Mapping[str, Pixels], protocol: Protocol
) -> dict[str, Any]:
    """Leave each group out, and test its photos as they are and altered."""
    altered = {"as they are": lambda pixels: pixels, **GROUNDS, **SHIFTS}
    p = {name: np.zeros(len(frame.items)) for name in altered}
    (split,) = protocol.splits("photos", frame.split_items(), frame.versions)
    for one in split.rounds():
        print(f"group {one.fold} of {split.folds}", file=sys.stderr, flush=True)
        folds = split.inner(one.train, recipe.members, recipe.seed)
        module = fit_patches(recipe, frame, one.train, folds).module()
        for name, alter in altered.items():
            shown = np.stack([tensor_of(alter(photos[frame.names[at][0]])) for at in one.test])
            with torch.inference_mode():
                p[name][one.test] = module(torch.from_numpy(shown))[0].numpy()
    return {name: of_altered(frame, found, p["as they are"]) for name, found in p.items()}


def tensor_of(pixels: Pixels) -> Pixels:
    """Make the tensor of a photo as the app does."""
    return as_tensor(Image.fromarray(pixels), SIDE, SIDE)


def of_altered(frame: PictureFrame, p: Any, before: Any) -> dict[str, float]:
    """Compute AUROC with its interval over groups, and the change of the probability."""
    found = bootstrap(auroc, frame.labels, p, frame.groups)
    change = np.abs(p - before)
    return {
        "auroc": round(found.value, 3),
        "auroc_low": round(found.low, 3),
        "largest_change": round(float(change.max()), 3),
        "mean_change": round(float(change.mean()), 3),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
