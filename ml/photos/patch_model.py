"""The model of patches: evidence and distance, joined and calibrated, with its map and its limits.

Score of a picture: e + w · d, where e is the mean of the highest cells of evidence and d that of
distance, each standardised by held-out good pictures. The weight w is the one of `WEIGHTS` whose
calibrated probabilities of held-out pictures have the least log loss. Where nothing bad is known,
the score is d alone, and p = 0.5 is what 95 % of held-out good pictures stay below.

The map is the same sum cell by cell. Its scale is its own: 0.5 is a little more than what no cell
of 95 % of the held-out good pictures exceeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lakehouse.errors import PlatelakeError
from ml.data.loader import ALONE, Indices, Tensors
from ml.data.masks import read_masks
from ml.data.pictures import PictureFrame
from ml.data.source import Source
from ml.figures.metrics import Probabilities, log_loss
from ml.photos.appearance import beyond
from ml.photos.fitted import Classifier, Exported, calibrate
from ml.photos.heads import (
    Distance,
    Evidence,
    fit_distance,
    fit_evidence,
    together,
    top_mean,
)
from ml.photos.patches import Backbone, Maps, maps_of
from ml.photos.recipe import PatchRecipe
from ml.photos.training import repeatable
from ml.photos.unlike import Known, embeddings, fit_known, fit_limits

WEIGHTS = (0.0, 0.25, 0.5, 1.0)
"""Weights of the distance to try, against the evidence."""
CLEAN = 0.95
"""Share of held-out good pictures whose map shows nothing."""
APART = 0.1
"""So far the map's threshold lies from there towards the middle one of the bad pictures."""
SLOPE = 2.0
"""Logit for each standard deviation of good pictures, where no bad picture is known."""
PREDICTED_AT_ONCE = 32
READ_AT_ONCE = 256


@dataclass(frozen=True)
class Standard:
    """Mean and deviation of a score over held-out good pictures."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, scores: NDArray[np.float64]) -> Standard:
        """Measure scores of good pictures."""
        return cls(float(scores.mean()), float(scores.std()) + 1e-3)

    def scaled(self, scores: Any) -> Any:
        """Standardise scores or cells, arrays or tensors."""
        return (scores - self.mean) / self.deviation


@dataclass(frozen=True)
class Joined:
    """How the two scores become one, and the calibration of the sum."""

    evidence: Standard
    distance: Standard
    weight: float
    slope: float
    offset: float
    clean: float
    """The sum of a cell that is 0.5 in the map."""


class PatchModule(Exported):
    """The whole model: pictures in; probability, heat and unlike out."""

    outputs = ("probability", "heat", "unlike")

    def __init__(self, backbone: Backbone | None, fitted: FittedPatches) -> None:
        super().__init__()
        self.backbone, self.evidence, self.distance = backbone, fitted.evidence, fitted.distance
        self.known = fitted.known
        self.joined, self.share = fitted.joined, fitted.recipe.top

    def cells(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Compute the joined scores, shape (n,), and the joined cells, shape (n, h, w)."""
        joined, share = self.joined, self.share
        far = self.distance(maps)
        scale, weight = joined.distance, joined.weight
        score = weight * scale.scaled(top_mean(far, share))
        cells = weight * scale.scaled(enlarged(far, maps[0].shape[2:]))
        if self.evidence is not None:
            near, scale = self.evidence(maps), joined.evidence
            score = score + scale.scaled(top_mean(near, share))
            cells = cells + scale.scaled(near)
        return score, cells

    def of_maps(self, maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Compute calibrated logits, heat and unlike from maps."""
        score, cells = self.cells(maps)
        joined = self.joined
        heat = torch.sigmoid(joined.slope * (cells - joined.clean))
        return score * joined.slope + joined.offset, heat, self.known(maps)

    def logits(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Compute calibrated logits and heat."""
        assert self.backbone is not None
        return self.of_maps(self.backbone(pictures))[:2]

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Compute probability, heat and unlike."""
        assert self.backbone is not None
        logits, heat, unlike = self.of_maps(self.backbone(pictures))
        return torch.sigmoid(logits), heat, unlike


@dataclass(frozen=True)
class FittedPatches(Classifier):
    """A trained model of patches: p = sigmoid(slope · score + offset).

    `evidence` is None where nothing bad was known. `limits` are those of light and sharpness.
    """

    recipe: PatchRecipe
    evidence: Evidence | None
    distance: Distance
    known: Known
    joined: Joined
    limits: dict[str, float]
    height: int
    width: int

    def module(self) -> PatchModule:
        """Return the whole model, ready for export."""
        return PatchModule(Backbone(self.recipe, self.height, self.width), self).eval()


@dataclass(frozen=True)
class Found:
    """What a model says on pictures: probabilities, heat, (n, h, w), and unlike, (n,).

    `refused`, (n,), says which are beyond one of its limits, so that a person must decide.
    """

    p: Probabilities
    heat: NDArray[np.float32]
    unlike: NDArray[np.float64]
    refused: NDArray[np.bool_]


def fit_patches(
    recipe: PatchRecipe,
    frame: PictureFrame,
    train: Indices,
    folds: Sequence[tuple[Indices, Indices]],
) -> FittedPatches:
    """Fit the model on the frame's pictures at `train`.

    Args:
        recipe: how to train.
        frame: the pictures.
        train: indices of the training pictures, shape (n,).
        folds: pairs (fit, validate) of indices into the frame. All `validate` together are `train`.
            A head is trained on each `fit`; the scores of `validate` join and calibrate.

    Returns:
        The model. Where a fold's `fit` holds no bad picture, it knows good pictures only.

    Raises:
        PlatelakeError: there is no good picture in a fold, weights or masks are not those that the
            recipe names, or the backbone's stages do not fit.
    """
    labels = frame.labels
    if any((labels[fit] == 0).sum() < 1 for fit, _ in folds):
        raise PlatelakeError(
            "table pictures: a fold trains on no good picture; patches are compared with those of "
            "good ones: ingest photos of good parts"
        )
    with repeatable(recipe):
        maps = maps_of(recipe, frame)
        features = embeddings(maps)
        held_out = _held_out(recipe, frame, maps, folds)
        good = train[labels[train] == 0]
        fitted = FittedPatches(
            recipe=recipe,
            evidence=together(held_out.members) if held_out.members else None,
            distance=fit_distance(recipe, maps, good, recipe.seed),
            known=fit_known(features, train, list(folds)),
            limits=fit_limits(
                (one for tensors, _ in _batches(recipe, frame, train) for one in tensors),
                frame.least_side,
            ),
            height=frame.height,
            width=frame.width,
            joined=_joined(held_out, labels, train),
        )
    log = structlog.get_logger()
    log.info("patches", weight=fitted.joined.weight, pictures=len(train))
    return fitted


def predict_patches(fitted: FittedPatches, frame: PictureFrame, at: Indices) -> Found:
    """Predict as the model's file does, but from the maps that are already computed."""
    module = PatchModule(None, fitted).eval()
    found = []
    with repeatable(fitted.recipe), torch.inference_mode():
        maps = maps_of(fitted.recipe, frame)
        for part in np.array_split(at, max(1, len(at) // PREDICTED_AT_ONCE)):
            found.append(module.of_maps(maps.at(part)))
    logits, heat, unlike = (torch.cat(parts) for parts in zip(*found, strict=True))
    p = 1 / (1 + np.exp(-logits.double().numpy()))
    refused = unlike.numpy() > 1
    for tensors, places in _batches(fitted.recipe, frame, at):
        out = [beyond(fitted.limits, one, None) is not None for one in tensors]
        refused[places] |= np.array(out)
    return Found(p, heat.numpy(), unlike.double().numpy(), refused)


@dataclass(frozen=True)
class _HeldOut:
    """What heads say on training pictures that they did not see.

    `members` are the heads of evidence, one a fold; none where nothing bad is known. `scores` has
    shape (2, n), `cells` (2, n, h, w): evidence, then distance.
    """

    members: list[Evidence]
    scores: NDArray[np.float64]
    cells: NDArray[np.float32]


def _held_out(
    recipe: PatchRecipe,
    frame: PictureFrame,
    maps: Maps,
    folds: Sequence[tuple[Indices, Indices]],
) -> _HeldOut:
    labels, count = frame.labels, len(frame.items)
    size = maps.scales[0].shape[2:]
    found = _HeldOut([], np.zeros((2, count)), np.zeros((2, count, *size), np.float32))
    masks = read_masks(recipe.masks, recipe.masks_sha256, frame, *maps.side)
    knows_bad = all(labels[fit].any() for fit, _ in folds)
    for number, (fit, validate) in enumerate(folds):
        seed = 100 * recipe.seed + number
        heads: list[Evidence | Distance] = [fit_distance(recipe, maps, fit[labels[fit] == 0], seed)]
        if knows_bad:
            found.members.append(fit_evidence(recipe, maps, labels, masks, fit, seed))
            heads.insert(0, found.members[-1])
        for part in np.array_split(validate, max(1, len(validate) // PREDICTED_AT_ONCE)):
            own = maps.at(part)
            for row, head in zip((0, 1)[-len(heads) :], heads, strict=True):
                with torch.inference_mode():
                    cells = head(own)
                    found.scores[row, part] = top_mean(cells, recipe.top).double().numpy()
                    found.cells[row, part] = enlarged(cells, size).numpy()
    return found


def enlarged(cells: Tensor, size: Sequence[int]) -> Tensor:
    """Put cells, (n, h, w), on a finer grid."""
    return F.interpolate(cells[:, None], size=tuple(size), mode="bilinear", align_corners=False)[
        :, 0
    ]


def _joined(held_out: _HeldOut, labels: NDArray[np.int64], train: Indices) -> Joined:
    y, (near, far) = labels[train], held_out.scores[:, train]
    evidence, distance = (Standard.of(scores[y == 0]) for scores in (near, far))
    if held_out.members:
        tried = {}
        for weight in WEIGHTS:
            score = evidence.scaled(near) + weight * distance.scaled(far)
            slope, offset = calibrate(score, y)
            tried[weight] = (log_loss(score * slope + offset, y), slope, offset)
        weight = min(tried, key=lambda one: tried[one][0])
        _, slope, offset = tried[weight]
    else:
        limit = float(np.quantile(distance.scaled(far)[y == 0], CLEAN))
        weight, slope, offset = 1.0, SLOPE, -SLOPE * limit
    cells = weight * distance.scaled(held_out.cells[1])
    if held_out.members:
        cells = cells + evidence.scaled(held_out.cells[0])
    highest = cells[train].max((1, 2))
    clean = float(np.quantile(highest[y == 0], CLEAN))
    if held_out.members:
        clean += APART * max(0.0, float(np.median(highest[y == 1])) - clean)
    return Joined(evidence, distance, weight, slope, offset, clean)


def _batches(
    recipe: PatchRecipe, frame: PictureFrame, at: Indices
) -> Iterator[tuple[Tensors, Indices]]:
    """Read pictures, some at a time, with their positions in `at`."""
    yield from Source(frame, at, recipe.memory_bytes, ALONE).batches(READ_AT_ONCE, None)
