"""How well maps point at defects, by masks.

A map is float, shape (h, w), higher for bad. A mask is bool, of the same shape, true in the defect.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
AT_MOST = 0.3
"""Rate of false positive pixels up to which AUPRO is computed."""


def points_at(heat: Map, mask: Mask, grace: tuple[float, float] = (0, 0)) -> bool:
    """Say whether the map's maximum lies in the mask (pointing game, Zhang et al. 2018).

    Args:
        heat: the map.
        mask: the mask.
        grace: the maximum may be so many rows and columns away from the mask.

    Example:
        >>> heat, mask = np.zeros((4, 4), np.float32), np.zeros((4, 4), bool)
        >>> heat[1, 1], mask[1, 2] = 1, True
        >>> points_at(heat, mask), points_at(heat, mask, (0, 1))
        (False, True)
    """
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    down, across = np.nonzero(mask)
    return bool(((np.abs(down - row) <= grace[0]) & (np.abs(across - column) <= grace[1])).any())


def aupro(heats: Sequence[Map], masks: Sequence[Mask], at_most: float = AT_MOST) -> float:
    """Compute the area under the curve of per-region overlap (Bergmann et al. 2021), 0 to 1.

    For each threshold: the mean over all connected regions of their share above it, against the
    share of pixels without a defect above it, up to `at_most`. The area is divided by `at_most`.

    Args:
        heats: the maps, all on one scale.
        masks: their masks; good photos have empty ones.
        at_most: largest rate of false positives.

    Example:
        >>> mask = np.eye(2, dtype=bool)
        >>> aupro([mask.astype(np.float32)], [mask])
        1.0
    """
    clean = np.sort(np.concatenate([h[~m] for h, m in zip(heats, masks, strict=True)]))[::-1]
    rates = np.linspace(0, at_most, 301)
    last = np.minimum((rates * len(clean)).astype(int), len(clean) - 1)
    thresholds = clean[last]  # At most that share of clean pixels is above.
    overlaps = []
    for heat, mask in zip(heats, masks, strict=True):
        for region in regions(mask):
            inside = np.sort(heat[region])
            overlaps.append(1 - np.searchsorted(inside, thresholds, "right") / len(inside))
    return float(np.trapezoid(np.mean(overlaps, axis=0), rates) / at_most)


def regions(mask: Mask) -> list[tuple[NDArray[np.intp], ...]]:
    """Find the regions of touching pixels, also at a corner: (rows, columns) of each, from the top.

    Example:
        >>> [len(rows) for rows, _ in regions(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]], bool))]
        [2]
    """
    labelled, count = label(mask, np.ones((3, 3)))
    return [np.nonzero(labelled == number) for number in range(1, count + 1)]
