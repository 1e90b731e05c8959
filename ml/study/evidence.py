"""Which candidate is the best, by evidence and not by luck.

Few failed lots show little: five candidates may find all four of them. Then the figures of one
study do not tell them apart, and a larger study, the cost of the verdicts, and simplicity decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.figures.cross_validation import mean_over_splits
from ml.figures.metrics import FIGURES, paired_bootstrap
from ml.figures.savings import COST_RATIO

DECIDES = "ap"
"""The figure that decides: average precision. Its whole interval must be above zero."""

SAME_COST = 0.01
"""Verdicts that differ by less cost the same: one review in a hundred items.

A model that says only 0 and 1 leaves nothing to a person, so the last reviews would let it win.
"""

Runs = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Contender:
    """A tested candidate: tags and metrics of its run, and its predictions as JSON."""

    name: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    predictions: Mapping[str, Any]
    order: int = 0

    @property
    def ap(self) -> float:
        """The figure that decides."""
        return _ap(self.metrics)

    @property
    def cost(self) -> float:
        """The cost of its verdicts over that of a person for every item, if there is one."""
        return self.metrics.get(COST_RATIO, self.metrics.get("cost", np.inf))


def size(run: Mapping[str, Any]) -> float:
    """Return how many bad items a run was tested on, over all splits."""
    return float(run["metrics"].get("bad", 0)) * len(str(run["tags"].get("splits", "")).split(","))


def largest_study(runs: Iterable[Mapping[str, Any]], one: Contender) -> Runs:
    """Return the runs of the largest earlier study that is larger than that of this candidate."""
    own = size({"tags": one.tags, "metrics": one.metrics})
    larger = [
        run for run in runs if run["tags"].get("splits") != one.tags["splits"] and size(run) > own
    ]
    most = max(larger, key=size, default=None)
    return (
        [run for run in larger if run["tags"]["splits"] == most["tags"]["splits"]] if most else []
    )


def ap_in(study: Runs, candidate: str) -> float:
    """Return the average precision of a candidate in a study; 0 if it was not in it."""
    found = [_ap(run["metrics"]) for run in study if run["tags"]["candidate"] == candidate]
    return max(found, default=0.0)


def _ap(metrics: Mapping[str, float]) -> float:
    """Return the figure that decides; 0 if only items of one class were tested."""
    return metrics.get(DECIDES, 0.0)


def best(contenders: Sequence[Contender], larger: Runs = ()) -> Contender:
    """Choose the best candidate of a study.

    The one with the highest average precision leads. Candidates whose paired 95 % interval to it
    holds zero tie with it. Of these wins the best of the largest earlier study, then that with the
    cheapest verdicts, then the simplest. Costs within `SAME_COST` are equal.

    Args:
        contenders: of one study, tested on the same items.
        larger: runs of a larger study of the same model, if there is one.
    """
    leader = max(contenders, key=lambda one: one.ap)

    tied = [one for one in contenders if one is leader or ties(leader, one)]
    known = {id(one): ap_in(larger, one.tags["candidate"]) for one in tied}
    tied = [one for one in tied if known[id(one)] > max(known.values()) - 1e-6]
    cheapest = min(one.cost for one in tied)
    tied = [one for one in tied if one.cost <= cheapest + SAME_COST]
    return min(tied, key=lambda one: (one.order, one.cost, one.name))


def ties(leader: Contender, other: Contender) -> bool:
    """Return whether nothing shows that the leader is better, on the same items."""
    p, q = (np.asarray(one.predictions["p"]) for one in (leader, other))
    y, groups = np.asarray(leader.predictions["y"]), leader.predictions["groups"]
    return not paired_bootstrap(mean_over_splits(FIGURES[DECIDES]), y, p, q, groups).low > 0


def larger_study_in_words(runs: Runs, tags: Mapping[str, str], metrics: Mapping[str, float]) -> str:
    """Say how a candidate did in the largest earlier study; empty if that found nothing better."""
    study = largest_study(runs, Contender("", tags, metrics, {}))
    if not study:
        return ""
    winner = max(study, key=lambda run: _ap(run["metrics"]))
    here, there = ap_in(study, tags["candidate"]), _ap(winner["metrics"])
    if here >= there:
        return ""
    own = f"had {DECIDES} {here:.3f}" if here else "was not tested"
    return (
        f"in the larger study of {winner['metrics']['bad']:.0f} bad ones it {own}, and "
        f"{winner['tags']['candidate']} had {there:.3f}"
    )


def earlier_winner_in_words(
    runs: Runs, tags: Mapping[str, str], metrics: Mapping[str, float]
) -> str:
    """Say which candidate did better on the same splits, in any study; empty if none did."""
    same = [run for run in runs if run["tags"].get("splits") == tags["splits"]]
    winner = max(same, key=lambda run: _ap(run["metrics"]), default=None)
    if winner is None or _ap(winner["metrics"]) < _ap(metrics) + 1e-6:
        return ""
    return (
        f"on the same splits {winner['tags']['candidate']} had {DECIDES} "
        f"{_ap(winner['metrics']):.3f}, and it had {_ap(metrics):.3f}"
    )
