"""Features of lots, and the id of the bands that define excursions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.statistics import Array, Band, Groups, Numbers, feature_columns


@dataclass(frozen=True, eq=False)
class LotReadings:
    """Readings in order of day, lot and time.

    `days` and `lots` name each lot, shape (lots,). `groups` holds the number of its readings.
    `columns` maps each variable to its readings, shape (readings,).
    """

    days: pa.Array
    lots: pa.Array
    groups: Groups
    columns: Mapping[str, Array]


def readings_by_lot(readings: pa.Table, variables: Sequence[str]) -> LotReadings:
    """Sort the readings by lot and time; skip the sort if they are in order already."""
    day, lot = readings["day"], readings["lot"].cast(pa.string())
    days, lots = pc.unique(day).sort(), pc.unique(lot).sort()
    at_day, at_lot = (
        pc.index_in(column, values).to_numpy().astype(np.int64)
        for column, values in ((day, days), (lot, lots))
    )
    keys = at_day * len(lots) + at_lot
    columns = {name: readings[name].to_numpy() for name in variables}
    order = _order(keys, readings["measured_at"].cast(pa.int64()).to_numpy())
    if order is not None:
        keys, columns = keys[order], {name: x[order] for name, x in columns.items()}
    groups = Groups.of(keys)
    first, count = keys[groups.starts], max(len(lots), 1)
    return LotReadings(days.take(first // count), lots.take(first % count), groups, columns)


def _order(keys: Numbers, moments: Numbers) -> Numbers | None:
    """Return the places of the readings in order of key and moment; None if they are in order."""
    step = np.diff(keys)
    if (step >= 0).all() and (np.diff(moments)[step == 0] >= 0).all():
        return None
    return np.lexsort((moments, keys))


def bands_id(bands: Mapping[str, Band]) -> str:
    """Return a name for these bands; equal bands have equal names."""
    parameters = sorted((name, b.centre, b.scale, b.width) for name, b in bands.items())
    return hashlib.sha256(repr(parameters).encode()).hexdigest()[:16]


def summarise_features(
    readings: pa.Table, bands: Mapping[str, Band], schema: pa.Schema
) -> pa.Table:
    """Compute all statistics of every lot.

    Args:
        readings: day, lot, measured_at and a column, in its unit, for each variable with a band.
        bands: Variable to band.
        schema: The schema of `lot_features` for the bands' variables.

    Returns:
        A table of that schema with one row per lot, sorted by day and lot. A statistic without a
        value is null.

    Raises:
        KeyError: The readings lack a column.

    Example:
        >>> from lakehouse.tables.lot_features import features_of
        >>> readings = pa.table({
        ...     "day": pa.array([18932] * 3, pa.date32()),
        ...     "lot": ["17", "17", "18"],
        ...     "measured_at": pa.array([0, 5_000_000, 9_000_000], pa.timestamp("us", "UTC")),
        ...     "ph": [2.0, 3.0, 2.0],
        ... })
        >>> schema = features_of(["ph"]).arrow_schema()
        >>> features = summarise_features(readings, {"ph": Band(2.0, 0.1, width=2.0)}, schema)
        >>> features.select(["lot", "readings", "ph_mean", "ph_excursions"]).to_pylist()[0]
        {'lot': '17', 'readings': 2, 'ph_mean': 2.5, 'ph_excursions': 1}
        >>> features["ph_std"].null_count  # One reading has no deviation.
        1
    """
    found = readings_by_lot(readings, list(bands))
    columns = {
        name: pa.array(x, from_pandas=True)
        for name, x in feature_columns(found.columns, found.groups, bands).items()
    }
    columns |= {"day": found.days, "lot": found.lots}
    columns["bands_id"] = pa.repeat(bands_id(bands), len(found.lots))
    return pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)
