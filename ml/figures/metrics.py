"""Figures of a model from labels and probabilities, each with its interval.

`y` is int64, shape (n,), 1 for failed or bad. `p` is float64, shape (n,), the probability of that.
Intervals are percentile bootstraps over groups (Efron 1979; Davison and Hinkley 1997, ch. 5):
items of one group are drawn together, because they are not independent.

Example:
    >>> y, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
    >>> auroc(y, p), round(average_precision(y, p), 3), recall_at_fpr(y, p)
    (0.75, 0.833, 0.5)
    >>> round(brier(y, p), 3)
    0.158
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
"""Items of all draws that are in memory at the same time."""

COVERAGE = 0.95


class Figure:
    """A figure of labels and probabilities, which also computes many draws of them at once.

    Call it with `y` and `p`, both of shape (n,), for the figure itself. `of_draws(y, p, drawn)`
    returns the figure of each draw, shape (draws,), NaN if it is not defined. `drawn`, int64,
    shape (draws, n), says how often a draw holds an item.
    """

    def __init__(self, of_draws: OfDraws) -> None:
        self.of_draws = of_draws

    def __call__(self, y: Labels, p: Probabilities) -> float:
        """Compute the figure with each item once."""
        return float(self.of_draws(y, p, np.ones((1, len(y)), np.int64))[0])


@Figure
def auroc(y: Labels, p: Probabilities, drawn: Draws) -> NDArray[np.float64]:
    """Compute the area under the ROC curve by trapezoids (Hanley and McNeil 1982).

    It is the probability that a bad item has a higher `p` than a good one; equal ones count half.
    It is NaN if only one class is there.
    """
    found, false = _curve(y, p, drawn)
    twice = ((found[:, 1:] + found[:, :-1]) * np.diff(false, axis=1)).sum(axis=1)
    return _share(twice, 2 * found[:, -1] * false[:, -1])


@Figure
def average_precision(y: Labels, p: Probabilities, drawn: Draws) -> NDArray[np.float64]:
    """Compute the average precision (AP): the sum of precision times each step in recall.

    This is scikit-learn's `average_precision_score`, without interpolation. It is NaN if only one
    class is there.
    """
    found, false = _curve(y, p, drawn)
    precision = _share(found, found + false)[:, 1:]
    area = (np.diff(found, axis=1) * np.nan_to_num(precision)).sum(axis=1)
    return np.where(false[:, -1] > 0, _share(area, found[:, -1]), np.nan)


@Figure
def recall_at_fpr(y: Labels, p: Probabilities, drawn: Draws) -> NDArray[np.float64]:
    """Compute the largest recall of all thresholds with at most 5 % false positives.

    It is NaN if only one class is there.
    """
    found, false = _curve(y, p, drawn)
    allowed = _share(false, false[:, -1:]) <= FALSE_POSITIVES
    most = np.where(allowed, found, 0).max(axis=1)
    return np.where(false[:, -1] > 0, _share(most, found[:, -1]), np.nan)


@Figure
def brier(y: Labels, p: Probabilities, drawn: Draws) -> NDArray[np.float64]:
    """Compute the mean squared difference between probability and label (Brier 1950)."""
    return _share(drawn @ (p - y) ** 2, drawn.sum(axis=1))


def _curve(y: Labels, p: Probabilities, drawn: Draws) -> tuple[Draws, Draws]:
    """Count true and false positives of each draw, both of shape (draws, thresholds).

    Thresholds fall. The first is above all probabilities, the last finds all items.
    """
    order = np.argsort(-p, kind="stable")
    y, p, drawn = y[order], p[order], drawn[:, order]
    at = np.flatnonzero(np.append(np.diff(p) != 0, True))  # Equal p are found together.
    found, false = (np.cumsum(drawn * side, axis=1)[:, at] for side in (y, 1 - y))
    return np.pad(found, ((0, 0), (1, 0))), np.pad(false, ((0, 0), (1, 0)))


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Divide; NaN if `whole` is 0."""
    share = np.full(np.shape(part), np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share


FIGURES: Mapping[str, Figure] = {
    "auroc": auroc,
    "ap": average_precision,
    "recall_at_5_fpr": recall_at_fpr,
    "brier": brier,
}
"""The figures that every training reports, besides its expected cost."""

SMALLER_IS_BETTER = frozenset({"brier", "cost"})


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def calibration(y: Labels, p: Probabilities, bins: int = 10) -> list[tuple[float, float, int]]:
    """Compute mean probability, share of bad items and count for bins of equal count."""
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, len(p))) if len(part)]
    return [(float(p[part].mean()), float(y[part].mean()), len(part)) for part in parts]


def bootstrap(
    figure: Figure, y: Labels, p: Probabilities, groups: Sequence[str], seed: int = 0
) -> Interval:
    """Compute a figure with its 95 % percentile bootstrap interval over groups (Efron 1979).

    A thousand draws take groups with replacement. Draws in which the figure is not defined are
    left out.

    Args:
        figure: such as `auroc`.
        y: labels, shape (n,), 1 for bad.
        p: probabilities of bad, shape (n,).
        groups: group of each item, length n. Items of one group are drawn together.
        seed: of the draws.

    Returns:
        The figure of the items with the bounds. The bounds are NaN if no draw defines it.

    Example:
        >>> y = np.array([0, 1] * 20)
        >>> p = np.where(y == 1, 0.6, 0.4)
        >>> bootstrap(auroc, y, p, [f"lot-{n // 2}" for n in range(40)])
        Interval(value=1.0, low=1.0, high=1.0)
    """
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
    """Compute challenger minus champion with its 95 % interval, both on the same draws.

    Args:
        figure: such as `average_precision`.
        y: labels, shape (n,), 1 for bad.
        challenger: its probabilities of bad, shape (n,).
        champion: its probabilities for the same items, shape (n,).
        groups: group of each item, length n. Items of one group are drawn together.
        seed: of the draws.

    Returns:
        The difference of the figures with its bounds. If the interval is above 0, the challenger's
        figure is larger.

    Example:
        >>> y = np.array([0, 1] * 20)
        >>> good, bad = np.where(y == 1, 0.6, 0.4), np.where(y == 1, 0.4, 0.6)
        >>> paired_bootstrap(auroc, y, good, bad, [f"lot-{n // 2}" for n in range(40)])
        Interval(value=1.0, low=1.0, high=1.0)
    """
    values = [
        figure.of_draws(y, challenger, drawn) - figure.of_draws(y, champion, drawn)
        for drawn in _draws(groups, seed)
    ]
    return _interval(figure(y, challenger) - figure(y, champion), np.concatenate(values))


def _draws(groups: Sequence[str], seed: int) -> Iterator[Draws]:
    """Yield a thousand draws of groups with replacement, as many at a time as fit into memory."""
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
    """Compute the mean negative log-likelihood of labels 0 or 1 from logits, both shape (n,)."""
    return float((np.logaddexp(0, logits) - labels * logits).mean())
