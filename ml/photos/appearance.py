"""Light and sharpness of a picture, and whether they are beyond a model's limits. Without torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def appearance(tensor: NDArray[np.uint8]) -> dict[str, float]:
    """Measure a picture, uint8, shape (height, width, 3), RGB.

    Returns:
        brightness: mean grey, 0 to 1. contrast: deviation of the grey. sharpness: mean step between
        neighbouring pixels, as a share of the contrast; 0 without contrast.

    Example:
        >>> stripes = np.tile(np.array([[0], [255]], np.uint8), (4, 8))[..., None].repeat(3, 2)
        >>> {name: round(value, 2) for name, value in appearance(stripes).items()}
        {'brightness': 0.5, 'contrast': 0.5, 'sharpness': 1.0}
    """
    grey = tensor.astype(np.float32) @ (LUMINANCE / 255)
    contrast = float(grey.std())
    steps = (np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2
    sharpness = float(steps) / contrast if contrast > LEAST_CONTRAST else 0.0
    return {"brightness": float(grey.mean()), "contrast": contrast, "sharpness": sharpness}


LEAST_CONTRAST = 1e-4


def beyond(
    limits: Mapping[str, float], tensor: NDArray[np.uint8], side: int | None
) -> tuple[str, str] | None:
    """Find the first limit that a picture is beyond: its key and a detail. None: it is within all.

    Args:
        limits: as `fit_limits` gives them; keys are those of `ml.use.reasons`.
        tensor: the picture, uint8, shape (height, width, 3).
        side: shorter side of the photo that it was made from, in pixels. None: not known.

    Example:
        >>> limits = {"dark": 0.1, "bright": 0.9, "blank": 0.05, "blurred": 0.01, "small": 100}
        >>> beyond(limits, np.zeros((8, 8, 3), np.uint8), 200)
        ('dark', 'brightness 0.00, limit 0.10')
    """
    found = appearance(tensor)
    brightness, contrast, sharpness = found["brightness"], found["contrast"], found["sharpness"]
    if side is not None and side < limits["small"]:
        return "small", f"{side} pixels, limit {limits['small']:.0f}"
    if brightness < limits["dark"]:
        return "dark", f"brightness {brightness:.2f}, limit {limits['dark']:.2f}"
    if brightness > limits["bright"]:
        return "bright", f"brightness {brightness:.2f}, limit {limits['bright']:.2f}"
    if contrast < limits["blank"]:
        return "blank", f"contrast {contrast:.3f}, limit {limits['blank']:.3f}"
    if sharpness < limits["blurred"]:
        return "blurred", f"sharpness {sharpness:.3f}, limit {limits['blurred']:.3f}"
    return None
