"""Each statistic's Spark form equals its NumPy form."""

import math

import numpy as np
import pytest
from pyspark.sql import Row, SparkSession

from lakehouse.stage import Stage
from lakehouse.statistics import Band, fit_band, lot_statistics
from lakehouse.tables.lot_features import lot_features
from lakehouse.transforms.features import fit_bands, summarise_features

SEED = 11


def lots(stage: Stage) -> dict[str, dict[str, np.ndarray]]:
    """Lots of many shapes: one reading, two, constant, skewed, tied, with far excursions."""
    draw = np.random.default_rng(SEED)
    names = [variable.name for variable in stage.readings.variables]
    found = {}
    for number in range(120):
        size = [1, 2, 3, 69, int(draw.integers(1, 200))][number % 5]
        values = {}
        for at, name in enumerate(names):
            x = draw.normal(10 * (at + 1), 1.0, size)
            shape = (number + at) % 6
            x = np.full(size, 3.1) if shape == 1 else x
            x = np.exp(x / 20) if shape == 2 else x
            x = np.round(x, 1) if shape == 3 else x
            x[draw.random(size) < 0.1] += 12 if shape == 4 else 0
            values[name] = x
        found[str(number)] = values
    return found


def rows(lots: dict[str, dict[str, np.ndarray]]) -> list[Row]:
    return [
        Row(day="2021-09-06", lot=lot, measured_at=n, **{k: float(v[n]) for k, v in x.items()})
        for lot, x in lots.items()
        for n in range(len(next(iter(x.values()))))
    ]


@pytest.fixture(scope="module")
def given(stage: Stage) -> dict[str, dict[str, np.ndarray]]:
    return lots(stage)


@pytest.mark.parametrize("scale", ["fitted", "zero"])
def test_spark_and_numpy_agree(
    spark: SparkSession, stage: Stage, given: dict[str, dict[str, np.ndarray]], scale: str
) -> None:
    readings = spark.createDataFrame(rows(given))
    names = [variable.name for variable in stage.readings.variables]
    bands = fit_bands(readings, names, 3.0)
    if scale == "zero":
        bands = {name: Band(band.centre, 0.0, 3.0) for name, band in bands.items()}
    found = {row["lot"]: row.asDict() for row in summarise_features(readings, bands).collect()}
    assert set(found) == set(given)
    for lot, values in given.items():
        expected = lot_statistics(values, bands)
        assert set(expected) | {"day", "lot", "bands_id"} == set(lot_features(stage).names)
        for name, value in expected.items():
            got = math.nan if found[lot][name] is None else found[lot][name]
            assert got == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), (lot, name)


def test_bands_are_the_median_and_a_scale_by_percentiles(
    spark: SparkSession, stage: Stage, given: dict[str, dict[str, np.ndarray]]
) -> None:
    names = [variable.name for variable in stage.readings.variables]
    bands = fit_bands(spark.createDataFrame(rows(given)), names, 3.0)
    for name in names:
        x = np.concatenate([values[name] for values in given.values()])
        ours = fit_band(x, 3.0)
        assert bands[name] == Band(pytest.approx(ours.centre), pytest.approx(ours.scale), 3.0)


def test_the_scale_is_the_standard_deviation_of_a_normal_distribution() -> None:
    x = np.random.default_rng(SEED).normal(5.0, 2.0, 200_000)
    assert fit_band(x, 2.0) == Band(pytest.approx(5, abs=0.03), pytest.approx(2, abs=0.03), 2.0)


def test_equal_readings_give_equal_bits_however_they_are_spread(
    spark: SparkSession, stage: Stage, given: dict[str, dict[str, np.ndarray]]
) -> None:
    all_rows = rows(given)
    shuffled = [all_rows[n] for n in np.random.default_rng(SEED).permutation(len(all_rows))]
    bands = {v.name: Band(10.0, 1.0, 3.0) for v in stage.readings.variables}
    one = summarise_features(spark.createDataFrame(all_rows), bands)
    other = summarise_features(spark.createDataFrame(shuffled).repartition(7), bands)
    assert sorted(map(repr, one.collect())) == sorted(map(repr, other.collect()))
