"""Augmentation, for training only: each picture has its own draws, whatever else is in its batch.

So a single process and several that share the batches see the same pictures. Everything is
computed on whole batches, on their device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ml.photos.recipe import CnnRecipe

_PLAIN = 18
_GRID = 10
_DRAWS = _PLAIN + 2 * _GRID * _GRID


@dataclass(frozen=True)
class Augmented:
    """The input of a training step.

    `pictures` are uint8, shape (n, height, width, 3). `drawn`, bool, shape (n,), says which of them
    got a drawn defect.
    """

    pictures: Tensor
    drawn: Tensor


def augment(
    pictures: Tensor, labels: Tensor, items: NDArray[np.intp], epoch: int, recipe: CnnRecipe
) -> Augmented:
    """Augment pictures for one epoch.

    Args:
        pictures: uint8, shape (n, height, width, 3).
        labels: 0 or 1, shape (n,). Only good pictures get drawn defects.
        items: numbers of the pictures within the training, shape (n,). With the recipe's seed and
            the epoch they decide the draws.
        epoch: its number.
        recipe: says which changes are made, and how large they are.

    Returns:
        The pictures of the same shape, and which of them got a defect.
    """
    draws = _draws(recipe.seed, epoch, items).to(pictures.device)
    x = pictures.permute(0, 3, 1, 2).float() / 255
    if len(x) and (recipe.flips or recipe.shift or recipe.zoom):
        x = _moved(x, draws[:, 0:6], recipe)
    if recipe.turns and x.shape[2] == x.shape[3]:
        x = torch.where((draws[:, 6] < 0.5).view(-1, 1, 1, 1), x.transpose(2, 3), x)
    drawn = (draws[:, 7] < recipe.defects) & (labels == 0)
    at = drawn.nonzero()[:, 0]
    if len(at):
        x[at] = _with_defect(x[at], draws[at])
    x = x.clamp_min(1e-4) ** torch.exp((draws[:, 8] * 2 - 1) * recipe.gamma).view(-1, 1, 1, 1)
    grey = (draws[:, 9] < recipe.grey).view(-1, 1, 1, 1)
    x = torch.where(grey, x.mean(1, keepdim=True), x)
    shown = (x * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return Augmented(shown.contiguous(), drawn)


def _draws(seed: int, epoch: int, items: NDArray[np.intp]) -> Tensor:
    """Draw numbers from 0 to 1, shape (n, draws). Only seed, epoch and picture decide them."""
    rows = [np.random.default_rng([seed, epoch, int(i)]).random(_DRAWS, np.float32) for i in items]
    return torch.from_numpy(np.stack(rows) if rows else np.empty((0, _DRAWS), np.float32))


def _moved(x: Tensor, draws: Tensor, recipe: CnnRecipe) -> Tensor:
    """Flip, stretch and shift. What comes in from outside is the inside, mirrored."""
    turn = torch.ones(len(x), 2, device=x.device)
    if recipe.flips:
        turn = 1 - 2 * (draws[:, 0:2] < 0.5).float()
    stretch = torch.exp((draws[:, 4:6] * 2 - 1) * recipe.zoom)
    # Coordinates go from -1 to 1. A zoomed picture may leave out something on either side.
    reach = 2 * recipe.shift + (1 - stretch).clamp_min(0)
    where = torch.diag_embed(turn * stretch)
    middle = (draws[:, 2:4] * 2 - 1) * reach
    grid = F.affine_grid(torch.cat([where, middle[:, :, None]], 2), list(x.shape), False)
    return F.grid_sample(x, grid, "bilinear", "reflection", False)


def _with_defect(x: Tensor, draws: Tensor) -> Tensor:
    """Draw a stroke, a blob, a region of other light, or one of other texture on each picture.

    This follows the synthetic defects of DRAEM (Zavrtanik et al. 2021) and CutPaste (Li et al.
    2021): a super-ellipse with a warped outline, darker three times out of four. `x` has shape
    (n, 3, h, w), 0 to 1.
    """
    draw = [part.view(-1, 1, 1) for part in draws[:, 10:_PLAIN].unbind(1)]
    kind = (draw[0] * 4).long().clamp(max=3)
    where = _outline(kind, draw, draws[:, _PLAIN:], x.shape[2], x.shape[3])
    inside, kind = where.unsqueeze(1), kind.unsqueeze(1)
    spread = x.flatten(1).std(1).view(-1, 1, 1, 1).clamp_min(0.03)
    sign = torch.where(draw[7] < 0.75, -1.0, 1.0)
    strength = ((0.5 + 1.5 * draw[6]) * sign).unsqueeze(1) * spread
    strength = strength * torch.where(kind >= 2, 0.6, 1.6)
    turned = x.transpose(2, 3) if x.shape[2] == x.shape[3] else x.flip((2, 3))
    other = turned.roll((x.shape[2] // 2, x.shape[3] // 2), (2, 3)) + strength / 2
    marked = torch.where(kind == 3, x * (1 - inside) + other * inside, x + inside * strength)
    return marked.clamp(0, 1)


def _outline(kind: Tensor, draw: list[Tensor], grid: Tensor, height: int, width: int) -> Tensor:
    """Compute how far each pixel is inside the defect: shape (n, height, width), 0 to 1.

    Coordinates go from -1 to 1. A stroke (kind 0) is long and thin, a blob (1) is small, a region
    is large.
    """
    across = torch.linspace(-1, 1, width, device=grid.device).view(1, 1, -1)
    down = torch.linspace(-1, 1, height, device=grid.device).view(1, -1, 1)
    angle, x, y = draw[1] * math.pi, draw[2] * 1.8 - 0.9, draw[3] * 1.8 - 0.9
    along = (across - x) * angle.cos() + (down - y) * angle.sin()
    beside = (down - y) * angle.cos() - (across - x) * angle.sin()
    noise = (grid.view(-1, 2, _GRID, _GRID) - 0.5) * math.sqrt(12)
    warp = F.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False)
    roughness = _by_kind(kind, 0.06, 0.01, 0.08)
    length = _by_kind(kind, 0.1, 0.02, 0.15) + _by_kind(kind, 0.6, 0.06, 0.5) * draw[4]
    breadth = _by_kind(kind, 0.008, 0.015, 0.15) + _by_kind(kind, 0.015, 0.04, 0.5) * draw[5]
    along = ((along + roughness * warp[:, 0]) / length).abs()
    beside = ((beside + roughness * warp[:, 1]) / breadth).abs()
    return torch.sigmoid((1 - (along**2.5 + beside**2.5).clamp(max=9)) * 4)


def _by_kind(kind: Tensor, stroke: float, blob: float, region: float) -> Tensor:
    values = torch.tensor([stroke, blob, region, region], device=kind.device)
    return values[kind]
