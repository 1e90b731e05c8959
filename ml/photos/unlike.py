"""What a photo model does not know: photos unlike those that it learned from.

`Known` compares the whole picture. The means and deviations of the backbone's coarse maps of the
training pictures fill few directions. What lies outside of these directions is large for a picture
of another thing (as the residual of a principal component analysis: Jackson and Mudholkar 1979).
`appearance` measures light and sharpness, which need no network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ml.data.loader import Indices
from ml.photos.appearance import appearance
from ml.photos.patches import Maps

COMPONENTS = 64
PICTURES_PER_COMPONENT = 3
REFUSED = 0.01
"""Share of the held-out pictures beyond the limit before the margin is added."""
MARGIN = 1.1
AT_ONCE = 64


def embedding(maps: list[Tensor]) -> Tensor:
    """Compute mean and deviation of each channel of the two coarse scales, shape (n, features)."""
    parts = [part for scale in maps[1:] for part in _spread(scale)]
    return torch.cat(parts, 1)


def _spread(scale: Tensor) -> tuple[Tensor, Tensor]:
    mean = scale.mean((2, 3))
    apart = scale - mean[:, :, None, None]
    return mean, (apart * apart).mean((2, 3)).sqrt()


class Known(nn.Module):
    """How unlike a picture is to the training pictures: its residual, as a share of the limit."""

    mean: Tensor
    deviation: Tensor
    axes: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor, axes: Tensor, limit: float) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.register_buffer("axes", axes)  # (features, components)
        self.limit = limit

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Compute the share of the limit, shape (n,). Above 1: unlike."""
        return self.of(embedding(maps))

    def of(self, features: Tensor) -> Tensor:
        """Compute the share of the limit from embeddings, shape (n, features)."""
        x = (features - self.mean) / self.deviation
        apart = x - (x @ self.axes) @ self.axes.T
        return (apart * apart).sum(1).sqrt() / self.limit


def embeddings(maps: Maps) -> Tensor:
    """Compute the embeddings of all pictures, shape (n, features)."""
    count = len(maps.grid)
    parts = np.array_split(np.arange(count), max(1, count // AT_ONCE))
    return torch.cat([embedding(maps.at(part)) for part in parts])


def fit_known(features: Tensor, train: Indices, folds: list[tuple[Indices, Indices]]) -> Known:
    """Fit the directions on the pictures at `train`, and the limit on held-out ones.

    Args:
        features: embeddings of all pictures.
        train: indices of the training pictures, good and bad: a defect is no reason to refuse.
        folds: pairs (fit, validate); all `validate` together are `train`.
    """
    held_out = [_directions(features[fit]).of(features[validate]) for fit, validate in folds]
    limit = MARGIN * float(torch.cat(held_out).quantile(1 - REFUSED))
    found = _directions(features[train])
    return Known(found.mean, found.deviation, found.axes, limit)


def _directions(features: Tensor) -> Known:
    mean, deviation = features.mean(0), features.std(0, correction=0)
    deviation = deviation + 1e-3 + 0.1 * deviation.mean()  # A channel that is nearly constant.
    x = (features - mean) / deviation
    count = max(1, min(COMPONENTS, len(x) // PICTURES_PER_COMPONENT))
    _, vectors = torch.linalg.eigh(x.T @ x)
    return Known(mean, deviation, vectors[:, -count:].contiguous(), 1.0)


def fit_limits(tensors: Iterable[NDArray[np.uint8]], least_side: int) -> dict[str, float]:
    """Find the limits of light and sharpness: those of the training pictures, with a margin.

    Args:
        tensors: the training pictures, each uint8, shape (height, width, 3).
        least_side: shortest side of the photos that they were made from, in pixels.

    Returns:
        The limits for `ml.photos.appearance.beyond`.
    """
    found: list[Mapping[str, float]] = [appearance(one) for one in tensors]
    least = {name: min(one[name] for one in found) for name in found[0]}
    brightest = max(one["brightness"] for one in found)
    return {
        "dark": LIGHT * least["brightness"],
        "bright": 1 - LIGHT * (1 - brightest),
        "blank": CONTRAST * least["contrast"],
        "blurred": SHARP * least["sharpness"],
        "small": SIDE * least_side,
    }


LIGHT, CONTRAST, SHARP, SIDE = 0.7, 0.5, 0.7, 0.4
"""A photo may be this much darker, flatter, less sharp or smaller than all training pictures."""
