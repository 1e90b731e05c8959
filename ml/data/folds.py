"""Which fold tests each item: stratified by label and group, or forward in time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.data.errors import TooFewError

FIT_SHARE = 2 / 3
"""Share of the days that a split forward in time fits on: 22 of 33."""
ONLY_TRAINS = -1

Indices = NDArray[np.intp]


def require_both(kind: str, labels: NDArray[np.int64]) -> None:
    """Refuse items that are all good, or all bad."""
    bad = int(labels.sum())
    if 0 < bad < len(labels):
        return
    table = table_of(kind)
    raise TooFewError(
        table,
        f"table {table} has {len(labels)} labelled {kind}, {bad} of them bad: a model needs both "
        "good and bad ones; ingest more of the plant's data, or label more",
    )


def require_both_everywhere(kind: str, labels: NDArray[np.int64], fold: Indices) -> None:
    """Refuse a split unless its tested items, and each round's training, have good and bad ones."""
    evaluated = fold != ONLY_TRAINS
    parts = {"the tested ones": evaluated}
    parts |= {f"the training of fold {n}": fold != n for n in np.unique(fold[evaluated])}
    for name, part in parts.items():
        bad, count = int(labels[part].sum()), int(part.sum())
        if not 0 < bad < count:
            table = table_of(kind)
            raise TooFewError(
                table,
                f"table {table}: of {count} {kind} in {name}, {bad} are bad; both good and bad "
                "ones are needed there: ingest more, or take another protocol",
            )


def table_of(kind: str) -> str:
    """Name the table that has the labels of lots or photos."""
    return "lots" if kind == "lots" else "picture_names"


def groups_by_label(labels: NDArray[np.int64], groups: Sequence[str]) -> list[int]:
    """Count the groups that hold good items, and those that hold bad ones."""
    both = list(zip(groups, labels.tolist(), strict=True))
    return [len({group for group, own in both if own == label}) for label in (0, 1)]


def stratified(
    labels: NDArray[np.int64], groups: Sequence[str], folds: int, seed: int, kind: str
) -> NDArray[np.int64]:
    """Return each item's fold. Folds share the bad items evenly, as far as the groups allow."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    for label, count in enumerate(groups_by_label(labels, groups)):
        if count < folds:
            table = table_of(kind)
            raise TooFewError(
                table,
                f"table {table}: {count} groups of {kind} are {'bad' if label else 'good'}, "
                f"fewer than the {folds} folds; ask for fewer folds by --folds, or ingest more",
            )
    apart = len(set(groups)) == len(groups)
    splitter: Any = StratifiedKFold if apart else StratifiedGroupKFold
    parts = splitter(folds, shuffle=True, random_state=seed)
    fold = np.full(len(labels), ONLY_TRAINS, np.int64)
    blank = np.zeros(len(labels))
    for number, (_, test) in enumerate(parts.split(blank, labels, None if apart else groups)):
        fold[test] = number
    return fold


def forward(
    kind: str, labels: NDArray[np.int64], groups: Sequence[str], days: Sequence[date | None]
) -> NDArray[np.int64]:
    """Train on the first two thirds of the days, test on the rest. No day is on both sides."""
    known = sorted({day for day in days if day is not None})
    last_fit = known[max(int(len(known) * FIT_SHARE) - 1, 0)] if len(known) > 1 else None
    evaluated = np.array([day is not None and day > (last_fit or day) for day in days])
    both = [set(labels[side].tolist()) == {0, 1} for side in (evaluated, ~evaluated)]
    if not all(both):
        raise TooFewError(
            table_of(kind),
            f"the {len(known)} days of {kind} cannot be split forward in time: both the first two "
            "thirds and the rest need good and bad ones; ingest more days",
        )
    crossing = {group for group, tested in zip(groups, evaluated, strict=True) if tested} & {
        group for group, tested in zip(groups, evaluated, strict=True) if not tested
    }
    # A group that reaches into the tested days would be known from training, so it only trains.
    only_trains = np.array([group in crossing for group in groups])
    return np.where(evaluated & ~only_trains, 0, ONLY_TRAINS).astype(np.int64)
