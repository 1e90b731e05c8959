"""Lots for a model: readings and labels at pinned versions, and the features made from them.

Bands are fitted only on the lots that a model trains on. So this module computes the features of
each round of cross-validation from the readings. The bands of the table `lot_features` are fitted
on all lots: that table is for people, not for training.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from lakehouse.delta.lake import Lake
from lakehouse.derive.features import readings_by_lot
from lakehouse.derive.labels import FAILED, UNKNOWN
from lakehouse.stage import Stage
from lakehouse.statistics import Array, Band, Groups, band_columns, fit_band, value_columns
from lakehouse.tables.lot_features import features_of
from lakehouse.tables.lots import LOTS
from lakehouse.tables.readings import readings
from ml.data.errors import TooFewError
from ml.data.folds import Indices
from ml.data.splits import Item

Matrix = NDArray[np.float32]
LABELLED = ("day", "lot", "started_at", "ended_at", "label")


@dataclass(frozen=True)
class LotFrame:
    """Labelled lots with their readings, sorted by day and lot.

    `labels` is int64, shape (lots,), 1 for failed. `columns` maps each variable to the readings of
    all lots, lot after lot, shape (readings,), in the variable's unit. `groups` says how many
    readings each lot has. `seconds`, shape (lots,), are from the first to the last of them.
    """

    versions: Mapping[str, int]
    variables: tuple[str, ...]
    days: tuple[date, ...]
    lots: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: Groups
    columns: Mapping[str, Array]
    seconds: Array | None = None

    @property
    def names(self) -> list[str]:
        """Names of the lots, each as day/lot."""
        return [f"{day}/{lot}" for day, lot in zip(self.days, self.lots, strict=True)]

    @functools.cached_property
    def values(self) -> list[dict[str, Array]]:
        """Each lot's readings by variable, shape (readings,), in the variable's unit."""
        parts = {name: np.split(x, self.groups.starts[1:]) for name, x in self.columns.items()}
        return [{name: parts[name][at] for name in self.variables} for at in range(len(self.lots))]

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of everything that a model can learn from."""
        digest = hashlib.sha256(repr((self.variables, self.names, self.labels.tolist())).encode())
        for values in self.values:
            for name in self.variables:
                digest.update(values[name].tobytes())
        return digest.hexdigest()

    def split_items(self, group: str = "lot") -> list[Item]:
        """Return the lots as items of a split. `group` is lot, or day for whole days."""
        groups = self.names if group == "lot" else [str(day) for day in self.days]
        return [
            Item(name, int(label), of, day)
            for name, label, of, day in zip(self.names, self.labels, groups, self.days, strict=True)
        ]

    def fit_bands(self, train: Indices, width: float) -> dict[str, Band]:
        """Fit each variable's band on the readings of the lots at `train`."""
        is_chosen = np.zeros(len(self.lots), bool)
        is_chosen[train] = True
        inside = self.groups.spread(is_chosen)
        return {name: fit_band(self.columns[name][inside], width) for name in self.variables}

    def features(self, bands: Mapping[str, Band]) -> Matrix:
        """Compute the features of every lot, shape (lots, features), in `feature_names` order."""
        by_bands = band_columns(self.columns, self.groups, bands)
        return _matrix(self._plain | by_bands, self.variables)

    @functools.cached_property
    def _plain(self) -> dict[str, Array]:
        return value_columns(self.columns, self.groups)


def feature_names(variables: Sequence[str]) -> list[str]:
    """Name a model's features, in order: the columns of `lot_features` after `bands_id`."""
    names = features_of(variables).names
    return names[names.index("bands_id") + 1 :]


def as_matrix(rows: Sequence[Mapping[str, float]], variables: Sequence[str]) -> Matrix:
    """Turn statistics into features, shape (lots, features): 0 if a statistic has no value."""
    names = feature_names(variables)
    return _matrix({name: [row[name] for row in rows] for name in names}, variables)


def matrix_of(features: pa.Table, variables: Sequence[str]) -> Matrix:
    """Turn rows of `lot_features` into features, shape (lots, features): 0 for no value."""
    names = feature_names(variables)
    return _matrix({name: features[name].to_numpy() for name in names}, variables)


def _matrix(columns: Mapping[str, ArrayLike], variables: Sequence[str]) -> Matrix:
    found = [np.asarray(columns[name], np.float32) for name in feature_names(variables)]
    return np.nan_to_num(np.column_stack(found), nan=0.0)


def seconds_of(lots: pa.Table) -> Array:
    """Return the seconds from the first to the last reading of each row of `lots`."""
    took = pc.subtract(lots["ended_at"], lots["started_at"]).cast(pa.duration("us"))
    return np.asarray(took.cast(pa.int64()).to_numpy() / 1e6, np.float64)


def lot_frame(lake: Lake, stage: Stage, versions: Mapping[str, int] | None = None) -> LotFrame:
    """Read the labelled lots and their readings.

    Args:
        lake: the lake.
        stage: names the variables. All are read, in the stage's units.
        versions: Delta versions of `readings` and `lots`. Without it, the current ones.

    Returns:
        Lots that passed or failed and have readings, sorted by day and lot. `versions` of the
        frame are those that were read.

    Raises:
        TooFewError: one of the tables does not exist yet.
        PlatelakeError: a version is gone.
    """
    table = readings(stage)
    versions = versions or {t.name: lake.version(t) for t in (table, LOTS)}
    variables = tuple(variable.name for variable in stage.variables)
    if min(versions.values()) < 0:
        raise TooFewError(
            LOTS.name,
            f"the lake {lake.folder} has no lots to learn from; put files in by `platelake run`",
        )
    labelled = lake.load(LOTS, versions[LOTS.name], columns=LABELLED)
    columns = ("day", "lot", "measured_at", *variables)
    rows = lake.load(table, versions[table.name], columns=columns)
    labels = {
        (row["day"], row["lot"]): (int(row["label"] == FAILED), took)
        for row, took in zip(labelled.to_pylist(), seconds_of(labelled), strict=True)
        if row["label"] != UNKNOWN
    }
    found = readings_by_lot(rows, variables)
    keys = list(zip(found.days.to_pylist(), found.lots.to_pylist(), strict=True))
    is_labelled = np.array([key in labels for key in keys], bool)
    inside = found.groups.spread(is_labelled)
    chosen = [key for key in keys if key in labels]
    return LotFrame(
        dict(versions),
        variables,
        tuple(day for day, _ in chosen),
        tuple(lot for _, lot in chosen),
        np.array([labels[key][0] for key in chosen], np.int64),
        Groups(found.groups.sizes[is_labelled]),
        {name: x[inside] for name, x in found.columns.items()},
        np.array([labels[key][1] for key in chosen]),
    )
