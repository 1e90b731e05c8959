"""How good a model is: probabilities of items that it did not train on, and their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ml.data.splits import Round, Split
from ml.figures.metrics import FIGURES, Figure, Interval, Probabilities, bootstrap
from ml.figures.thresholds import (
    Costs,
    Cuts,
    Thresholds,
    cuts_of,
    decide,
    fit_thresholds,
    item_costs,
)


@dataclass(frozen=True)
class Answers:
    """A model's answers on items that it did not train on.

    `p` are the probabilities of bad, shape (n,). `refused`, bool, shape (n,), says for which items
    a person must decide whatever `p` is, because they are unlike what the model knows; None: none.
    """

    p: Probabilities
    refused: NDArray[np.bool_] | None = None


Fit = Callable[[Split, Round], Answers]
"""Trains on a round and returns the answers on its test items."""


@dataclass(frozen=True)
class CrossValidation:
    """Probabilities of each item by a model that did not train on it.

    `p` has shape (tested items, splits): the same items, in each split's own folds. `fold`, of the
    same shape, is the fold that tested the item; `refused`, too, says whether the model left it to
    a person. `overlap` counts the groups on both sides of a round.
    """

    splits: tuple[Split, ...]
    items: tuple[str, ...]
    y: NDArray[np.int64]
    p: NDArray[np.float64]
    fold: NDArray[np.int64]
    groups: tuple[str, ...]
    refused: NDArray[np.bool_]
    overlap: int = 0

    def of(self, own: NDArray[np.bool_]) -> CrossValidation:
        """Return the items of this mask, shape (n,), alone."""
        at = np.flatnonzero(own).tolist()
        return replace(
            self,
            items=tuple(self.items[n] for n in at),
            y=self.y[own],
            p=self.p[own],
            fold=self.fold[own],
            groups=tuple(self.groups[n] for n in at),
            refused=self.refused[own],
        )

    @cached_property
    def _cuts(self) -> dict[tuple[int, frozenset[int], float], Cuts]:
        return {}

    def cuts(self, split: int, left_out: frozenset[int], spread: float) -> Cuts:
        """Return the cuts between the items of a split without these folds.

        They take most of the time of thresholds and do not depend on costs, so they are kept.
        """
        key = split, left_out, spread
        if key not in self._cuts:
            own = ~np.isin(self.fold[:, split], list(left_out))
            self._cuts[key] = cuts_of(self.y[own], self.p[own, split], spread)
        return self._cuts[key]

    def by_fold(self, figure: Figure) -> list[float]:
        """Compute the figure of each fold of each split."""
        found = []
        for at, split in enumerate(self.splits):
            for number in range(split.folds):
                own = self.fold[:, at] == number
                found.append(figure(self.y[own], self.p[own, at]))
        return found

    def mean_by_fold(self, values: NDArray[np.float64]) -> list[float]:
        """Compute the mean of values, shape of `p`, over the items of each fold of each split."""
        return [
            float(values[self.fold[:, at] == number, at].mean())
            for at, split in enumerate(self.splits)
            for number in range(split.folds)
        ]


def cross_validate(
    splits: Sequence[Split], fit: Fit, progress: Callable[[int, int], None]
) -> CrossValidation:
    """Train on every round of every split, and predict the items that the round tests.

    Args:
        splits: they must be of the same items.
        fit: trains on a round, and returns its answers on the round's test items.
        progress: called after each round with the number of rounds done and the total.

    Returns:
        Probabilities of all tested items, shape (items, splits).

    Raises:
        LeakError: a group or item is on both sides of a round.

    Example:
        >>> from ml.data.splits import Item, make_split
        >>> items = [Item(f"lot-{n}", n % 2, f"lot-{n}") for n in range(8)]
        >>> splits = [make_split("lots", items, {}, folds=2, seed=seed) for seed in range(3)]
        >>> def fit(split, one):
        ...     return Answers(np.full(len(one.test), 0.5))
        >>> found = cross_validate(splits, fit, lambda done, total: None)
        >>> found.p.shape
        (8, 3)
    """
    first = splits[0]
    evaluated = first.evaluated
    p = np.full((len(first.items), len(splits)), np.nan)
    refused = np.zeros(p.shape, bool)
    total, done, overlap = sum(split.folds for split in splits), 0, 0
    for at, split in enumerate(splits):
        assert split.items == first.items, "splits of one study must have the same items"
        for one in split.rounds():
            tested = fit(split, one)
            p[one.test, at] = tested.p
            if tested.refused is not None:
                refused[one.test, at] = tested.refused
            done += 1
            overlap += one.overlap
            progress(done, total)
    assert np.isfinite(p[evaluated]).all(), "an item was not tested"
    return CrossValidation(
        tuple(splits),
        tuple(first.items[at] for at in evaluated),
        first.labels[evaluated],
        p[evaluated],
        np.stack([split.fold[evaluated] for split in splits], axis=1),
        tuple(first.groups[at] for at in evaluated),
        refused[evaluated],
        overlap,
    )


SPREADS = (0.0, 0.5, 1.0, 2.0)
"""Spreads of logits to try: see `fit_thresholds`."""


def deployed_thresholds(evaluated: CrossValidation, costs: Costs) -> Thresholds:
    """Fit the thresholds of the model that is put to use, on all tested items."""
    splits = evaluated.p.shape[1]
    paid = [_paid(evaluated, split, frozenset(), costs) for split in range(splits)]
    spread = SPREADS[int(np.argmin(np.sum(paid, axis=0)))]
    return fit_thresholds(np.repeat(evaluated.y, splits), evaluated.p.ravel(), costs, spread)


def _paid(
    evaluated: CrossValidation, split: int, left_out: frozenset[int], costs: Costs
) -> NDArray[np.float64]:
    """Compute the cost of each spread: of each fold's items, by thresholds of the other folds.

    Folds in `left_out` count for nothing. With one other fold there is none to fit on, so that all
    cost the same and the first one counts.
    """
    paid, folds = np.zeros(len(SPREADS)), evaluated.fold[:, split]
    numbers = set(folds.tolist()) - left_out
    for number in sorted(numbers) if len(numbers) > 1 else ():
        own = folds == number
        y, p = evaluated.y[own], evaluated.p[own, split]
        for at, spread in enumerate(SPREADS):
            thresholds = evaluated.cuts(split, left_out | {number}, spread).cheapest(costs)
            paid[at] += item_costs(y, decide(p, thresholds), costs).sum()
    return paid


def verdicts(evaluated: CrossValidation, costs: Costs) -> NDArray[np.str_] | None:
    """Decide on each item, shape of `p`, by thresholds and spread fitted on the other folds.

    Return None if there are no other folds to fit on.
    """
    found = np.full(evaluated.p.shape, "needs_human")
    for at in range(evaluated.p.shape[1]):
        numbers = np.unique(evaluated.fold[:, at])
        if len(numbers) < 2:
            return None
        for number in numbers:
            own = evaluated.fold[:, at] == number
            without = frozenset({int(number)})
            spread = SPREADS[int(np.argmin(_paid(evaluated, at, without, costs)))]
            thresholds = evaluated.cuts(at, without, spread).cheapest(costs)
            found[own, at] = decide(evaluated.p[own, at], thresholds)
    return np.where(evaluated.refused, "needs_human", found)


MEAN = Figure(lambda _, values, drawn: drawn @ values / drawn.sum(axis=1))
"""The mean of a value of each item, such as its cost."""


def figures(evaluated: CrossValidation, paid: NDArray[np.float64] | None) -> dict[str, Interval]:
    """Compute each figure over all tested items, as the mean over the splits, with its interval.

    `paid` are the costs of their `verdicts`, shape of `p`, if there are any.
    """
    found = {
        name: bootstrap(mean_over_splits(figure), evaluated.y, evaluated.p, evaluated.groups)
        for name, figure in FIGURES.items()
    }
    if paid is not None:
        found["cost"] = bootstrap(MEAN, evaluated.y, paid.mean(axis=1), evaluated.groups)
    return found


def mean_over_splits(figure: Figure) -> Figure:
    """Make the figure of a `p` of shape (n, splits): the mean over the columns."""
    return Figure(
        lambda y, p, drawn: np.mean(
            [figure.of_draws(y, p[:, at], drawn) for at in range(p.shape[1])], axis=0
        )
    )


def flat(found: Mapping[str, Interval]) -> dict[str, float]:
    """Turn figures into metrics ap, ap_low, ap_high, …. Values that are not defined are left out.

    Example:
        >>> flat({"ap": Interval(0.9, 0.8, float("nan"))})
        {'ap': 0.9, 'ap_low': 0.8}
    """
    values = {
        f"{name}{suffix}": value
        for name, one in found.items()
        for suffix, value in (("", one.value), ("_low", one.low), ("_high", one.high))
    }
    return {name: value for name, value in values.items() if np.isfinite(value)}


def figures_by_source(evaluated: CrossValidation, people: frozenset[str]) -> dict[str, float]:
    """Return counts and figures of the items of each source of labels; none if there is one.

    Photos reach reviewers because the model is unsure or somebody disagrees. So those that people
    labelled are harder than others, and figures of all together say less of the line.

    Args:
        evaluated: out-of-fold predictions.
        people: the items whose label reviewers agreed on. The plant labelled the others.
    """
    by_people = np.array([item in people for item in evaluated.items])
    if not by_people.any():
        return {}
    found: dict[str, float] = {}
    for name, own in (("plant", ~by_people), ("people", by_people)):
        part = evaluated.of(own)
        found |= {f"items_{name}": float(own.sum()), f"bad_{name}": float(part.y.sum())}
        if len(set(part.y.tolist())) == 2:
            found |= flat({f"{one}_{name}": x for one, x in figures(part, None).items()})
    return found
