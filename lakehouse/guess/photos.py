"""Describe the photos of a folder: each kind, with bit depth and colour, and what is refused."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from lakehouse.errors import PhotoError
from lakehouse.files.photos import FORMATS, read_upright
from lakehouse.settings import load_settings
from lakehouse.stage_sections import Levels

LOOKED_AT = 20
"""Photos of one folder that are opened."""
LABELS = {
    "good": r"(?i)^(good|ok|pass|normal|양품|정상|良品?|gut)$",
    "bad": r"(?i)^(bad|ng|nok|fail(ed)?|defect(s|ive)?|불량|不良|schlecht)$",
}
COLOURS = {"1": "black and white", "L": "grey", "I": "grey", "F": "grey", "LA": "grey"}
"""What a person sees of these pixel modes; others have colours."""
WIDE_DEPTHS = (8, 10, 12, 14, 16)
"""Bits that cameras have."""


@dataclass
class PhotoFolder:
    """Photos of one folder.

    `kinds` counts the photos that were opened, by what they are; `refused` counts the reasons for
    which some would be quarantined. `bits` are those that the photos of 16 bits a colour seem to
    use; None if there are none, or if all 16 are used.
    """

    glob: str
    label: str | None
    count: int
    kinds: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    bits: int | None = None


def look_at_photos(root: Path, folder: Path, files: Sequence[Path]) -> PhotoFolder:
    """Describe the photos of a folder by the first of them, of each ending."""
    name = folder.relative_to(root).as_posix()
    label = next((label for label, form in LABELS.items() if re.search(form, folder.name)), None)
    found = PhotoFolder(f"{name}/*" if name != "." else "*", label, len(files))
    depths, some = [], _spread(files)
    for file in some:
        try:
            said, depth = _about(file.read_bytes())
        except Exception:  # Whatever a decoder raises, the file is only described here.
            said, depth = "not readable", None
        found.kinds[said] += 1
        depths += [depth] if depth else []
    found.bits = max(depths) if depths and max(depths) < 16 else None
    levels, settings = Levels(found.bits), load_settings()
    for file in some:
        try:
            read_upright(file.read_bytes(), settings, levels)
        except PhotoError as error:
            found.refused[f"{error.rule}: {error}"] += 1
        except OSError as error:
            found.refused[f"unreadable: {error.strerror}"] += 1
    return found


def _spread(files: Sequence[Path]) -> list[Path]:
    """Return some files of each ending, from the whole list."""
    endings = sorted({file.suffix.lower() for file in files})
    found: list[Path] = []
    for ending in endings:
        some = [file for file in files if file.suffix.lower() == ending]
        step = max(1, len(some) * len(endings) // LOOKED_AT)
        found += some[::step][: max(1, LOOKED_AT // len(endings))]
    return found


def _about(content: bytes) -> tuple[str, int | None]:
    """Return format, size, colour and depth; and of 16 bits a colour, how many are used."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        mode = image.mode
        colour = "grey" if mode.startswith("I;16") else COLOURS.get(mode, f"colours ({mode})")
        said = f"{image.format}, {image.width} x {image.height}, {colour}"
        profile = ", with a colour profile" if image.info.get("icc_profile") else ""
        if not mode.startswith("I;16"):
            depth = {"1": 1, "I": 32, "F": 32}.get(mode, 8)
            return f"{said}, {depth} bit{'s' * (depth > 1)}{profile}", None
        largest = int(np.asarray(image).max())
    used = next(bits for bits in WIDE_DEPTHS if largest < 1 << bits)
    return f"{said}, 16 bits{profile}", used
