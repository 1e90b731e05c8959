"""Two heads on the patches of a frozen backbone: evidence of known defects, and distance to good.

`Evidence` learns from labelled pictures: a small network scores each patch, and the mean of the
highest cells is the picture's score (multiple-instance learning: Dietterich et al. 1997; top-k
pooling: Li and Vasconcelos 2015). Masks, where they exist, teach it cell by cell.

`Distance` needs good pictures only: how far is each patch from the nearest patch of a good picture
(PatchCore, Roth et al. 2022)? Its patches are chosen at random, since a farthest-point choice takes
the good pictures with wrong labels first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ml.data.loader import Indices
from ml.photos.patches import Maps, on_one_grid
from ml.photos.recipe import PatchRecipe

Cells = NDArray[np.float32]
PRIOR = -3.0
"""Logit of a cell before training: few cells are bad."""
DROPOUT = 0.3
NEAREST = 1.0
"""Least square of a distance. Below it, rounding decides: patches of the bank are at 0."""
IN_MASK = 0.25
"""A cell is bad if the mask covers at least this share of a sixteenth of it."""
CLEAN = 3.0
"""Weight of the cells outside the masks against those inside."""
PATCHES_OF_ONE = 24
"""Patches that are taken from each good picture, at most, as candidates of the bank."""


class Evidence(nn.Module):
    """The evidence in each cell of the finest scale, by a network of two layers.

    The first layer is linear, so it runs on each scale by itself, and its results are enlarged.

    Args:
        first: weights of the first layer, shape (hidden, channels of all scales).
        bias: of the first layer, shape (hidden,).
        last: weights of the second layer, shape (hidden,).
        last_bias: its bias, shape ().
        channels: number of channels of each scale.
    """

    first: Tensor
    bias: Tensor
    last: Tensor
    last_bias: Tensor

    def __init__(
        self, first: Tensor, bias: Tensor, last: Tensor, last_bias: Tensor, channels: Sequence[int]
    ) -> None:
        super().__init__()
        self.channels = list(channels)
        for name, value in zip(
            ("first", "bias", "last", "last_bias"), (first, bias, last, last_bias), strict=True
        ):
            self.register_buffer(name, value.detach().clone())

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Compute cells, shape (n, h, w)."""
        size = maps[0].shape[2:]
        weights = torch.split(self.first, self.channels, 1)
        x = self.bias.view(1, -1, 1, 1)
        for weight, scale in zip(weights, maps, strict=True):
            part = F.conv2d(scale, weight[:, :, None, None])
            if scale is not maps[0]:
                part = F.interpolate(part, size=size, mode="bilinear", align_corners=False)
            x = x + part
        return F.conv2d(F.relu(x), self.last.view(1, -1, 1, 1))[:, 0] + self.last_bias


class Distance(nn.Module):
    """The distance of each patch to the nearest one of a bank of good patches.

    Patches are standardised and projected on their principal components first.
    """

    projection: Tensor
    offset: Tensor
    bank: Tensor

    def __init__(self, projection: Tensor, offset: Tensor, bank: Tensor) -> None:
        super().__init__()
        self.register_buffer("projection", projection)  # (channels, components)
        self.register_buffer("offset", offset)  # (components,)
        self.register_buffer("bank", bank)  # (patches, components)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Compute cells, shape (n, h, w), on the grid of the middle scale."""
        grid = on_one_grid(maps)
        found = self.of_patches(grid.flatten(2).transpose(1, 2))
        return found.view(-1, grid.shape[2], grid.shape[3])

    def of_patches(self, patches: Tensor) -> Tensor:
        """Compute the distance of patches, shape (n, cells, channels): shape (n, cells)."""
        x = patches @ self.projection + self.offset
        own, theirs = (x * x).sum(-1), (self.bank * self.bank).sum(-1)
        nearest = (x @ (-2 * self.bank).T + theirs).amin(-1)  # The large array is made only twice.
        return (own + nearest).clamp_min(NEAREST).sqrt()


def top_mean(cells: Tensor, share: float) -> Tensor:
    """Compute the mean of the highest cells, (n, h, w): shape (n,). At least one cell counts."""
    flat = cells.flatten(1)
    return flat.topk(max(1, round(share * flat.shape[1])), 1).values.mean(1)


def fit_evidence(
    recipe: PatchRecipe,
    maps: Maps,
    labels: NDArray[np.int64],
    masks: tuple[Cells, NDArray[np.bool_]],
    train: Indices,
    seed: int,
) -> Evidence:
    """Train a head on the pictures at `train`.

    Args:
        recipe: how to train.
        maps: of all pictures.
        labels: of all pictures, shape (n,).
        masks: as `read_masks` gives them for the grid of the maps.
        train: indices of the training pictures. Good and bad ones are among them.
        seed: of weights, order and dropout.

    Returns:
        The head, for maps that are not standardised.
    """
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    mean, deviation = _scale(maps, train)
    first, last = nn.Linear(len(mean), recipe.hidden), nn.Linear(recipe.hidden, 1)
    nn.init.constant_(last.bias, PRIOR)
    head = nn.Sequential(first, nn.ReLU(), nn.Dropout(DROPOUT), last)
    good = int((labels[train] == 0).sum())
    weight = torch.tensor(good / (len(train) - good))
    batch = max(2, min(recipe.batch, len(train) // 4))
    steps = max(recipe.epochs * (len(train) // batch), LEAST_STEPS)
    optimiser = torch.optim.AdamW(
        head.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.learning_rate, total_steps=steps
    )
    order = np.concatenate(
        [draw.permutation(train) for _ in range(-(-steps * batch // len(train)))]
    )
    for step in range(steps):
        at = np.sort(order[step * batch : (step + 1) * batch])
        cells = head((maps.patches(at) - mean) / deviation)[..., 0]
        y = torch.from_numpy(labels[at]).float()
        loss = F.binary_cross_entropy_with_logits(
            top_mean(cells, TRAINED_TOP), y, pos_weight=weight
        )
        loss = loss + recipe.teach * _taught(cells, masks[0][at], masks[1][at])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return _unscaled(maps, first, last, mean, deviation)


LEAST_STEPS = 120
"""Few pictures are seen more often."""
TRAINED_TOP = 0.015
"""Share of the coarser cells that count in training."""


def _taught(cells: Tensor, masks: Cells, known: NDArray[np.bool_]) -> Tensor:
    """Compute the loss of cells against masks, over the pictures whose defect's place is known."""
    target = torch.from_numpy(masks.reshape(len(masks), -1) >= IN_MASK).float()
    loss = F.binary_cross_entropy_with_logits(cells, target, reduction="none")
    inside = (loss * target).sum(1) / target.sum(1).clamp_min(1)
    outside = (loss * (1 - target)).mean(1)
    return ((inside + CLEAN * outside) * torch.from_numpy(known)).mean()


def _scale(maps: Maps, train: Indices) -> tuple[Tensor, Tensor]:
    """Compute mean and deviation of each channel over at most 256 of the pictures."""
    some = train[:: max(1, len(train) // 256)]
    patches = maps.patches(some).flatten(0, 1)
    return patches.mean(0), patches.std(0) + 1e-5


def _unscaled(
    maps: Maps, first: nn.Linear, last: nn.Linear, mean: Tensor, deviation: Tensor
) -> Evidence:
    """Build the head for maps that are not standardised."""
    channels = [scale.shape[1] for scale in maps.scales]
    weight = first.weight / deviation
    return Evidence(weight, first.bias - weight @ mean, last.weight[0], last.bias[0], channels)


def together(members: Sequence[Evidence]) -> Evidence:
    """Make one head whose cells are the mean of the members' cells."""
    return Evidence(
        torch.cat([one.first for one in members]),
        torch.cat([one.bias for one in members]),
        torch.cat([one.last for one in members]) / len(members),
        torch.stack([one.last_bias for one in members]).mean(),
        members[0].channels,
    )


def fit_distance(recipe: PatchRecipe, maps: Maps, good: Indices, seed: int) -> Distance:
    """Choose the bank from the pictures at `good`, by a random choice of each one's patches."""
    draw = np.random.default_rng(seed)
    cells = maps.grid.shape[1]
    each = min(cells, max(PATCHES_OF_ONE, -(-recipe.bank // len(good))))
    chosen = [maps.grid[at][draw.permutation(cells)[:each]] for at in good]
    patches = torch.from_numpy(np.concatenate(chosen)).float()
    mean, deviation = patches.mean(0), patches.std(0) + 1e-3
    scaled = (patches - mean) / deviation
    some = scaled[torch.from_numpy(draw.permutation(len(scaled))[: 4 * recipe.bank])]
    _, vectors = torch.linalg.eigh(some.T @ some)
    axes = vectors[:, -min(recipe.components, vectors.shape[1]) :]
    projection = axes / deviation[:, None]
    offset = -mean @ projection
    return Distance(projection, offset, some[: recipe.bank] @ axes).eval()
