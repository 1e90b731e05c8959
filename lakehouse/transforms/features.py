"""Features of lots, and the bands that excursions are measured by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lakehouse.statistics import (
    BAND_QUANTILES,
    DISTANCES,
    TOGETHER,
    VALUES,
    Band,
    band,
    distance,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def fit_bands(readings: DataFrame, variables: Sequence[str], width: float) -> dict[str, Band]:
    """Centre and scale of each variable by its percentiles over the given readings.

    Give the readings of training lots only, and no later split can leak through the bands.
    """
    from pyspark.sql import functions as F

    found = readings.agg(
        *(F.percentile(name, F.lit(list(BAND_QUANTILES))).alias(name) for name in variables)
    ).first()
    assert found is not None
    return {name: band(found[name], width) for name in variables}


def bands_id(bands: Mapping[str, Band]) -> str:
    """A name for these bands that says whether others are the same."""
    parameters = sorted((name, b.centre, b.scale, b.width) for name, b in bands.items())
    return hashlib.sha256(repr(parameters).encode()).hexdigest()[:16]


def summarise_features(readings: DataFrame, bands: Mapping[str, Band]) -> DataFrame:
    """All statistics of every lot, in one aggregation. Columns of `lot_features`."""
    from pyspark.sql import functions as F

    distances = {name: distance(F.col(name), one) for name, one in bands.items()}
    outside = sum(
        (F.when(F.col(f"{name}_z") > one.width, 1).otherwise(0) for name, one in bands.items()),
        F.lit(0),
    )
    whole = in_order(readings, "day", "lot").withColumns(
        {f"{name}_z": z for name, z in distances.items()}
    )
    return (
        whole.withColumn("outside", outside)
        .groupBy("day", "lot")
        .agg(
            F.first(F.lit(bands_id(bands))).alias("bands_id"),
            F.count("*").alias("readings"),
            *(s.spark(F.col(n)).alias(f"{n}_{s.name}") for n in bands for s in VALUES),
            *(
                s.spark(F.col(f"{n}_z"), bands[n].width).alias(f"{n}_{s.name}")
                for n in bands
                for s in DISTANCES
            ),
            *(s.spark(F.col("outside")).cast(s.type).alias(s.name) for s in TOGETHER),
        )
    )


def in_order(readings: DataFrame, *groups: str) -> DataFrame:
    """The readings with each group in one partition and sorted.

    Sums of floating point numbers depend on their order, and equal readings must give equal bits.
    """
    return readings.repartition(*groups).sortWithinPartitions(*groups, "measured_at", "lot")
