"""Masks of defects: pictures of the photos' size, white where the defect is."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.landing.zone import look, open_url
from lakehouse.stage import Stage
from ml.data.pictures import PictureFrame

WHITE = 127
"""Pixels above this value, of 255, are white."""


def mask_files(folder: str) -> dict[str, Path]:
    """Find the masks below a folder, by name without its ending. Raise UsageError if none."""
    files = {file.stem: file for file in sorted(Path(folder).rglob("*")) if file.is_file()}
    if not files:
        raise UsageError(f"--masks {folder}: there is no file; name the folder of the masks")
    return files


def masks_sha256(folder: str) -> str:
    """Compute the hash of all masks of a folder, of their names and contents."""
    found = hashlib.sha256()
    for name, file in sorted(mask_files(folder).items()):
        found.update(f"{name}:{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def keep_masks(landing: str, stage: Stage, folder: Path) -> Path | None:
    """Copy the masks that the stage's globs name, so that the study can be reproduced later.

    Args:
        landing: the landing zone, a folder or URL.
        stage: its `[photos]` names the masks by globs.
        folder: the copies go into a folder below it, named by their hash.

    Returns:
        The folder of the copies. None: the landing zone has no masks.

    Raises:
        PlatelakeError: the landing zone cannot be read.
        UsageError: two masks are for one photo.
    """
    found = look(landing).masks(stage)
    if not found:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
    try:
        first: dict[str, str] = {}
        for name, url in found.items():
            stem = Path(name).stem
            if stem in first:
                raise UsageError(
                    f"stage {stage.name}: {first[stem]} and {name} are masks of one photo; remove "
                    "one, or name one by the globs of masks"
                )
            first[stem] = name
            with open_url(landing, url) as source, (part / Path(name).name).open("wb") as target:
                shutil.copyfileobj(source, target)
        kept = folder / masks_sha256(str(part))[:16]
        if not kept.is_dir():
            part.replace(kept)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return kept


def read_masks(
    folder: str, sha256: str, frame: PictureFrame, height: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Read the masks of the frame's pictures, on a grid of so many cells.

    Args:
        folder: of the masks. A mask has the name of its photo, whatever its ending.
        sha256: what `masks_sha256` gave when the recipe was made.
        frame: the pictures.
        height: of the grid, in cells.
        width: of the grid, in cells.

    Returns:
        The largest share of defect in a sixteenth of each cell, float32, shape (n, height, width),
        0 to 1; and whether it is known where the defect is, shape (n,): good pictures have none,
        bad ones need a mask that is not empty.

    Raises:
        PlatelakeError: the masks changed after the recipe was made, or one cannot be read.
    """
    found = np.zeros((len(frame.items), height, width), np.float32)
    known = frame.labels == 0
    if not folder:
        return found, known
    if masks_sha256(folder) != sha256:
        raise PlatelakeError(
            f"{folder} does not hold the masks that the recipe names (sha256 {sha256[:16]}…); "
            "restore them, or train again"
        )
    files = mask_files(folder)
    for at, names in enumerate(frame.names):
        file = next((files[stem] for name in names if (stem := Path(name).stem) in files), None)
        if file is not None and frame.labels[at] == 1:
            found[at] = _cells(file, height, width)
            known[at] = bool(found[at].any())
    return found, known


def _cells(file: Path, height: int, width: int) -> NDArray[np.float32]:
    try:
        with Image.open(file) as image:
            grey = np.asarray(image.convert("L"))
    except OSError as error:
        raise PlatelakeError(f"mask {file} cannot be read: {error}; remove or restore it") from None
    white = Image.fromarray(np.where(grey > WHITE, 255, 0).astype(np.uint8))
    small = np.asarray(white.resize((4 * width, 4 * height), Image.Resampling.BILINEAR))
    parts = small.astype(np.float32).reshape(height, 4, width, 4) / 255
    return np.asarray(parts.max((1, 3)), np.float32)
