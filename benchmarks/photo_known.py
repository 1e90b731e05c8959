"""How good a model of patches is if only some defects are known."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold

from ml.data.folds import Indices
from ml.data.pictures import PictureFrame
from ml.data.splits import Split
from ml.figures.metrics import auroc, average_precision, bootstrap, recall_at_fpr
from ml.photos.patch_model import fit_patches, predict_patches
from ml.photos.recipe import PatchRecipe


def of_known(
    recipe: PatchRecipe, frame: PictureFrame, split: Split, counts: Sequence[int]
) -> dict[str, Any]:
    """Train with so many of each round's bad photos, and test as ever. A count: its figures.

    The bad photos come from as many groups as there are, in an order that is drawn once a round.
    """
    found = {}
    for count in counts:
        p = np.zeros(len(frame.items))
        for one in split.rounds():
            train = with_some(frame, one.train, count, seed=one.fold)
            fitted = fit_patches(recipe, frame, train, inner(recipe, frame, train))
            p[one.test] = predict_patches(fitted, frame, one.test).p
        area = bootstrap(auroc, frame.labels, p, frame.groups)
        found[str(count)] = {
            "auroc": round(area.value, 4),
            "auroc_low": round(area.low, 4),
            "auroc_high": round(area.high, 4),
            "ap": round(average_precision(frame.labels, p), 4),
            "recall_at_5_fpr": round(recall_at_fpr(frame.labels, p), 4),
        }
    return found


def with_some(frame: PictureFrame, train: Indices, count: int, seed: int) -> Indices:
    """Return the good photos and `count` bad ones, first one of each group, then a second."""
    draw = np.random.default_rng(seed)
    bad = draw.permutation(train[frame.labels[train] == 1])
    turn: dict[str, int] = {}
    rank = []
    for at in bad:
        group = frame.groups[at]
        rank.append(turn.get(group, 0))
        turn[group] = rank[-1] + 1
    some = bad[np.argsort(rank, kind="stable")][:count]
    return np.sort(np.concatenate([train[frame.labels[train] == 0], some]))


def inner(
    recipe: PatchRecipe, frame: PictureFrame, train: Indices
) -> list[tuple[Indices, Indices]]:
    """Split training photos by groups; with few bad ones, a part may have none."""
    groups = [frame.groups[at] for at in train]
    folds = GroupKFold(recipe.members, shuffle=True, random_state=recipe.seed)
    return [(train[fit], train[out]) for fit, out in folds.split(train, groups=groups)]
