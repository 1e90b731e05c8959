"""Charts, rules and capability equal NIST's examples, scipy's distributions, or a count by hand."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from lakehouse.derive.control import (
    Mask,
    c4,
    capability,
    cusum,
    deviations_by_lot,
    ewma,
    individuals,
    is_normal,
    means_by_lot,
    moving_ranges,
    nelson,
    overall,
    pooled,
    share_chart,
    share_interval,
    western_electric,
)
from lakehouse.statistics import Array

FLOW = np.array([49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1])
"""Flow rates of NIST 6.3.2.2."""
EWMA = np.array(
    [
        52.0,
        47.0,
        53.0,
        49.3,
        50.1,
        47.0,
        51.0,
        50.1,
        51.2,
        50.5,
        49.6,
        47.6,
        49.9,
        51.3,
        47.8,
        51.2,
        52.6,
        52.4,
        53.6,
        52.1,
    ]
)
"""Data of NIST 6.3.2.4."""
EWMA_POINTS = [
    *(50.60, 49.52, 50.56, 50.18, 50.16, 49.21, 49.75, 49.85, 50.26, 50.33),
    *(50.11, 49.36, 49.52, 50.05, 49.38, 49.92, 50.73, 51.23, 51.94, 51.99),
]
CUSUM = np.array(
    [
        324.925,
        324.675,
        324.725,
        324.350,
        325.350,
        325.225,
        324.125,
        324.525,
        325.225,
        324.600,
        324.625,
        325.150,
        328.325,
        327.250,
        327.825,
        328.500,
        326.675,
        327.775,
        326.875,
        328.350,
    ]
)
"""Data of NIST 6.3.2.3, where the shift is signalled at sample 14."""
EXACT: dict[str, Any] = {"rel": 1e-9, "abs": 1e-9}


def every(x: Array) -> Mask:
    return np.ones(len(x), bool)


def test_individuals_and_moving_ranges_of_nist() -> None:
    chart = individuals(FLOW, every(FLOW))
    assert chart.centre[0] == pytest.approx(50.81, **EXACT)
    ranges = moving_ranges(FLOW, every(FLOW))
    assert ranges.centre[0] == pytest.approx(16.9 / 9, **EXACT)
    half = 3 * (16.9 / 9) / (2 / np.sqrt(np.pi))  # NIST rounds d2 to 1.128.
    assert (chart.low[0], chart.high[0]) == pytest.approx((50.81 - half, 50.81 + half), **EXACT)
    assert (chart.low[0], chart.high[0]) == pytest.approx((45.8159, 55.8041), abs=2e-3)
    assert not chart.outside.any() and np.isnan(ranges.points[0])
    assert ranges.high[0] == pytest.approx(3.267 * 16.9 / 9, rel=2e-4)  # D4 of two values
    assert ranges.low[0] == 0


def test_the_base_period_makes_the_limits() -> None:
    x = np.append(FLOW, [70.0, 30.0])
    chart = individuals(x, np.arange(12) < 10)
    assert chart.centre[0] == pytest.approx(50.81, **EXACT)
    assert chart.outside.tolist() == [False] * 10 + [True] * 2
    with pytest.raises(ValueError, match="needs 2 lots"):
        individuals(x, np.arange(12) < 1)


def test_c4_is_the_mean_of_the_chi_distribution() -> None:
    sizes = np.array([2, 3, 5, 10, 25, 69, 1000])
    assert c4(sizes) == pytest.approx(stats.chi.mean(sizes - 1) / np.sqrt(sizes - 1), **EXACT)


def test_means_and_deviations_by_lot_equal_the_published_factors() -> None:
    """Of five readings a lot: A3 = 1.427 and B4 = 2.089 times the mean deviation."""
    draw = np.random.default_rng(3)
    readings = draw.normal(10, 2, (20, 5))
    means, stds, sizes = readings.mean(1), readings.std(1, ddof=1), np.full(20, 5)
    sigma = np.sqrt((stds**2).mean())
    assert pooled(stds, sizes) == pytest.approx(sigma, **EXACT)
    chart = means_by_lot(means, stds, sizes, every(means))
    assert chart.high[0] - means.mean() == pytest.approx(3 * sigma / np.sqrt(5), **EXACT)
    expected = sigma * 0.9399856
    assert (chart.high[0] - means.mean()) / expected == pytest.approx(1.427, abs=5e-4)
    spread = deviations_by_lot(stds, sizes, every(stds))
    assert spread.high[0] / spread.centre[0] == pytest.approx(2.089, abs=5e-4)
    assert spread.low[0] == 0
    whole = (readings.mean(), readings.std(ddof=1))
    assert overall(means, stds, sizes) == pytest.approx(whole, **EXACT)


def test_ewma_of_nist() -> None:
    chart = ewma(EWMA, 50.0, 2.0539, 0.3)
    assert chart.points.round(2).tolist() == pytest.approx(EWMA_POINTS, abs=0.0101)
    assert (chart.high[0], chart.low[0]) == pytest.approx((52.5884, 47.4115), abs=1e-3)
    weights = 0.3 * 0.7 ** np.arange(20)
    assert chart.points[-1] == pytest.approx((weights * EWMA[::-1]).sum() + 0.7**20 * 50.0, **EXACT)


def test_cusum_of_nist() -> None:
    high, low = cusum(CUSUM, 325.0, 0.3175)
    limit = 4.1959
    assert np.flatnonzero(high > limit)[0] + 1 == 14
    assert high[12] == pytest.approx(3.0075, **EXACT)
    assert low.max() < limit


def only(name: str, z: list[float], at: list[int]) -> None:
    found = nelson(np.array(z))
    assert np.flatnonzero(found[name]).tolist() == at


def test_each_rule_of_nelson() -> None:
    only("nelson_1", [0, 3.1, 3.0, -3.1], [1, 3])
    only("nelson_2", [-0.1] + [0.5] * 10, [9, 10])
    only("nelson_3", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.4], [5])  # Six points that rise.
    only("nelson_4", [0.1, -0.1] * 7, [13])  # Fourteen points in turn.
    only("nelson_5", [2.1, 0, 2.1, 0, 0, -2.1, 2.1], [2])
    only("nelson_6", [1.1, 1.1, 0, 1.1, 1.1, 0, -1.1], [4])
    only("nelson_7", [0.5, -0.5] * 8, [14, 15])
    only("nelson_8", [1.1, -1.1] * 4 + [1.1], [7, 8])
    only("nelson_8", [1.1] * 9, [])


def test_rules_of_western_electric() -> None:
    z = np.array([0.5] * 8 + [-0.5, -2.1, -2.2, 3.5])
    hits = {name: np.flatnonzero(hit).tolist() for name, hit in western_electric(z).items()}
    assert hits == {"western_1": [11], "western_2": [10], "western_3": [], "western_4": [7]}


def test_rare_hits_in_a_stable_process() -> None:
    """Rule 1 hits 0.27 % of the points of a normal process."""
    z = np.random.default_rng(5).normal(size=200_000)
    assert nelson(z)["nelson_1"].mean() == pytest.approx(0.0027, abs=0.0005)


def test_shares_and_their_intervals_equal_scipy() -> None:
    failed, total = np.array([0, 1, 5, 22]), np.array([22, 22, 100, 22])
    low, high = share_interval(failed, total)
    for at, (k, n) in enumerate(zip(failed.tolist(), total.tolist(), strict=True)):
        known = stats.binomtest(k, n).proportion_ci(0.95, "exact")
        assert (low[at], high[at]) == pytest.approx((known.low, known.high), **EXACT)
    chart = share_chart(failed, total, np.arange(4) < 3)
    share = 6 / 144
    assert chart.centre[0] == pytest.approx(share, **EXACT)
    sigma = np.sqrt(share * (1 - share) / 100)
    assert chart.high[2] == pytest.approx(share + 3 * sigma, **EXACT)
    assert chart.outside.tolist() == [False, False, False, True] and chart.low.min() == 0


def test_capability_of_nist() -> None:
    """Mean 16, deviation 2, limits 8 and 20: Cp 1, Cpk 2/3."""
    found = capability(16.0, 2.0, 50, 8.0, 20.0)
    assert found and found.potential_interval
    assert (found.potential, found.actual) == pytest.approx((1.0, 2 / 3), **EXACT)
    low, high = np.sqrt(stats.chi2(49).ppf([0.025, 0.975]) / 49)
    assert found.potential_interval == pytest.approx((low, high), **EXACT)
    half = 1.959963984540054 * np.sqrt(1 / 450 + (2 / 3) ** 2 / 98)
    assert found.actual_interval == pytest.approx((2 / 3 - half, 2 / 3 + half), **EXACT)
    one_sided = capability(16.0, 2.0, 50, None, 20.0)
    assert one_sided and one_sided.potential is None
    assert one_sided.actual == pytest.approx(2 / 3, **EXACT)
    at_zero = capability(1.0, 0.5, 50, 0.0, None)
    assert at_zero and at_zero.actual == pytest.approx(2 / 3, **EXACT)
    assert capability(16.0, 2.0, 50, None, None) is None
    assert capability(16.0, 0.0, 50, 8.0, 20.0) is None


def test_a_constant_has_a_chart_without_hits() -> None:
    x = np.full(30, 4.0)
    chart = individuals(x, every(x))
    assert not chart.outside.any() and not chart.z.any()
    hits = nelson(chart.z)
    assert not any(hits[name].any() for name in hits if name != "nelson_7")
    assert is_normal(x) is None


def test_normality_is_tested() -> None:
    draw = np.random.default_rng(7)
    assert is_normal(draw.normal(size=300)) is True
    assert is_normal(draw.exponential(size=20_000)) is False
