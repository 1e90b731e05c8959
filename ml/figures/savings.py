"""What a model saves a plant: what it decides alone, its mistakes, and the cost of its verdicts.

All of it is out of fold: each item is decided by a model that did not train on it and by thresholds
fitted on other folds. The cost is compared with that of a person who inspects every item. A model
saves something if the ratio is below 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ml.figures.cross_validation import MEAN, CrossValidation
from ml.figures.metrics import Interval, bootstrap
from ml.figures.thresholds import Costs, item_costs

COST_RATIO = "cost_ratio"
EXACT = 0.95


def savings(
    evaluated: CrossValidation, found: NDArray[np.str_], costs: Costs
) -> dict[str, Interval]:
    """Compute what a model saves, as means over items and splits, each with its interval.

    Args:
        evaluated: out-of-fold probabilities.
        found: their `verdicts`, of the shape of `p`.
        costs: of an escape, a scrapped good item and a review.

    Returns:
        `decided`: share of the items that the model decides alone. `escapes`: bad items called
        good, `false_alarms`: good items called bad, both as shares of all items. `refused`: share
        left to a person because they are unlike the known ones. `cost_ratio`: the cost of the
        verdicts over that of a person for every item; it is left out if a review costs nothing.
    """
    y = evaluated.y[:, None]
    values = {
        "decided": found != "needs_human",
        "escapes": (found == "good") & (y == 1),
        "false_alarms": (found == "bad") & (y == 0),
        "refused": evaluated.refused,
    }
    if costs.review:
        values[COST_RATIO] = item_costs(y, found, costs) / costs.review
    return {
        name: bootstrap(MEAN, evaluated.y, value.mean(axis=1, dtype=float), evaluated.groups)
        for name, value in values.items()
    }


def saves_nothing(metrics: Mapping[str, float]) -> bool:
    """Return whether the verdicts cost as much as a person who inspects every item, or more."""
    return metrics.get(COST_RATIO, 0.0) >= 1


def savings_in_words(metrics: Mapping[str, float]) -> str:
    """Say what a model saves, from the metrics of its run; empty if they are not there.

    Example:
        >>> metrics = {"decided": 0.93, "escapes": 0.002, "false_alarms": 0.0, "cost_ratio": 0.27}
        >>> savings_in_words(metrics)[:18], savings_in_words(metrics)[-49:]
        ('decides 93 % alone', 'the verdicts cost 0.27 of a person for every item')
        >>> interval = {"cost_ratio_low": 0.2, "cost_ratio_high": 0.35}
        >>> savings_in_words(metrics | interval).partition("cost ")[2]
        '0.27 (0.20 to 0.35, 95 %) of a person for every item'
    """
    if COST_RATIO not in metrics:
        return ""
    escapes, alarms = 1_000 * metrics["escapes"], 1_000 * metrics["false_alarms"]
    cost = f"{metrics[COST_RATIO]:.2f}{_interval(metrics, COST_RATIO)}"
    nothing = ": it saves nothing" if saves_nothing(metrics) else ""
    return (
        f"decides {100 * metrics['decided']:.0f} % alone; of 1,000 items {escapes:.3g} bad ones "
        f"pass as good and {alarms:.3g} good ones are called bad; the verdicts cost "
        f"{cost} of a person for every item{nothing}"
    )


def _interval(metrics: Mapping[str, float], name: str) -> str:
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    return "" if low is None or high is None else f" ({low:.2f} to {high:.2f}, 95 %)"


def most_missed(bad: int) -> float:
    """Return the largest share of bad items that a model may miss although it found all of `bad`.

    The upper end of the exact 95 % interval of 0 misses (Clopper and Pearson 1934, one-sided).

    Example:
        >>> round(most_missed(4), 2), round(most_missed(100), 2)
        (0.53, 0.03)
    """
    return 1.0 if bad < 1 else float(1 - (1 - EXACT) ** (1 / bad))


def evidence_in_words(metrics: Mapping[str, float]) -> str:
    """Say how little so many bad items can show, from the metrics of a run."""
    bad = int(metrics.get("bad", 0))
    return (
        f"tested on {bad} bad ones: a model that finds all of them may still miss up to "
        f"{100 * most_missed(bad):.0f} % of bad ones (exact 95 % bound)"
    )
