"""The map of a verdict as a picture that lies over the photo, coloured by the thresholds."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ml.use.explain import grey_heat
from serving.records.inspections import OWN_SCALE, Inspection

SIDE = 384
"""Longest side of the map, in pixels. A page scales it to the photo's size."""
UNSURE, BAD = (255, 176, 0), (220, 30, 60)
LEVELS = 6
"""Steps of strength within a colour, so that the file stays small."""


def as_png(heat: NDArray[np.float32], own_scale: bool) -> bytes:
    """Return a heat map, shape (h, w), 0 to 1, as a grey PNG.

    Args:
        heat: the map.
        own_scale: it is 0 below a threshold of its own, so that all the rest counts.
    """
    target, about = io.BytesIO(), PngInfo()
    if own_scale:
        about.add_text(OWN_SCALE, "1")
    grey_heat(heat).save(target, "PNG", pnginfo=about)
    return target.getvalue()


def coloured_map(one: Inspection) -> Image.Image:
    """Return the map of the inspection, RGBA: clear, amber from `low` on, red from `high` on.

    A heat map shows places relative to each other. Here its strongest place has the probability of
    the photo, and the others their share of it. So a place has a colour only if its share reaches a
    threshold, and a good photo has none. A map with a scale of its own is red where it is not 0.
    """
    heat = Image.open(io.BytesIO(one.heat_png)).convert("L")
    scale = SIDE / max(heat.size)
    size = (max(1, round(heat.width * scale)), max(1, round(heat.height * scale)))
    if one.own_scale:
        share = np.asarray(heat.resize(size, Image.Resampling.NEAREST), np.float64) / 255
        low, high = 1 / 255, 1 / 255
    else:
        smooth = np.asarray(heat.resize(size, Image.Resampling.BICUBIC), np.float64)
        share = smooth / max(smooth.max(), 1.0) * one.probability
        low, high = one.low, one.high
    strength = np.clip((share - low) / max(1.0 - low, 1e-9), 0.0, 1.0)
    alpha = (0.4 + 0.6 * np.ceil(strength * LEVELS) / LEVELS) * 255
    picture = np.zeros((*share.shape, 4), np.uint8)
    coloured = (share >= low) & (one.own_scale or one.probability >= low)
    picture[coloured, :3] = UNSURE
    picture[coloured & (share >= high), :3] = BAD
    picture[coloured, 3] = alpha[coloured]
    return Image.fromarray(picture)


def with_map(photo: Image.Image, one: Inspection) -> Image.Image:
    """Return the photo, in grey, with the map over it."""
    over = coloured_map(one).resize(photo.size)
    base = photo.convert("L").convert("RGBA")
    return Image.alpha_composite(base, over).convert("RGB")
