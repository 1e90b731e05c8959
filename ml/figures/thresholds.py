"""Three verdicts from a probability: the thresholds that cost a plant the least.

`y` is int64, shape (n,), 1 for failed or bad. `p` is float64, shape (n,), the probability of that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from lakehouse.settings import Settings
from ml.figures.metrics import Labels, Probabilities


@dataclass(frozen=True)
class Costs:
    """The cost of an item, in one unit that the plant chooses.

    `escape` is for a bad item with the verdict good, `scrap` for a good item with the verdict bad,
    `review` for any item with the verdict needs_human.
    """

    escape: float
    scrap: float
    review: float


def costs_of(settings: Settings) -> Costs:
    """Return the costs in the settings, which count until somebody sets others in the app."""
    return Costs(settings.cost_escape, settings.cost_scrap, settings.cost_review)


@dataclass(frozen=True)
class Thresholds:
    """p < low: good; p ≥ high: bad; between them, a person decides."""

    low: float
    high: float


def decide(p: float | Probabilities, thresholds: Thresholds) -> NDArray[np.str_]:
    """Turn probabilities into verdicts, an array of text of the same shape.

    Example:
        >>> decide(np.array([0.1, 0.5, 0.9]), Thresholds(0.2, 0.8)).tolist()
        ['good', 'needs_human', 'bad']
    """
    is_good, is_bad = np.less(p, thresholds.low), np.greater_equal(p, thresholds.high)
    return np.where(is_bad, "bad", np.where(is_good, "good", "needs_human"))


def item_costs(y: Labels, verdicts: NDArray[np.str_], costs: Costs) -> NDArray[np.float64]:
    """Compute the cost of each verdict (Elkan 2001; with review as a third decision, Chow 1970).

    A review finds the truth, so it costs only itself.

    Args:
        y: labels, 1 for bad.
        verdicts: good, bad or needs_human, of the shape of `y`.
        costs: of an escape, a scrapped good item and a review.

    Returns:
        The costs, of the same shape, in their unit.

    Example:
        >>> y, verdicts = np.array([0, 1, 0]), np.array(["good", "good", "needs_human"])
        >>> item_costs(y, verdicts, Costs(escape=10, scrap=1, review=2)).tolist()
        [0.0, 10.0, 2.0]
    """
    escaped, scrapped = (verdicts == "good") & (y == 1), (verdicts == "bad") & (y == 0)
    reviewed = verdicts == "needs_human"
    paid = costs.escape * escaped + costs.scrap * scrapped + costs.review * reviewed
    return np.asarray(paid, np.float64)


def expected_cost(y: Labels, p: Probabilities, thresholds: Thresholds, costs: Costs) -> float:
    """Compute the mean cost of an item by these thresholds.

    Args:
        y: labels, shape (n,), 1 for bad.
        p: probabilities of bad, shape (n,).
        thresholds: they turn probabilities into verdicts.
        costs: of an escape, a scrapped good item and a review.

    Returns:
        The mean over the items, in the unit of the costs.

    Example:
        >>> y, p = np.array([0, 1, 0, 1]), np.array([0.1, 0.1, 0.5, 0.9])
        >>> expected_cost(y, p, Thresholds(0.2, 0.8), Costs(escape=10, scrap=1, review=2))
        3.0
    """
    return float(item_costs(y, decide(p, thresholds), costs).mean())


def fit_thresholds(y: Labels, p: Probabilities, costs: Costs, spread: float = 0.0) -> Thresholds:
    """Find the pair of thresholds with the least cost on these items.

    Many pairs cost the same. The one with the widest review wins: `low` is just above the highest
    probability that is good, and `high` is the lowest that is bad. So a person decides on a new
    item with a probability that lies where no item did.

    Args:
        y: labels, shape (n,), 1 for bad. Give items that the model was not trained on.
        p: probabilities of bad, shape (n,).
        costs: of an escape, a scrapped good item and a review.
        spread: new items are not those that were tested. With a spread, each item counts as a
            normal distribution of logits with this deviation, so thresholds keep away from items
            whose mistakes cost much.

    Returns:
        The thresholds. A high one above 1 means that no item is bad.

    Example:
        >>> y, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.25, 0.5, 0.9])
        >>> found = fit_thresholds(y, p, Costs(escape=10, scrap=1, review=2))
        >>> decide(np.array([0.25, 0.3, 0.49, 0.5]), found).tolist()
        ['good', 'needs_human', 'needs_human', 'bad']
    """
    return cuts_of(y, p, spread).cheapest(costs)


@dataclass(frozen=True)
class Cuts:
    """Where thresholds may lie among items, and how many of these lie on each side.

    All have the shape (cuts,). A low threshold at a cut is `lows`, a high one `highs`. `below`
    counts the items below, `bad_below` the bad ones of these, `good_above` the good ones above.
    """

    lows: NDArray[np.float64]
    highs: NDArray[np.float64]
    below: NDArray[np.float64]
    bad_below: NDArray[np.float64]
    good_above: NDArray[np.float64]

    def cheapest(self, costs: Costs) -> Thresholds:
        """Find the pair with the least cost; of several, the one with the widest review."""
        low_cost = costs.escape * self.bad_below - costs.review * self.below
        high_cost = costs.scrap * self.good_above + costs.review * self.below
        # For each high cut, the best low cut at or below it. The first of equals is the widest.
        is_new_best = np.diff(np.minimum.accumulate(low_cost), prepend=np.inf) < 0
        best_low = np.maximum.accumulate(np.where(is_new_best, np.arange(len(low_cost)), 0))
        total = low_cost[best_low] + high_cost
        high = len(total) - 1 - int(np.argmin(total[::-1]))
        return Thresholds(float(self.lows[best_low[high]]), float(self.highs[high]))


def cuts_of(y: Labels, p: Probabilities, spread: float = 0.0) -> Cuts:
    """Return the cuts between these items, whatever mistakes cost; see `fit_thresholds`."""
    order = np.argsort(p, kind="stable")
    y, p = y[order], p[order]
    distinct = np.flatnonzero(np.diff(p)) + 1
    at = np.concatenate([[0], distinct, [len(p)]])
    lows = np.concatenate([[0.0], np.nextafter(p[at[1:] - 1], 2.0)])
    highs = np.concatenate([p[at[:-1]], [np.nextafter(1.0, 2.0)]])
    if spread:
        some = np.unique(np.linspace(0, len(at) - 1, min(len(at), MOST_CUTS)).astype(np.intp))
        at, lows, highs = at[some], lows[some], highs[some]
        share = _shares_below(p, at, spread)
        return Cuts(lows, highs, share.sum(1), share @ y, (1 - share) @ (1 - y))
    bad_below = np.concatenate([[0], np.cumsum(y)])[at]
    good_above = np.concatenate([np.cumsum((1 - y)[::-1])[::-1], [0]])[at]
    return Cuts(lows, highs, at, bad_below, good_above)


MOST_CUTS = 512
"""With a spread, so many cuts are tried at most, to limit memory."""
LEAST_P = 1e-9


def _shares_below(p: Probabilities, at: NDArray[np.intp], spread: float) -> NDArray[np.float64]:
    """Compute which share of each item, (n,), lies below each cut, (cuts,): (cuts, n).

    A cut lies before the item `at` of the sorted `p`, in the middle between two logits.
    """
    inside = np.clip(p, LEAST_P, 1 - LEAST_P)
    logits = np.log(inside) - np.log1p(-inside)
    ends = np.concatenate([[-np.inf], logits, [np.inf]])
    cuts = (ends[at] + ends[at + 1]) / 2
    return np.asarray(ndtr((cuts[:, None] - logits) / spread), np.float64)
