"""Daily summaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lakehouse.transforms.features import in_order

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def summarise_variables(readings: DataFrame, units: Mapping[str, str]) -> DataFrame:
    """Each variable (name to unit) over each day. Columns of `variable_days`."""
    from pyspark.sql import functions as F

    by_day = in_order(readings, "day").groupBy("day")
    statistics = by_day.agg(
        F.array(
            *(
                F.struct(
                    F.lit(name).alias("variable"),
                    F.lit(unit).alias("unit"),
                    F.count(name).alias("readings"),
                    F.mean(name).alias("mean"),
                    F.stddev_samp(name).alias("std"),
                    F.min(name).alias("minimum"),
                    F.max(name).alias("maximum"),
                )
                for name, unit in units.items()
            )
        ).alias("variables")
    )
    return statistics.select("day", F.explode("variables").alias("one")).select("day", "one.*")


def summarise_pictures(picture_names: DataFrame) -> DataFrame:
    """Pictures and names of each day and label. Columns of `picture_days`."""
    from pyspark.sql import functions as F

    return picture_names.groupBy("day", "label").agg(
        F.countDistinct("pixel_sha256").alias("pictures"), F.count("*").alias("names")
    )
