"""Daily summaries of variables and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa

from lakehouse.derive.features import readings_by_lot
from lakehouse.statistics import VALUES, Array, Groups, Sample
from lakehouse.tables.picture_days import PICTURE_DAYS
from lakehouse.tables.variable_days import VARIABLE_DAYS

STATISTICS = {statistic.name: statistic for statistic in VALUES}


def summarise_variables(readings: pa.Table, units: Mapping[str, str]) -> pa.Table:
    """Summarise each variable (name to unit) over each day, sorted by day, as `variable_days`."""
    found = readings_by_lot(readings, list(units))
    lots = Groups.of(found.days.cast(pa.int32()).to_numpy())
    days = Groups(lots.sum(found.groups.sizes).astype(np.int64))
    samples = [Sample(found.columns[name], days) for name in units]

    def numbers(statistic: Callable[[Sample], Array]) -> pa.Array:
        by_day = np.stack([statistic(sample) for sample in samples], axis=1)
        return pa.array(by_day.ravel(), from_pandas=True)

    columns = [
        found.days.take(np.repeat(lots.starts, len(units))),
        list(units) * len(days.sizes),
        list(units.values()) * len(days.sizes),
        np.repeat(days.sizes, len(units)),
        *(numbers(STATISTICS[name].of) for name in ("mean", "std", "min", "max")),
    ]
    return pa.table(columns, schema=VARIABLE_DAYS.arrow_schema())


def summarise_pictures(picture_names: pa.Table) -> pa.Table:
    """Count pictures and names of each day and label, sorted by both, as `picture_days`."""
    found = picture_names.group_by(["day", "label"]).aggregate(
        [("pixel_sha256", "count_distinct"), ([], "count_all")]
    )
    columns = {"pictures": found["pixel_sha256_count_distinct"], "names": found["count_all"]}
    columns |= {"day": found["day"], "label": found["label"]}
    schema = PICTURE_DAYS.arrow_schema()
    table = pa.table([columns[field.name] for field in schema], schema=schema)
    return table.sort_by([(name, "ascending") for name in PICTURE_DAYS.key])
