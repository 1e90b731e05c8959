"""What other costs would do to a model: its thresholds, its cost, and how much people review."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ml.figures.cross_validation import CrossValidation, deployed_thresholds, verdicts
from ml.figures.metrics import Interval
from ml.figures.savings import savings
from ml.figures.thresholds import Costs, Thresholds, item_costs


@dataclass(frozen=True)
class Expected:
    """What a model does with these costs.

    `thresholds` are those that it would be put to use with. `verdicts` are those on each item, of
    the shape of `p`, and `cost` is the mean cost of an item. `shares` are as `savings` returns
    them. Verdicts, cost and shares are out of fold, so they are None and empty if the model was
    tested on one fold only.
    """

    thresholds: Thresholds
    verdicts: NDArray[np.str_] | None = field(compare=False)
    cost: float | None
    shares: Mapping[str, Interval]

    @property
    def review(self) -> Interval | None:
        """The share of the items that a person reviews."""
        decided = self.shares.get("decided")
        return (
            Interval(*(1 - x for x in (decided.value, decided.high, decided.low)))
            if decided
            else None
        )


def expected(evaluated: CrossValidation, costs: Costs) -> Expected:
    """Fit the thresholds to the costs, and say what follows.

    Args:
        evaluated: out-of-fold predictions of the model.
        costs: of an escape, a scrapped good item and a review.

    Example:
        >>> y, p = np.array([0, 1, 0, 1]), np.array([[0.1], [0.9], [0.2], [0.8]])
        >>> fold, names = np.array([[0], [0], [1], [1]]), tuple("abcd")
        >>> tested = CrossValidation((), names, y, p, fold, names, np.zeros((4, 1), bool))
        >>> found = expected(tested, Costs(escape=100, scrap=10, review=1))
        >>> found.thresholds.high, found.cost
        (0.8, 0.5)
    """
    thresholds = deployed_thresholds(evaluated, costs)
    found = verdicts(evaluated, costs)
    if found is None:
        return Expected(thresholds, None, None, {})
    cost = float(item_costs(evaluated.y[:, None], found, costs).mean())
    return Expected(thresholds, found, cost, savings(evaluated, found, costs))
