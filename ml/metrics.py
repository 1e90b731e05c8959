"""Figures of a model, from labels and probabilities, each with its interval.

`y` is int64, shape (n,), 1 for failed or bad; `p` is float64, shape (n,), the probability of that.
Intervals are percentile bootstraps over groups (Efron 1979; Davison and Hinkley 1997, ch. 5):
items of one group are drawn together, since they are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]
Figure = Callable[[Labels, Probabilities], float]

FALSE_POSITIVES = 0.05
DRAWS = 1_000
COVERAGE = 0.95


def auroc(y: Labels, p: Probabilities) -> float:
    """Area under the ROC curve; NaN where only one class is there."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, p)) if 0 < y.sum() < len(y) else float("nan")


def average_precision(y: Labels, p: Probabilities) -> float:
    """Average precision (AP), the step-wise area under precision and recall."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(y, p)) if 0 < y.sum() < len(y) else float("nan")


def recall_at_fpr(y: Labels, p: Probabilities) -> float:
    """Largest recall at a threshold with at most 5 % false positives."""
    from sklearn.metrics import roc_curve

    if not 0 < y.sum() < len(y):
        return float("nan")
    false_positives, recall, _ = roc_curve(y, p, drop_intermediate=False)
    return float(recall[false_positives <= FALSE_POSITIVES].max())


def brier(y: Labels, p: Probabilities) -> float:
    """Mean squared difference of probability and label (Brier 1950)."""
    return float(np.mean((p - y) ** 2))


FIGURES: Mapping[str, Figure] = {
    "auroc": auroc,
    "ap": average_precision,
    "recall_at_5_fpr": recall_at_fpr,
    "brier": brier,
}
"""What every training reports, besides its expected cost."""

SMALLER_IS_BETTER = frozenset({"brier", "cost"})


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Costs:
    """What a wrong or missing decision costs, in one unit of the plant's choice."""

    escape: float
    scrap: float
    review: float


@dataclass(frozen=True)
class Thresholds:
    """p < low: good; p ≥ high: bad; between them a person looks."""

    low: float
    high: float


def decide(p: float, thresholds: Thresholds) -> str:
    """The verdict on one probability."""
    if p >= thresholds.high:
        return "bad"
    return "good" if p < thresholds.low else "needs_human"


def expected_cost(y: Labels, p: Probabilities, thresholds: Thresholds, costs: Costs) -> float:
    """Mean cost an item: escapes, good parts scrapped, and reviews (which find the truth)."""
    good, bad = p < thresholds.low, p >= thresholds.high
    escaped, scrapped = good & (y == 1), bad & (y == 0)
    total = costs.escape * escaped.sum() + costs.scrap * scrapped.sum()
    return float((total + costs.review * (~good & ~bad).sum()) / len(y))


def fit_thresholds(y: Labels, p: Probabilities, costs: Costs) -> Thresholds:
    """The pair of thresholds of least cost on these items; give validation items only.

    Cuts lie midway between neighbouring probabilities. Of pairs that cost the same, the one
    with the widest review wins: what no item decides, a person should.
    """
    order = np.argsort(p, kind="stable")
    y, p = y[order], p[order]
    distinct = np.flatnonzero(np.diff(p)) + 1
    at = np.concatenate([[0], distinct, [len(p)]])
    cuts = np.concatenate([[0.0], (p[distinct - 1] + p[distinct]) / 2, [np.nextafter(1.0, 2.0)]])
    bad_below = np.concatenate([[0], np.cumsum(y)])[at]
    good_above = np.concatenate([np.cumsum((1 - y)[::-1])[::-1], [0]])[at]
    low_cost = costs.escape * bad_below - costs.review * at
    high_cost = costs.scrap * good_above + costs.review * at
    # For each high cut the best low cut at or below it; the earliest of equals is the widest.
    is_new_best = np.diff(np.minimum.accumulate(low_cost), prepend=np.inf) < 0
    best_low = np.maximum.accumulate(np.where(is_new_best, np.arange(len(at)), 0))
    total = low_cost[best_low] + high_cost
    high = len(total) - 1 - int(np.argmin(total[::-1]))
    return Thresholds(float(cuts[best_low[high]]), float(cuts[high]))


def calibration(y: Labels, p: Probabilities, bins: int = 10) -> list[tuple[float, float, int]]:
    """Mean probability, share of bad ones and count, by bins of equal count."""
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, len(p))) if len(part)]
    return [(float(p[part].mean()), float(y[part].mean()), len(part)) for part in parts]


def bootstrap(
    figure: Figure, y: Labels, p: Probabilities, groups: Sequence[str], seed: int = 0
) -> Interval:
    """The figure with its interval; draws in which it is not defined are left out."""
    values = [figure(y[at], p[at]) for at in _draws(groups, seed)]
    return _interval(figure(y, p), values)


def paired_bootstrap(
    figure: Figure,
    y: Labels,
    challenger: Probabilities,
    champion: Probabilities,
    groups: Sequence[str],
    seed: int = 0,
) -> Interval:
    """Challenger minus champion on the same items: both are judged on the same draws."""
    values = [
        figure(y[at], challenger[at]) - figure(y[at], champion[at]) for at in _draws(groups, seed)
    ]
    return _interval(figure(y, challenger) - figure(y, champion), values)


def _draws(groups: Sequence[str], seed: int) -> list[NDArray[np.intp]]:
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(member == one) for one in range(member.max() + 1)]
    draw = np.random.default_rng(seed)
    return [
        np.concatenate([members[one] for one in draw.integers(0, len(members), len(members))])
        for _ in range(DRAWS)
    ]


def _interval(value: float, values: Sequence[float]) -> Interval:
    known = [one for one in values if np.isfinite(one)]
    if not known:
        return Interval(value, float("nan"), float("nan"))
    edge = (1 - COVERAGE) / 2
    low, high = np.quantile(known, [edge, 1 - edge])
    return Interval(value, float(low), float(high))


def log_loss(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of labels 0 or 1 under logits, both of shape (n,)."""
    return float((np.logaddexp(0, logits) - labels * logits).mean())
