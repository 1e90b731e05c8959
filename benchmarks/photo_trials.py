"""Trials of a model on photos: altered ones, photos of other things, a sheet of its maps."""

import io
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from lakehouse.files.photos import read_upright
from lakehouse.settings import Settings
from ml.data.pictures import PictureFrame
from ml.figures.thresholds import Thresholds
from ml.onnx import with_card
from ml.photos.patch_model import FittedPatches
from ml.use.explain import grey_heat, with_map
from ml.use.predictor import PhotoModel
from ml.use.reasons import key_of

ALTERED_OF = 40
"""Test photos that are altered."""
SHEET = (6, 6)
"""Bad and good photos on the sheet."""
TIMED = 20
"""Verdicts whose time is taken."""


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


def of_time(model: PhotoModel, photos: list[tuple[int, Image.Image]]) -> float:
    """Measure processor time of a verdict with its map, from an open photo, in milliseconds."""
    model.inspect(photos[0][1])
    before = time.process_time()
    for _, photo in photos[:TIMED]:
        model.inspect(photo)
    return round(1000 * (time.process_time() - before) / len(photos[:TIMED]), 1)


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
