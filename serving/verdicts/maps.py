"""The map of a verdict as a picture that lies over the photo, coloured by the two thresholds."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from serving.records.inspections import Inspection

SIDE = 384
"""Longest side of the map, in pixels. A page scales it to the photo's size."""
UNSURE, BAD = (255, 176, 0), (220, 30, 60)
LEVELS = 6
"""Steps of strength within a colour, so that the file stays small."""


def coloured_map(one: Inspection) -> Image.Image:
    """Return the map of the inspection, RGBA: clear, amber from `low` on, red from `high` on.

    A heat map shows places relative to each other. Here its strongest place has the probability of
    the photo, and the others their share of it. So a place has a colour only if its share reaches a
    threshold, and a good photo has none.
    """
    heat = Image.open(io.BytesIO(one.heat_png)).convert("L")
    scale = SIDE / max(heat.size)
    size = (max(1, round(heat.width * scale)), max(1, round(heat.height * scale)))
    smooth = np.asarray(heat.resize(size, Image.Resampling.BICUBIC), np.float64)
    share = smooth / max(smooth.max(), 1.0) * one.probability
    strength = np.clip((share - one.low) / max(1.0 - one.low, 1e-9), 0.0, 1.0)
    alpha = (0.4 + 0.6 * np.ceil(strength * LEVELS) / LEVELS) * 255
    picture = np.zeros((*share.shape, 4), np.uint8)
    coloured = (share >= one.low) & (one.probability >= one.low)
    picture[coloured, :3] = UNSURE
    picture[share >= one.high, :3] = BAD
    picture[coloured, 3] = alpha[coloured]
    return Image.fromarray(picture)


def with_map(photo: Image.Image, one: Inspection) -> Image.Image:
    """Return the photo, in grey, with the map over it."""
    over = coloured_map(one).resize(photo.size)
    base = photo.convert("L").convert("RGBA")
    return Image.alpha_composite(base, over).convert("RGB")
