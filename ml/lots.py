"""Lots as a model sees them: readings and labels at pinned versions, and features from them.

Bands are fitted on the lots that a model trains on, and on no other. So the features of a round of
cross-validation are computed here, from the readings, by the NumPy form of the statistics; the
table `lot_features`, whose bands know all lots, is for people and not for training.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from lakehouse.errors import UsageError
from lakehouse.io import Lake
from lakehouse.stage import Stage
from lakehouse.statistics import (
    DISTANCES,
    TOGETHER,
    VALUES,
    Array,
    Band,
    band_statistics,
    fit_band,
    value_statistics,
)
from lakehouse.tables.lots import LOTS
from lakehouse.tables.readings import readings
from lakehouse.transforms.labels import FAILED, UNKNOWN
from ml.splits import Indices, Item

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class LotFrame:
    """Labelled lots with their readings, sorted by day and lot.

    `values[n]` maps each variable to lot n's readings, shape (readings,), in the variable's unit.
    """

    versions: Mapping[str, int]
    variables: tuple[str, ...]
    days: tuple[date, ...]
    lots: tuple[str, ...]
    labels: NDArray[np.int64]
    values: tuple[Mapping[str, Array], ...]

    @property
    def names(self) -> list[str]:
        """day/lot of each lot."""
        return [f"{day}/{lot}" for day, lot in zip(self.days, self.lots, strict=True)]

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of all that a model can learn from."""
        digest = hashlib.sha256(repr((self.variables, self.names, self.labels.tolist())).encode())
        for values in self.values:
            for name in self.variables:
                digest.update(values[name].tobytes())
        return digest.hexdigest()

    def split_items(self, group: str = "lot") -> list[Item]:
        """The lots as items of a split; groups are lots, or whole days."""
        groups = self.names if group == "lot" else [str(day) for day in self.days]
        return [
            Item(name, int(label), of, day)
            for name, label, of, day in zip(self.names, self.labels, groups, self.days, strict=True)
        ]

    def fit_bands(self, train: Indices, width: float) -> dict[str, Band]:
        """The bands of these lots' readings."""
        return {
            name: fit_band(np.concatenate([self.values[at][name] for at in train]), width)
            for name in self.variables
        }

    def features(self, bands: Mapping[str, Band]) -> Matrix:
        """The features of every lot, shape (lots, features), in `feature_names` order."""
        rows = [
            plain | band_statistics(values, bands)
            for plain, values in zip(self._plain, self.values, strict=True)
        ]
        return as_matrix(rows, self.variables)

    @functools.cached_property
    def _plain(self) -> list[dict[str, float]]:
        return [value_statistics(values) for values in self.values]


def feature_names(variables: Sequence[str]) -> list[str]:
    """Names of a model's features, in order: the columns of `lot_features` behind `bands_id`."""
    return [
        "readings",
        *(f"{name}_{s.name}" for name in variables for s in (*VALUES, *DISTANCES)),
        *(s.name for s in TOGETHER),
    ]


def as_matrix(rows: Sequence[Mapping[str, float]], variables: Sequence[str]) -> Matrix:
    """Statistics as a model takes them: float32, 0 where a statistic has no value."""
    names = feature_names(variables)
    table = np.array([[row[name] for name in names] for row in rows], np.float32)
    return np.nan_to_num(table.reshape(len(rows), len(names)), nan=0.0)


def lot_frame(lake: Lake, stage: Stage, versions: Mapping[str, int] | None = None) -> LotFrame:
    """The labelled lots at these versions of `readings` and `lots`, or as they are now."""
    table = readings(stage)
    versions = versions or {t.name: lake.version(t) for t in (table, LOTS)}
    variables = tuple(variable.name for variable in stage.readings.variables)
    if min(versions.values()) < 0:
        raise UsageError(
            f"the lake {lake.folder} has no lots to learn from; put files in by `platelake run`"
        )
    labelled = lake.arrow(LOTS, "day", "lot", "label", version=versions[LOTS.name])
    rows = lake.arrow(table, "day", "lot", "measured_at", *variables, version=versions[table.name])
    assert labelled is not None and rows is not None
    labels = {
        (row["day"], row["lot"]): int(row["label"] == FAILED)
        for row in labelled.to_pylist()
        if row["label"] != UNKNOWN
    }
    found = rows.sort_by([(name, "ascending") for name in ("day", "lot", "measured_at")])
    keys = list(zip(found["day"].to_pylist(), found["lot"].to_pylist(), strict=True))
    columns = {name: found[name].to_numpy() for name in variables}
    starts = [n for n, key in enumerate(keys) if n == 0 or key != keys[n - 1]]
    spans = [
        (keys[start], slice(start, stop))
        for start, stop in zip(starts, [*starts[1:], len(keys)], strict=True)
        if keys[start] in labels
    ]
    return LotFrame(
        dict(versions),
        variables,
        tuple(key[0] for key, _ in spans),
        tuple(key[1] for key, _ in spans),
        np.array([labels[key] for key, _ in spans], np.int64),
        tuple({name: columns[name][span] for name in variables} for _, span in spans),
    )
