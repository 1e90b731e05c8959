"""What a promotion rests on: two versions on the same items, by cost, by slice, and mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.figures.cross_validation import CrossValidation
from ml.figures.predictions import PREDICTIONS_FILE, predictions_from_json
from ml.figures.thresholds import Costs, Thresholds, expected_cost
from ml.figures.what_if import Expected, expected
from ml.registry import Registry, Version
from ml.study.promotion import again_file

CUTS = tuple(round(0.05 * n, 2) for n in range(1, 20))
MISTAKES, FAR = 10, 0.1


@dataclass(frozen=True)
class Side:
    """One of the two versions: its predictions, and what they cost."""

    version: Version
    tested: CrossValidation
    expected: Expected
    curve: tuple[float, ...]
    """Cost of an item with one threshold, without review, at each of CUTS."""


@dataclass(frozen=True)
class Slice:
    """Items of one part of the data, and what each version does with them.

    `missed`, `alarms` and `reviews` have a number for each side: means over the splits.
    """

    name: str
    items: int
    bad: int
    missed: tuple[float, ...]
    alarms: tuple[float, ...]
    reviews: tuple[float, ...]


@dataclass(frozen=True)
class Mistake:
    """An item whose probability is more than FAR from its label, the farthest first."""

    item: str
    is_bad: bool
    p: float


@dataclass(frozen=True)
class Dossier:
    """A version, the one before it if both were tested on the same items, and where they differ."""

    sides: tuple[Side, ...]
    slices: tuple[Slice, ...]
    mistakes: tuple[Mistake, ...]


def dossier(registry: Registry, version: Version, before: Version | None, costs: Costs) -> Dossier:
    """Gather what the runs of two versions have stored. Nothing is trained.

    Args:
        registry: where both are.
        version: the challenger, or a champion.
        before: the version to compare with. It is left out if it was not tested on the same items.
        costs: of an escape, a scrapped good item and a review.

    Returns:
        The sides, the version first; slices by month, if items are lots, and by label; mistakes of
        the version.
    """
    stored = [(version, registry.read_json(version.run_id, PREDICTIONS_FILE))]
    if before is not None and before.number != version.number:
        other = _on_the_same_items(registry, version, before, stored[0][1])
        stored += [(before, other)] if other else []
    sides = tuple(_side(one, predictions_from_json(found), costs) for one, found in stored)
    return Dossier(sides, tuple(_slices(sides)), _mistakes(sides[0].tested))


def _on_the_same_items(
    registry: Registry, version: Version, before: Version, own: dict[str, Any]
) -> dict[str, Any] | None:
    found: dict[str, Any] = registry.read_json(before.run_id, PREDICTIONS_FILE)
    if found["splits"] != own["splits"]:
        found = registry.find_json(version.run_id, again_file(before.number))
    return found if found and found["items"] == own["items"] else None


def _side(version: Version, tested: CrossValidation, costs: Costs) -> Side:
    y, p = np.repeat(tested.y, tested.p.shape[1]), tested.p.ravel()
    curve = tuple(expected_cost(y, p, Thresholds(cut, cut), costs) for cut in CUTS)
    return Side(version, tested, expected(tested, costs), curve)


def _slices(sides: Sequence[Side]) -> list[Slice]:
    tested = sides[0].tested
    found = [side.expected.verdicts for side in sides]
    decided = [one for one in found if one is not None]
    if len(decided) < len(sides):  # One fold: no thresholds of other folds.
        return []
    masks = {"good": tested.y == 0, "bad": tested.y == 1}
    months = np.array([item[:7] if item[4:5] == "-" else "" for item in tested.items])
    masks |= {month: months == month for month in np.unique(months).tolist() if month}
    return [_slice(name, mask, tested.y, decided) for name, mask in masks.items() if mask.any()]


def _slice(
    name: str, mask: NDArray[np.bool_], y: NDArray[np.int64], decided: Sequence[NDArray[np.str_]]
) -> Slice:
    own, bad = [one[mask] for one in decided], (y[mask] == 1)[:, None]

    def count(which: Sequence[NDArray[np.bool_]]) -> tuple[float, ...]:
        return tuple(float(one.sum(axis=0).mean()) for one in which)

    return Slice(
        name,
        int(mask.sum()),
        int(bad.sum()),
        count([(one == "good") & bad for one in own]),
        count([(one == "bad") & ~bad for one in own]),
        count([one == "needs_human" for one in own]),
    )


def _mistakes(tested: CrossValidation) -> tuple[Mistake, ...]:
    p = tested.p.mean(axis=1)
    far = np.abs(tested.y - p)
    worst = [at for at in np.argsort(-far, kind="stable")[:MISTAKES] if far[at] > FAR]
    return tuple(Mistake(tested.items[at], bool(tested.y[at]), float(p[at])) for at in worst)
