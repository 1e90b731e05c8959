"""The stage's bands: fitted once on all readings, and kept until a person asks for a new fit."""

from __future__ import annotations

import pyarrow.compute as pc

from lakehouse.delta.lake import Lake
from lakehouse.derive.features import bands_id
from lakehouse.stage import Stage
from lakehouse.statistics import Band, fit_band
from lakehouse.tables.bands import BANDS
from lakehouse.tables.readings import readings


def current_bands(lake: Lake) -> dict[str, Band]:
    """Return the latest fit by variable; empty if there is none."""
    rows = lake.rows(BANDS)
    last = max((row["fit"] for row in rows), default=0)
    return {
        row["variable"]: Band(row["centre"], row["scale"], row["width"])
        for row in rows
        if row["fit"] == last
    }


def fit_and_store(lake: Lake, stage: Stage, width: float) -> dict[str, Band]:
    """Fit bands on all readings and store them as the next fit; without readings do nothing."""
    table = readings(stage)
    days = lake.counts(table, "day", pc.scalar(True))
    if not days:
        return {}
    extent = (min(days), max(days), days.total())
    bands: dict[str, Band] = {}
    for variable in stage.variables:  # One at a time: there may be many readings.
        values = lake.load(table, columns=(variable.name,))[variable.name]
        bands[variable.name] = fit_band(values.to_numpy(), width)
    fit = 1 + max((row["fit"] for row in lake.rows(BANDS, "fit")), default=0)
    name = bands_id(bands)
    rows_of_fit = [
        BANDS.row(name, variable, band.centre, band.scale, band.width, *extent, fit)
        for variable, band in bands.items()
    ]
    lake.insert_rows(BANDS, rows_of_fit)
    return bands
