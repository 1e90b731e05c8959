"""Figures of a model, from labels and probabilities, each with its interval.

`y` is int64, shape (n,), 1 for failed or bad; `p` is float64, shape (n,), the probability of that.
Intervals are percentile bootstraps over groups (Efron 1979; Davison and Hinkley 1997, ch. 5):
items of one group are drawn together, since they are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]
Draws = NDArray[np.int64]
"""How often each draw holds each item, shape (draws, n)."""

OfDraws = Callable[[Labels, Probabilities, Draws], NDArray[np.float64]]

FALSE_POSITIVES = 0.05
DRAWS = 1_000
DRAWS_AT_ONCE = 4_000_000
"""Items of all draws that are in memory together."""

COVERAGE = 0.95


class Figure:
    """A figure of labels and probabilities, and of a thousand draws of them in one go.

    `of_draws` gives it for each draw, shape (draws,), NaN where it is not defined.
    """

    def __init__(self, of_draws: OfDraws) -> None:
        self.of_draws = of_draws

    def __call__(self, y: Labels, p: Probabilities) -> float:
        """The figure of the items as they are."""
        return float(self.of_draws(y, p, np.ones((1, len(y)), np.int64))[0])


@Figure
def auroc(y: Labels, p: Probabilities, drawn: Draws) -> NDArray[np.float64]:
    """Area under the ROC curve; NaN where only one class is there."""
    found, false = _curve(y, p, drawn)
    twice = ((found[:, 1:] + found[:, :-1]) * np.diff(false, axis=1)).sum(axis=1)
    return _share(twice, 2 * found[:, -1] * false[:, -1])


@Figure
def average_precision(y: Labels, p: Probabilities, drawn: Draws) -> NDArray[np.float64]:
    """Average precision (AP), the step-wise area under precision and recall."""
    found, false = _curve(y, p, drawn)
    precision = _share(found, found + false)[:, 1:]
    area = (np.diff(found, axis=1) * np.nan_to_num(precision)).sum(axis=1)
    return np.where(false[:, -1] > 0, _share(area, found[:, -1]), np.nan)


@Figure
def recall_at_fpr(y: Labels, p: Probabilities, drawn: Draws) -> NDArray[np.float64]:
    """Largest recall at a threshold with at most 5 % false positives."""
    found, false = _curve(y, p, drawn)
    allowed = _share(false, false[:, -1:]) <= FALSE_POSITIVES
    most = np.where(allowed, found, 0).max(axis=1)
    return np.where(false[:, -1] > 0, _share(most, found[:, -1]), np.nan)


@Figure
def brier(y: Labels, p: Probabilities, drawn: Draws) -> NDArray[np.float64]:
    """Mean squared difference of probability and label (Brier 1950)."""
    return _share(drawn @ (p - y) ** 2, drawn.sum(axis=1))


def _curve(y: Labels, p: Probabilities, drawn: Draws) -> tuple[Draws, Draws]:
    """True and false positives of each draw by falling threshold, both (draws, thresholds).

    The first threshold is above all, the last finds all.
    """
    order = np.argsort(-p, kind="stable")
    y, p, drawn = y[order], p[order], drawn[:, order]
    at = np.flatnonzero(np.append(np.diff(p) != 0, True))  # Equal ones are found together.
    found, false = (np.cumsum(drawn * side, axis=1)[:, at] for side in (y, 1 - y))
    return np.pad(found, ((0, 0), (1, 0))), np.pad(false, ((0, 0), (1, 0)))


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Quotients; NaN where there is nothing to divide by."""
    share = np.full(np.shape(part), np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share


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


def decide(p: float | Probabilities, thresholds: Thresholds) -> NDArray[np.str_]:
    """The verdicts on these probabilities: text of the same shape."""
    is_good, is_bad = np.less(p, thresholds.low), np.greater_equal(p, thresholds.high)
    return np.where(is_bad, "bad", np.where(is_good, "good", "needs_human"))


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
    values = [figure.of_draws(y, p, drawn) for drawn in _draws(groups, seed)]
    return _interval(figure(y, p), np.concatenate(values))


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
        figure.of_draws(y, challenger, drawn) - figure.of_draws(y, champion, drawn)
        for drawn in _draws(groups, seed)
    ]
    return _interval(figure(y, challenger) - figure(y, champion), np.concatenate(values))


def _draws(groups: Sequence[str], seed: int) -> Iterator[Draws]:
    """A thousand draws of groups with replacement, as many at a time as memory takes."""
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    count = int(member.max()) + 1
    draw = np.random.default_rng(seed)
    at_once = max(1, DRAWS_AT_ONCE // len(member))
    for first in range(0, DRAWS, at_once):
        drawn = draw.integers(0, count, (min(at_once, DRAWS - first), count))
        yield np.stack([np.bincount(one, minlength=count) for one in drawn])[:, member]


def _interval(value: float, values: NDArray[np.float64]) -> Interval:
    known = values[np.isfinite(values)]
    if not len(known):
        return Interval(value, float("nan"), float("nan"))
    edge = (1 - COVERAGE) / 2
    low, high = np.quantile(known, [edge, 1 - edge])
    return Interval(value, float(low), float(high))


def log_loss(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of labels 0 or 1 under logits, both of shape (n,)."""
    return float((np.logaddexp(0, logits) - labels * logits).mean())
