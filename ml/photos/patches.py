"""What a frozen backbone sees in each patch of a picture: three scales of its maps.

The maps of a picture never change, so they are computed once for all rounds of a study.
"""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lakehouse.errors import UsageError
from ml.data.loader import ALONE, Indices
from ml.data.pictures import PictureFrame
from ml.data.source import Source
from ml.photos.networks import TIMM, as_floats, by_channel, timm_model
from ml.photos.recipe import PatchRecipe, weights_file

SCALES = 3
AT_ONCE = 16


class Backbone(nn.Module):
    """A timm network without its last layers. It does not learn.

    In: uint8, shape (n, height, width, 3), RGB. Out: its last three scales, the finest first, each
    float32, shape (n, channels, h, w). A small picture is enlarged first, so that a small defect
    fills a cell.
    """

    def __init__(self, recipe: PatchRecipe, height: int, width: int) -> None:
        super().__init__()
        if not recipe.backbone.startswith(TIMM):
            raise UsageError(f"a backbone is timm:NAME, not {recipe.backbone!r}")
        self.body: Any = timm_model(recipe.backbone.removeprefix(TIMM), weights_file(recipe))
        self.mean = self.body.pretrained_cfg["mean"]
        self.deviation = self.body.pretrained_cfg["std"]
        grow = max(1.0, recipe.side / max(height, width))
        self.size = (round(height * grow), round(width * grow))
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Compute the maps."""
        x = as_floats(pictures)
        if (x.shape[2], x.shape[3]) != self.size:
            x = F.interpolate(x, size=self.size, mode="bilinear", align_corners=False)
        x = (x - by_channel(x, self.mean)) / by_channel(x, self.deviation)
        maps = self.body.forward_intermediates(x, intermediates_only=True)
        return [scale.float() for scale in maps[-SCALES:]]


def on_one_grid(maps: list[Tensor]) -> Tensor:
    """Put the scales on the grid of the middle one: shape (n, all channels, h, w)."""
    fine, middle, coarse = maps
    size = middle.shape[2:]
    fine = F.interpolate(fine, size=size, mode="nearest")
    coarse = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    return torch.cat([fine, middle, coarse], 1)


@dataclass(frozen=True)
class Maps:
    """The maps of all pictures of a frame.

    `scales` has three arrays, float16, shape (n, channels, h, w). `grid`, float16, shape
    (n, h · w, channels), has all of them on the grid of the middle scale.
    """

    scales: tuple[NDArray[np.float16], ...]
    grid: NDArray[np.float16]

    def at(self, indices: Indices) -> list[Tensor]:
        """Return the three scales of these pictures."""
        return [torch.from_numpy(scale[indices]).float() for scale in self.scales]

    def patches(self, indices: Indices) -> Tensor:
        """Return all patches of these pictures, shape (m, h · w, channels)."""
        return torch.from_numpy(self.grid[indices]).float()

    @property
    def side(self) -> tuple[int, int]:
        """Height and width of the grid."""
        _, _, height, width = self.scales[1].shape
        return height, width


@functools.lru_cache(maxsize=1)
def _kept(key: tuple[Any, ...]) -> list[Maps]:
    """Return the list that keeps the maps of this study. It is filled on first use."""
    return []


def maps_of(recipe: PatchRecipe, frame: PictureFrame) -> Maps:
    """Compute the maps of all pictures, or take those that this study has computed already."""
    own = (recipe.backbone, recipe.weights_sha256, recipe.side)
    kept = _kept((*own, tuple(frame.files), frame.pixels_sha256))
    if not kept:
        kept.append(_computed(recipe, frame))
    return kept[0]


def _computed(recipe: PatchRecipe, frame: PictureFrame) -> Maps:
    backbone = Backbone(recipe, frame.height, frame.width)
    everything = np.arange(len(frame.items))
    source = Source(frame, everything, recipe.memory_bytes, ALONE)
    arrays: list[NDArray[np.float16]] = []
    for tensors, at in source.batches(AT_ONCE, None):
        with torch.inference_mode():
            maps = backbone(torch.from_numpy(tensors))
            found = [*maps, on_one_grid(maps).flatten(2).transpose(1, 2)]
        if not arrays:
            shapes = [(len(everything), *one.shape[1:]) for one in found]
            arrays = _room(shapes, recipe.memory_bytes)
        for array, one in zip(arrays, found, strict=True):
            array[at] = one.half().numpy()
    log = structlog.get_logger()
    log.info("maps", pictures=len(everything), megabytes=sum(a.nbytes for a in arrays) >> 20)
    return Maps(tuple(arrays[:SCALES]), arrays[SCALES])


def _room(shapes: list[tuple[int, ...]], memory_bytes: int) -> list[NDArray[np.float16]]:
    """Make arrays: in memory if all of them fit, else in temporary files that end with us."""
    if 2 * sum(int(np.prod(shape)) for shape in shapes) <= memory_bytes:
        return [np.empty(shape, np.float16) for shape in shapes]
    found = []
    for shape in shapes:
        with tempfile.TemporaryFile() as file:  # The map keeps it until the array is gone.
            found.append(np.memmap(file, np.float16, "w+", shape=shape))
    return list(found)
