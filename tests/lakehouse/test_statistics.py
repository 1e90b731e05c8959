"""Each statistic equals its formula, lot by lot, and does not depend on the other lots."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.stage import Stage
from lakehouse.statistics import (
    DISTANCES,
    TOGETHER,
    VALUES,
    Array,
    Band,
    Groups,
    feature_columns,
    fit_band,
    lot_statistics,
)
from lakehouse.tables.lot_features import lot_features

SEED = 11
NAMES = ("ph", "voltage")
BANDS = {"ph": Band(3.0, 1.5, 2.0), "voltage": Band(-1.0, 0.7, 1.0)}


def skew(x: Array) -> float:
    centred = x - x.mean()
    with np.errstate(invalid="ignore"):
        found = (centred**3).mean() / (centred**2).mean() ** 1.5
    return float(found) if np.ptp(x) else math.nan


FORMULAS: dict[str, Callable[[Array], float]] = {
    "mean": np.mean,
    "std": lambda x: x.std(ddof=1) if len(x) > 1 else math.nan,
    "min": np.min,
    "max": np.max,
    "q05": lambda x: np.quantile(x, 0.05),
    "q95": lambda x: np.quantile(x, 0.95),
    "skew": skew,
}


def expected(values: dict[str, Array], bands: dict[str, Band]) -> dict[str, float]:
    found: dict[str, float] = {"readings": len(values["ph"])}
    outside = np.zeros(len(values["ph"]))
    for name, x in values.items():
        band = bands[name]
        off = (x != band.centre) * (band.width + 1)
        z = np.abs(x - band.centre) / band.scale if band.scale else off
        outside += z > band.width
        found |= {f"{name}_{formula}": of(x) for formula, of in FORMULAS.items()}
        found[f"{name}_excursions"] = sum(z > band.width)
        found[f"{name}_distance_max"] = max(z)
        found[f"{name}_excess"] = sum(one - band.width for one in z if one > band.width)
    return found | {
        "readings_outside": sum(outside >= 1),
        "joint_excursions": sum(outside >= 2),
        "variables_outside_max": max(outside),
    }


def computed(
    lots: Sequence[dict[str, Array]], bands: dict[str, Band] = BANDS
) -> list[dict[str, float]]:
    values = {name: np.concatenate([lot[name] for lot in lots]) for name in NAMES}
    groups = Groups(np.array([len(lot["ph"]) for lot in lots]))
    columns = feature_columns(values, groups, bands)
    return [{name: float(x[at]) for name, x in columns.items()} for at in range(len(lots))]


def drawn() -> list[dict[str, Array]]:
    """Lots of many shapes: one reading, two, constant, skewed, tied, with far excursions."""
    draw = np.random.default_rng(SEED)
    found = []
    for number in range(120):
        size = [1, 2, 3, 69, int(draw.integers(1, 200))][number % 5]
        values = {}
        for at, name in enumerate(NAMES):
            x = draw.normal(10 * (at + 1), 1.0, size)
            shape = (number + at) % 6
            x = np.full(size, 3.1) if shape == 1 else x
            x = np.exp(x / 20) if shape == 2 else x
            x = np.round(x, 1) if shape == 3 else x
            x[draw.random(size) < 0.1] += 12 if shape == 4 else 0
            values[name] = x
        found.append(values)
    return found


numbers = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 3.1, 1e9, -1e100])
lots = st.lists(
    st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12).map(
        lambda rows: dict(zip(NAMES, np.array(rows).T.copy(), strict=True))
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("scale", ["given", "zero"])
def test_each_statistic_is_its_formula(scale: str) -> None:
    bands = BANDS if scale == "given" else {name: Band(3.0, 0.0, 2.0) for name in NAMES}
    given = drawn()
    for values, found in zip(given, computed(given, bands), strict=True):
        assert found == pytest.approx(expected(values, bands), rel=1e-9, abs=1e-9, nan_ok=True)


@given(lots)
def test_statistics_of_any_lots(given: list[dict[str, Array]]) -> None:
    for values, found in zip(given, computed(given), strict=True):
        formula = expected(values, BANDS)
        for name, value in found.items():
            if "skew" in name:  # It is noise over noise where the readings are almost constant.
                assert math.isnan(value) == math.isnan(formula[name])
                continue
            column = values.get(name.partition("_")[0], np.zeros(1))
            near = 1e-9 * max(1.0, np.abs(column).max())
            assert value == pytest.approx(formula[name], rel=1e-9, abs=near, nan_ok=True), name


@given(lots)
def test_a_lot_has_the_same_bits_whatever_lots_are_beside_it(
    given: list[dict[str, Array]],
) -> None:
    alone = [lot_statistics(values, BANDS) for values in given]
    assert repr(computed(given)) == repr(alone)
    assert repr(computed(given[::-1])) == repr(alone[::-1])


@given(st.floats(-1e12, 1e12), st.integers(2, 300))
def test_equal_readings_have_no_spread(value: float, size: int) -> None:
    (found,) = computed([dict.fromkeys(NAMES, np.full(size, value))])
    assert found["ph_mean"] == found["ph_min"] == found["ph_max"] == value
    assert found["ph_q05"] == found["ph_q95"] == value
    assert found["ph_std"] == 0 and math.isnan(found["ph_skew"])


def test_one_reading_has_neither_deviation_nor_skew() -> None:
    found = lot_statistics({"ph": np.array([7.5]), "voltage": np.array([1.5])}, BANDS)
    assert math.isnan(found["ph_std"]) and math.isnan(found["ph_skew"])
    assert (found["readings"], found["ph_mean"], found["ph_excursions"]) == (1, 7.5, 1)
    assert (found["joint_excursions"], found["variables_outside_max"]) == (1, 2)


def test_no_lots_have_no_statistics() -> None:
    values = dict.fromkeys(NAMES, np.zeros(0))
    columns = feature_columns(values, Groups.of(np.zeros(0)), BANDS)
    assert {x.shape for x in columns.values()} == {(0,)}


@given(st.lists(st.integers(0, 2)))
def test_groups_are_equal_neighbours(keys: list[int]) -> None:
    groups = Groups.of(np.array(keys))
    assert groups.spread(np.array(keys, int)[groups.starts]).tolist() == keys
    assert all(keys[at] != keys[at - 1] for at in groups.starts.tolist()[1:])


def test_the_table_has_a_column_for_each_statistic(stage: Stage) -> None:
    names = [variable.name for variable in stage.readings.variables]
    bands = dict.fromkeys(names, Band(0.0, 1.0, 3.0))
    found = lot_statistics({name: np.arange(3.0) for name in names}, bands)
    assert {"day", "lot", "bands_id", *found} == set(lot_features(stage).names)
    assert len(found) == 1 + len(names) * len(VALUES + DISTANCES) + len(TOGETHER)


def test_bands_are_the_median_and_a_scale_by_percentiles() -> None:
    x = np.arange(101.0)
    assert fit_band(x, 3.0) == Band(50.0, pytest.approx(90 / 3.2897072539), 3.0)


def test_the_scale_is_the_standard_deviation_of_a_normal_distribution() -> None:
    x = np.random.default_rng(SEED).normal(5.0, 2.0, 200_000)
    assert fit_band(x, 2.0) == Band(pytest.approx(5, abs=0.03), pytest.approx(2, abs=0.03), 2.0)


def test_readings_off_a_constant_are_outside() -> None:
    """The plant holds 4.0 V; twenty readings of one lot are at 9.0 V."""
    voltage = np.full(500, 4.0)
    bands = {"voltage": fit_band(voltage, width=2.0)}
    assert bands["voltage"].scale == 0
    lot = {"voltage": np.append(voltage[:30], np.full(20, 9.0))}
    found = lot_statistics(lot, bands)
    assert found["readings_outside"] == found["voltage_excursions"] == 20
    assert found["voltage_distance_max"] == 3.0
    assert lot_statistics({"voltage": voltage}, bands)["readings_outside"] == 0
