"""Splits without leaks: made once, before anything is fitted, and stored as a table.

Items that must stay together (readings of one lot, copies of one picture, photos of one part) are
one group. All of a group is in one fold. Every training uses `Split.rounds`, which counts the
groups and items on both sides and raises LeakError if there are any.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from lakehouse.delta.lake import Lake
from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.tables.splits import SPLITS
from ml.data.errors import LeakError, TooFewError
from ml.data.folds import (
    ONLY_TRAINS,
    Indices,
    forward,
    groups_by_label,
    require_both,
    require_both_everywhere,
    stratified,
    table_of,
)

PROTOCOLS = ("kfold", "forward", "leave_one_group_out")


@dataclass(frozen=True)
class Item:
    """One lot or picture.

    `label` is 1 for failed or bad, 0 for good. Splits forward in time need `day`.
    """

    item: str
    label: int
    group: str
    day: date | None = None


@dataclass(frozen=True)
class Round:
    """One training: indices into the split's items, to train on and to test on."""

    fold: int
    train: Indices
    test: Indices
    overlap: int


@dataclass(frozen=True)
class Split:
    """Items with their folds, sorted by item.

    `versions` are the Delta versions of the tables that the items come from. `fold`, shape
    (items,), is the fold that tests an item; -1 if the item only trains.
    """

    kind: str
    protocol: str
    seed: int
    folds: int
    versions: Mapping[str, int]
    items: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: tuple[str, ...]
    fold: NDArray[np.int64]

    @property
    def split_id(self) -> str:
        """Hash that names the split. Splits of equal content have the same name."""
        text = json.dumps(
            [
                *(self.kind, self.protocol, self.seed, self.folds),
                dict(sorted(self.versions.items())),
                *(list(self.items), self.labels.tolist(), list(self.groups), self.fold.tolist()),
            ]
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def evaluated(self) -> Indices:
        """Indices of the items that some round tests."""
        return np.flatnonzero(self.fold != ONLY_TRAINS)

    def rounds(self) -> Iterator[Round]:
        """Yield one training for each fold.

        Raises:
            LeakError: a group or item is on both sides. Raised before that round.
        """
        for fold in range(self.folds):
            test = np.flatnonzero(self.fold == fold)
            train = np.flatnonzero(self.fold != fold)
            yield Round(fold, train, test, self._overlap(train, test))

    def inner(self, train: Indices, folds: int, seed: int) -> list[tuple[Indices, Indices]]:
        """Split a round's training items into folds again, by the same groups.

        Args:
            train: indices of the round's training items.
            folds: how many folds to make. If good or bad groups are fewer, as many as these.
            seed: of the shuffle.

        Returns:
            Indices (fit, validate) for each fold. There are at least two folds.

        Raises:
            TooFewError: fewer than two groups hold good items, or bad ones.
        """
        groups = [self.groups[at] for at in train]
        fewest = min(groups_by_label(self.labels[train], groups))
        if fewest < 2:
            raise TooFewError(
                table_of(self.kind),
                f"table {table_of(self.kind)}: a round of split {self.split_id} trains on {fewest} "
                "group of one label; 2 are needed, one to fit and one to validate: ingest more, or "
                "label more",
            )
        folds = min(folds, fewest)
        fold = stratified(self.labels[train], groups, folds, seed, self.kind)
        pairs = []
        for number in range(folds):
            fit, validate = train[fold != number], train[fold == number]
            self._overlap(fit, validate)
            pairs.append((fit, validate))
        return pairs

    def _overlap(self, train: Indices, test: Indices) -> int:
        shared = {self.groups[at] for at in train} & {self.groups[at] for at in test}
        shared |= {self.items[at] for at in train} & {self.items[at] for at in test}
        if shared:
            shown = ", ".join(sorted(shared)[:3])
            raise LeakError(
                f"split {self.split_id}: {len(shared)} groups are in both training and test, such "
                f"as {shown}; make a new split by `platelake train`, with groups that keep "
                "together what belongs together",
                len(shared),
            )
        return 0


def make_split(
    kind: str,
    items: Sequence[Item],
    versions: Mapping[str, int],
    protocol: str = "kfold",
    folds: int = 5,
    seed: int = 0,
) -> Split:
    """Split the items into folds.

    Items are sorted by name first, so the order in which they came has no effect.

    Args:
        kind: lots or photos.
        items: what to split, each name once.
        versions: Delta version of each table that the items come from.
        protocol: kfold (folds with equal shares of bad items, as far as the groups allow), forward
            (the first two thirds of the days train, the rest are tested) or leave_one_group_out.
        folds: number of folds, for kfold only.
        seed: of the shuffle, for kfold only.

    Returns:
        The split. It is not stored yet: see `store_split`.

    Raises:
        UsageError: the protocol is unknown.
        TooFewError: good or bad items are too few. The message says what there is and what is
            needed.
        LeakError: an item is listed twice.

    Example:
        >>> items = [Item(f"lot-{n}", n % 2, f"day-{n // 2}") for n in range(8)]
        >>> split = make_split("lots", items, {"lots": 3}, folds=2)
        >>> [(len(one.train), len(one.test), one.overlap) for one in split.rounds()]
        [(4, 4, 0), (4, 4, 0)]
    """
    if protocol not in PROTOCOLS:
        raise UsageError(f"no protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
    ordered = sorted(items, key=lambda item: item.item)
    twice = [name for name, times in Counter(i.item for i in ordered).items() if times > 1]
    if twice:
        raise LeakError(f"{len(twice)} {kind} are listed twice, such as {twice[0]}")
    labels = np.array([item.label for item in ordered], np.int64)
    groups = [item.group for item in ordered]
    require_both(kind, labels)
    if protocol == "forward":
        fold = forward(kind, labels, groups, [item.day for item in ordered])
        folds = 1
    elif protocol == "leave_one_group_out":
        names = sorted(set(groups))
        fold = np.array([names.index(group) for group in groups], np.int64)
        folds = len(names)
    else:
        fold = stratified(labels, groups, folds, seed, kind)
    require_both_everywhere(kind, labels, fold)
    names_of_items = tuple(item.item for item in ordered)
    return Split(
        kind, protocol, seed, folds, dict(versions), names_of_items, labels, tuple(groups), fold
    )


def store_split(lake: Lake, split: Split) -> None:
    """Store the split in the table `splits`. A split that is there already does not change."""
    about = (split.split_id, split.kind, split.protocol, split.seed, split.folds)
    versions = json.dumps(dict(split.versions), sort_keys=True)
    rows = [
        SPLITS.row(*about, versions, item, int(label), group, int(fold))
        for item, label, group, fold in zip(
            split.items, split.labels, split.groups, split.fold, strict=True
        )
    ]
    known = {row["split_id"] for row in lake.rows(SPLITS, "split_id")}
    if split.split_id not in known:
        lake.append_rows(SPLITS, rows, split.split_id)


def load_split(lake: Lake, split_id: str) -> Split:
    """Read a split from the table `splits`.

    Raises:
        PlatelakeError: the table lacks the split, or its rows changed after it was made.
    """
    rows = [row for row in lake.rows(SPLITS) if row["split_id"] == split_id]
    if not rows:
        raise PlatelakeError(f"table splits has no split {split_id}; train again to make one")
    rows.sort(key=lambda row: row["item"])
    first = rows[0]
    found = Split(
        *(first["kind"], first["protocol"], first["seed"], first["folds"]),
        json.loads(first["versions"]),
        tuple(row["item"] for row in rows),
        np.array([row["label"] for row in rows], np.int64),
        tuple(row["group"] for row in rows),
        np.array([row["fold"] for row in rows], np.int64),
    )
    if found.split_id != split_id:
        raise PlatelakeError(
            f"table splits: split {split_id} changed after it was made; restore the table, or "
            "train again to make another"
        )
    return found
