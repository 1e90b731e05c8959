"""Test a model of patches by masks, by photos of other things, and by altered photos.

    python benchmarks/photo_maps.py --stage NAME --stage-file FILE --lake LAKE --photos FOLDER \
        [--masks FOLDER] [--truth FOLDER] [--groups FILE:COLUMN] [--foreign FOLDER] [--sheet FILE]

The lake holds labelled photos. FOLDER of --photos has their files. Folds, groups and training are
those of `platelake train photos --near -1`, seed 0. It prints JSON: figures of probabilities and of
maps, out of fold (`--truth`: masks that test but do not teach); the verdicts of the first fold's
model on the photos in --foreign, on drawn pictures, and on its own test photos, whole and altered.
--sheet writes twelve of its maps.
"""

import argparse
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from jobs.options import Options
from jobs.runner import begin
from jobs.train import read_groups, training_context
from lakehouse.files.photos import read_upright
from lakehouse.settings import Settings
from ml.data.masks import masks_sha256, read_masks
from ml.data.pictures import PictureFrame, picture_frame
from ml.data.splits import Split
from ml.figures.cross_validation import CrossValidation, figures, flat, verdicts
from ml.figures.maps import aupro, points_at
from ml.figures.savings import savings
from ml.figures.thresholds import Costs, Thresholds, fit_thresholds
from ml.onnx import with_card
from ml.photos.patch_model import FittedPatches, Found, fit_patches, predict_patches
from ml.photos.recipe import PATCHES, PatchRecipe, recipe_for
from ml.study.context import Protocol
from ml.use.explain import grey_heat, with_map
from ml.use.predictor import PhotoModel
from ml.use.reasons import key_of

GRID = 160
"""Maps and masks are compared on so many rows and columns."""
GRACE_PIXELS = 15
ALTERED_OF = 40
"""Test photos that are altered."""
SHEET = (6, 6)
"""Bad and good photos on the sheet."""


def main(argv: Sequence[str]) -> int:
    """Measure, and print JSON."""
    given = arguments(argv)
    options = Options(given.stage, given.stage_file, lake=given.lake)
    context = training_context(begin(options, lake_must_exist=True))
    frame = picture_frame(context.lake, read_groups(given.groups), near=-1)
    (split,) = Protocol("kfold", given.folds, 1).splits(
        "photos", frame.split_items(), frame.versions
    )
    recipe = recipe_for(PATCHES, masks=given.masks)
    assert isinstance(recipe, PatchRecipe)
    p, refused = np.zeros(len(frame.items)), np.zeros(len(frame.items), bool)
    heats: list[Any] = [None] * len(frame.items)
    models: list[tuple[FittedPatches, Any]] = []
    for one in split.rounds():
        fitted = fit_patches(recipe, frame, one.train, split.inner(one.train, recipe.members, 0))
        found: Found = predict_patches(fitted, frame, one.test)
        p[one.test], refused[one.test] = found.p, found.refused
        for at, heat in zip(one.test, found.heat, strict=True):
            heats[at] = heat
        models.append((fitted, one.test))
    report: dict[str, Any] = of_probabilities(split, p, refused, context.costs("photos"))
    truth = given.truth or given.masks
    if truth:
        report |= of_maps(frame, heats, str(truth))
    thresholds = fit_thresholds(frame.labels, p, context.costs("photos"))
    fitted, test = models[0]
    model = opened(fitted, frame, thresholds)
    photos = test_photos(frame, test, given.photos, context.settings)
    report["altered"] = of_altered(model, photos)
    report["foreign"] = of_foreign(model, given.foreign, context.settings)
    if given.sheet:
        write_sheet(model, photos, given.sheet)
    print(json.dumps(report, indent=1))
    return 0


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    for name in ("stage", "lake", "groups"):
        parser.add_argument(f"--{name}")
    for name in ("stage-file", "photos", "masks", "truth", "foreign", "sheet"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    return parser.parse_args(argv)


def of_probabilities(split: Split, p: Any, refused: Any, costs: Costs) -> dict[str, float]:
    """Compute figures and what the verdicts save, with thresholds of the other folds."""
    groups = tuple(split.groups)
    evaluated = CrossValidation(
        *((split,), split.items, split.labels, p[:, None], split.fold[:, None], groups),
        refused[:, None],
    )
    decided = verdicts(evaluated, costs)
    assert decided is not None, "a split of one fold has no others to fit thresholds on"
    found = figures(evaluated, None) | savings(evaluated, decided, costs)
    return {name: round(value, 4) for name, value in flat(found).items()}


def of_maps(frame: PictureFrame, heats: Sequence[Any], folder: str) -> dict[str, float]:
    """Compare the maps with the masks."""
    masks, known = read_masks(folder, masks_sha256(folder), frame, GRID, GRID)
    masked = np.flatnonzero(known & (frame.labels == 1))
    large = [
        np.asarray(Image.fromarray(heat).resize((GRID, GRID), Image.Resampling.BILINEAR))
        for heat in heats
    ]
    grace = GRACE_PIXELS * GRID / 320  # The tensor has 320 pixels, photos about as many.
    hits = [points_at(large[at], masks[at] >= 0.5, (grace, grace)) for at in masked]
    good = np.flatnonzero(frame.labels == 0)
    shown = [heat >= 0.5 for heat in heats]
    inside = [float((large[at][masks[at] >= 0.5] >= 0.5).any()) for at in masked]
    tested = [*masked, *good]
    return {
        "masked_photos": len(masked),
        "pointing_game": round(float(np.mean(hits)), 4),
        "aupro_30": round(aupro([large[a] for a in tested], [masks[a] >= 0.5 for a in tested]), 4),
        "good_photos_with_colour": round(float(np.mean([shown[at].any() for at in good])), 4),
        "bad_photos_with_colour": round(float(np.mean([shown[at].any() for at in masked])), 4),
        "bad_photos_with_colour_on_the_defect": round(float(np.mean(inside)), 4),
        "coloured_share_of_a_good_photo": round(float(np.mean([shown[a].mean() for a in good])), 5),
    }


def opened(fitted: FittedPatches, frame: PictureFrame, thresholds: Thresholds) -> PhotoModel:
    """Open the fold's model as the app does: from its file."""
    card = {"width": frame.width, "height": frame.height, "limits": fitted.limits}
    card |= {"kind": "photos", "thresholds": vars(thresholds)}
    return PhotoModel(with_card(fitted.onnx(frame), card), "fold", 0)


def test_photos(
    frame: PictureFrame, test: Any, folder: Path, settings: Settings
) -> list[tuple[int, Image.Image]]:
    """Read label and file of the fold's test photos."""
    files = {file.name: file for file in folder.rglob("*") if "masks" not in file.parts}
    return [
        (int(frame.labels[at]), read_upright(files[frame.names[at][0]].read_bytes(), settings))
        for at in test
    ]


def altered(photo: Image.Image) -> Iterator[tuple[str, Image.Image]]:
    """Yield the photo as it is, and as it may come by mistake."""
    width, height = photo.size
    yield "as it is", photo
    yield "turned by 90 degrees", photo.transpose(Image.Transpose.ROTATE_90)
    yield "middle half", photo.crop((width // 4, height // 4, 3 * width // 4, 3 * height // 4))
    yield "blurred", photo.filter(ImageFilter.GaussianBlur(4))
    yield "half size", photo.resize((width // 2, height // 2))


def of_altered(model: PhotoModel, photos: list[tuple[int, Image.Image]]) -> dict[str, Any]:
    """Count how verdicts change on altered photos: `good > bad` is a changed verdict."""
    some = np.random.default_rng(0).permutation(len(photos))[:ALTERED_OF]
    counts: dict[str, Counter[str]] = {}
    for at in some:
        first = ""
        for name, photo in altered(photos[at][1]):
            verdict = model.inspect(photo)[0]
            reason = key_of(verdict.reason or "")
            first = first or verdict.verdict
            same = "unchanged" if first == verdict.verdict else f"{first} > {verdict.verdict}"
            counts.setdefault(name, Counter())[reason or same] += 1
    return {name: dict(one) for name, one in counts.items()}


def drawn() -> Iterator[tuple[str, Image.Image]]:
    """Yield pictures that show no part."""
    draw = np.random.default_rng(0)
    for name, colour in (("black", 0), ("white", 255), ("grey", 128)):
        yield name, Image.new("RGB", (480, 480), (colour,) * 3)
    yield "8 x 8", Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8))
    yield "noise", Image.fromarray(draw.integers(0, 256, (480, 480, 3), np.uint8))
    grey = draw.normal(110, 12, (300, 300, 1)).clip(0, 255).astype(np.uint8).repeat(3, 2)
    yield "soft noise", Image.fromarray(grey)
    yield "gradient", Image.linear_gradient("L").convert("RGB").resize((400, 300))
    board = (np.indices((320, 320)) // 20).sum(0) % 2 * 255
    yield "black and white", Image.fromarray(board.astype(np.uint8)).convert("RGB")
    bars = np.repeat(np.array([[255, 255, 0], [0, 255, 255], [255, 0, 0]], np.uint8), 100, 0)
    yield "test pattern", Image.fromarray(np.tile(bars, (300, 1, 1)).reshape(300, 300, 3))
    drawing = Image.new("RGB", (600, 400), "white")
    pen = ImageDraw.Draw(drawing)
    pen.ellipse((100, 80, 300, 280), outline="black", width=4)
    pen.line((0, 390, 600, 10), fill="black", width=3)
    yield "drawing", drawing


def of_foreign(model: PhotoModel, folder: Path | None, settings: Settings) -> dict[str, Any]:
    """Count the verdicts on photos and drawings that show no such part."""
    files = sorted(file for file in folder.rglob("*") if file.is_file()) if folder else []
    photos = [("foreign photo", read_upright(file.read_bytes(), settings)) for file in files]
    counts: dict[str, Counter[str]] = {}
    for name, photo in [*photos, *drawn()]:
        verdict = model.inspect(photo)[0]
        said = key_of(verdict.reason or "") or verdict.verdict
        counts.setdefault(name, Counter())[said] += 1
    total = Counter[str]()
    for one in counts.values():
        total += one
    return {"called_good": total["good"], "of": total.total()} | {
        name: dict(one) for name, one in counts.items()
    }


def write_sheet(model: PhotoModel, photos: list[tuple[int, Image.Image]], file: Path) -> None:
    """Write photos and their maps side by side, bad ones first."""
    order = np.random.default_rng(1).permutation(len(photos))
    chosen = [
        [photos[at] for at in order if photos[at][0] == label][:count]
        for label, count in ((1, SHEET[0]), (0, SHEET[1]))
    ]
    cell = 150
    sheet = Image.new("RGB", (6 * (cell + 4) * 1, 4 * (cell + 20)), "white")
    pen = ImageDraw.Draw(sheet)
    for at, (label, photo) in enumerate([*chosen[0], *chosen[1]]):
        verdict, heat = model.inspect(photo)
        shown = with_map(photo.copy(), grey_heat(heat), model.points)
        left, top = at % 6 * (cell + 4), at // 6 * 2 * (cell + 20)
        for row, picture in enumerate((photo, shown)):
            small = picture.copy()
            small.thumbnail((cell, cell))
            sheet.paste(small, (left, top + row * (cell + 20) + 16))
        said = f"{verdict.verdict} {verdict.probability:.2f}"
        pen.text((left, top + 2), f"label: {'bad' if label else 'good'}", fill="black")
        pen.text((left, top + cell + 22), said, fill="black")
    buffer = io.BytesIO()
    sheet.quantize(128).save(buffer, "PNG", optimize=True)
    file.write_bytes(buffer.getvalue())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
