"""Statistical process control: control charts, their rules, capability, and shares with intervals.

All functions are pure. A point is one lot (or day), in order of time. Limits come from points of a
base period that a person names; they are then held against all points.

Sources: NIST/SEMATECH e-Handbook of Statistical Methods, chapter 6.3 (charts) and 6.1.6
(capability); L. S. Nelson, Journal of Quality Technology 16 (1984), 237-239 (rules 1 to 8);
A. F. Bissell, Applied Statistics 39 (1990), 331-340 (interval of Cpk).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import gammaln

from lakehouse.statistics import Array, Numbers, T

Mask = NDArray[np.bool_]
D2 = 2 / np.sqrt(np.pi)
"""Expected difference of two values of a standard normal distribution."""
SIGMAS = 3.0
DOUBTFUL = 0.05
"""Below this p of a test of normality, capability says little."""
MOST_TESTED = 5_000
"""The test of normality is exact for this many values only."""


@dataclass(frozen=True, eq=False)
class Chart:
    """Points with their centre line and limits, each of shape (points,).

    `sigma` is the standard deviation of a point if the process is stable.
    """

    points: Array
    centre: Array
    sigma: Array
    low: Array
    high: Array

    @property
    def z(self) -> Array:
        """Distance of each point from the centre, in sigmas; 0 if sigma is 0."""
        found = np.zeros(len(self.points))
        np.divide(self.points - self.centre, self.sigma, out=found, where=self.sigma > 0)
        return found

    @property
    def outside(self) -> Mask:
        """Which points are outside the limits."""
        return (self.points < self.low) | (self.points > self.high)


@dataclass(frozen=True)
class Limits:
    """What a base period gives to a chart: its centre, and a standard deviation.

    `sigma` is that of a lot's value for charts of individual values, and that of a reading within
    its lot for charts whose limits follow the size of each lot.
    """

    centre: float
    sigma: float

    @property
    def low(self) -> float:
        """The lower limit of a value with this deviation."""
        return self.centre - SIGMAS * self.sigma

    @property
    def high(self) -> float:
        """The upper limit of a value with this deviation."""
        return self.centre + SIGMAS * self.sigma


def limits_of_individuals(some: Array) -> Limits:
    """Return mean, and deviation from the mean moving range, of a base period's values.

    Raises:
        ValueError: There are fewer than two values.
    """
    sigma = float(np.abs(np.diff(_needed(some, 2))).mean() / D2)
    return Limits(float(some.mean()), sigma)


def limits_of_readings(means: Array, stds: Array, sizes: Numbers) -> Limits:
    """Return the mean of all readings of a base period, and their deviation within the lots.

    Raises:
        ValueError: There is no lot with two readings.
    """
    centre = float((_needed(means, 1) * sizes).sum() / sizes.sum())
    return Limits(centre, pooled(stds, sizes))


def _chart(points: Array, centre: float, sigma: Array, least: float = -np.inf) -> Chart:
    low = np.maximum(centre - SIGMAS * sigma, least)
    return Chart(points, np.full(len(points), centre), sigma, low, centre + SIGMAS * sigma)


def individuals(x: Array, base: Mask | Limits) -> Chart:
    """Return the chart of individual values, with sigma from the mean moving range.

    Args:
        x: One value a lot, shape (lots,), in order of time.
        base: Lots of the base period, shape (lots,), two or more; or limits made before.

    Returns:
        The chart. A moving range goes from one lot of the base to the next one of the base.

    Raises:
        ValueError: The base has fewer than two lots.

    Example:
        >>> x = np.array([49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1])
        >>> chart = individuals(x, np.ones(10, bool))  # NIST 6.3.2.2
        >>> [round(float(line[0]), 1) for line in (chart.low, chart.centre, chart.high)]
        [45.8, 50.8, 55.8]
    """
    limits = base if isinstance(base, Limits) else limits_of_individuals(x[base])
    return _chart(x, limits.centre, np.full(len(x), limits.sigma))


def moving_ranges(x: Array, base: Mask | Limits) -> Chart:
    """Return the chart of moving ranges of neighbours; the first is NaN. See `individuals`."""
    limits = base if isinstance(base, Limits) else limits_of_individuals(x[base])
    points = np.append(np.nan, np.abs(np.diff(x)))
    deviation = limits.sigma * np.sqrt(2 - D2**2)  # Of a range of two values.
    return _chart(points, limits.sigma * D2, np.full(len(x), deviation), least=0.0)


def c4(sizes: Numbers) -> Array:
    """Return the expected standard deviation of samples of a standard normal distribution.

    >>> c4(np.array([2, 5, 25])).round(4).tolist()
    [0.7979, 0.94, 0.9896]
    """
    n = np.asarray(sizes, np.float64)
    found: Array = np.sqrt(2 / (n - 1)) * np.exp(gammaln(n / 2) - gammaln((n - 1) / 2))
    return found


def means_by_lot(means: Array, stds: Array, sizes: Numbers, base: Mask | Limits) -> Chart:
    """Return the X-bar chart: limits from the deviation within the lots, each for its own size.

    Args:
        means: Mean of each lot, shape (lots,).
        stds: Sample standard deviation of each lot; lots of one reading do not count.
        sizes: Readings of each lot.
        base: Lots of the base period; or limits made before.
    """
    if not isinstance(base, Limits):
        base = limits_of_readings(means[base], stds[base], sizes[base])
    return _chart(means, base.centre, base.sigma / np.sqrt(sizes))


def deviations_by_lot(stds: Array, sizes: Numbers, base: Mask | Limits) -> Chart:
    """Return the S chart, with limits for each lot's own size; NaN for a lot of one reading."""
    sigma = base.sigma if isinstance(base, Limits) else pooled(stds[base], sizes[base])
    known = np.where(sizes > 1, sizes, 2)
    expected = sigma * c4(known)
    deviation = sigma * np.sqrt(1 - c4(known) ** 2)
    low = np.maximum(expected - SIGMAS * deviation, 0.0)
    return Chart(stds, expected, deviation, low, expected + SIGMAS * deviation)


def pooled(stds: Array, sizes: Numbers) -> float:
    """Return the standard deviation within lots; raises ValueError if no lot has two readings."""
    known = (sizes > 1) & np.isfinite(stds)
    degrees = _needed(sizes[known] - 1, 1)
    return float(np.sqrt((degrees * stds[known] ** 2).sum() / degrees.sum()))


def overall(means: Array, stds: Array, sizes: Numbers) -> tuple[float, float]:
    """Return mean and standard deviation of all readings, from those of their lots."""
    count = sizes.sum()
    mean = float((means * sizes).sum() / count)
    within = (np.where(sizes > 1, stds, 0.0) ** 2 * (sizes - 1)).sum()
    between = (sizes * (means - mean) ** 2).sum()
    return mean, float(np.sqrt((within + between) / (count - 1)))


def nelson(z: Array) -> dict[str, Mask]:
    """Find the points that complete one of Nelson's patterns.

    Args:
        z: Distances from the centre in sigmas, shape (points,), in order of time.

    Returns:
        A mask for each rule, by name `nelson_1` to `nelson_8`.

    Example:
        >>> hits = nelson(np.array([0.1, 3.2, 0.5, 0.4]))
        >>> [name for name, hit in hits.items() if hit.any()], hits["nelson_1"].tolist()
        (['nelson_1'], [False, True, False, False])
    """
    up = np.append(0.0, np.sign(np.diff(z)))
    turns = np.append(False, up[1:] * up[:-1] < 0)
    return {
        "nelson_1": np.abs(z) > 3,
        "nelson_2": _either(z > 0, z < 0, 9, 9),
        "nelson_3": _either(up > 0, up < 0, 5, 5),
        "nelson_4": _of(turns, 12, 12),
        "nelson_5": _either(z > 2, z < -2, 2, 3),
        "nelson_6": _either(z > 1, z < -1, 4, 5),
        "nelson_7": _of(np.abs(z) < 1, 15, 15),
        "nelson_8": _of(np.abs(z) > 1, 8, 8) & ~_either(z > 0, z < 0, 8, 8),
    }


def western_electric(z: Array) -> dict[str, Mask]:
    """Find the points that complete one of the four patterns of Western Electric's handbook."""
    found = nelson(z)
    return {
        "western_1": found["nelson_1"],
        "western_2": found["nelson_5"],
        "western_3": found["nelson_6"],
        "western_4": _either(z > 0, z < 0, 8, 8),
    }


def _of(hits: Mask, least: int, among: int) -> Mask:
    """Which points end a window of `among` points with at least so many hits, and are a hit."""
    sums = np.cumsum(np.append(0, hits))
    first = np.maximum(np.arange(len(hits)) + 1 - among, 0)
    found: Mask = hits & (sums[1:] - sums[first] >= least)
    return found


def _either(above: Mask, below: Mask, least: int, among: int) -> Mask:
    return _of(above, least, among) | _of(below, least, among)


def ewma(x: Array, centre: float, sigma: float, weight: float = 0.3) -> Chart:
    """Return the exponentially weighted moving average, which shows small shifts.

    Its limits are those of a long series (NIST 6.3.2.4).
    """
    points, last = np.empty(len(x)), centre
    for at, value in enumerate(x.tolist()):
        last = weight * value + (1 - weight) * last
        points[at] = last
    return _chart(points, centre, np.full(len(x), sigma * np.sqrt(weight / (2 - weight))))


def cusum(x: Array, centre: float, slack: float) -> tuple[Array, Array]:
    """Return the sums of what is above and below the centre by more than the slack (NIST 6.3.2.3).

    Args:
        x: Values in order of time.
        centre: Target of the process.
        slack: Half of the shift to find, in the unit of `x`.
    """
    high, low = np.empty(len(x)), np.empty(len(x))
    up = down = 0.0
    for at, value in enumerate(x.tolist()):
        up = max(0.0, up + value - centre - slack)
        down = max(0.0, down + centre - slack - value)
        high[at], low[at] = up, down
    return high, low


CUSUM_SLACK, CUSUM_LIMIT = 0.5, 5.0
"""In sigmas: half of the shift to find, and the sum from which on there is one (NIST 6.3.2.3)."""


def cusum_chart(x: Array, centre: float, sigma: float) -> Chart:
    """Return the CUSUM as one chart: the larger of the two sums, that of low values as negative.

    >>> chart = cusum_chart(np.array([10.0, 13.0, 13.0, 13.0]), 10.0, 1.0)
    >>> chart.points.tolist(), chart.outside.tolist()
    ([0.0, 2.5, 5.0, 7.5], [False, False, False, True])
    """
    high, low = cusum(x, centre, CUSUM_SLACK * sigma)
    edge = np.full(len(x), CUSUM_LIMIT * sigma)
    points = np.where(high >= low, high, -low)
    return Chart(points, np.zeros(len(x)), edge / SIGMAS, -edge, edge)


def share_chart(failed: Numbers, total: Numbers, base: Mask) -> Chart:
    """Return the p-chart: the failed share of each group, with limits for its own size.

    >>> chart = share_chart(np.array([12, 4]), np.array([50, 50]), np.ones(2, bool))
    >>> chart.points.tolist(), float(chart.centre[0])
    ([0.24, 0.08], 0.16)
    """
    share = float(failed[base].sum() / _needed(total[base], 1).sum())
    sigma = np.sqrt(share * (1 - share) / total)
    low, high = np.maximum(share - SIGMAS * sigma, 0), np.minimum(share + SIGMAS * sigma, 1)
    return Chart(failed / total, np.full(len(total), share), sigma, low, high)


def share_interval(
    failed: Numbers, total: Numbers, confidence: float = 0.95
) -> tuple[Array, Array]:
    """Return the exact (Clopper-Pearson) interval of each share."""
    failed, total = np.asarray(failed), np.asarray(total)
    tail = (1 - confidence) / 2
    low = np.where(failed > 0, stats.beta.ppf(tail, failed, total - failed + 1), 0.0)
    high = np.where(failed < total, stats.beta.isf(tail, failed + 1, total - failed), 1.0)
    return low, high


@dataclass(frozen=True)
class Capability:
    """How well a spread fits between the specification limits, each with a 95 % interval.

    `potential` is Cp (or Pp), `actual` is Cpk (or Ppk). `potential` needs both limits.
    """

    potential: float | None
    potential_interval: tuple[float, float] | None
    actual: float
    actual_interval: tuple[float, float]


def capability(
    mean: float,
    sigma: float,
    count: int,
    lsl: float | None,
    usl: float | None,
) -> Capability | None:
    """Compare mean and deviation with the specification limits.

    Args:
        mean: Mean of the readings.
        sigma: Deviation within lots for Cp and Cpk, of all readings for Pp and Ppk.
        count: Number of the readings.
        lsl: Lower specification limit, if any.
        usl: Upper specification limit, if any.

    Returns:
        None without a limit, without spread, or with fewer than two readings.

    Example:
        >>> found = capability(16.0, 2.0, 50, 8.0, 20.0)  # NIST 6.1.6
        >>> found.potential, round(found.actual, 4)
        (1.0, 0.6667)
    """
    sides = [mean - lsl] if lsl is not None else []
    sides += [usl - mean] if usl is not None else []
    if not sides or sigma <= 0 or count < 2:
        return None
    degrees = count - 1
    potential, interval = None, None
    if lsl is not None and usl is not None:
        potential = (usl - lsl) / (6 * sigma)
        low, high = np.sqrt(stats.chi2.ppf([0.025, 0.975], degrees) / degrees)
        interval = (float(potential * low), float(potential * high))
    actual = min(sides) / (3 * sigma)
    half = stats.norm.ppf(0.975) * np.sqrt(1 / (9 * count) + actual**2 / (2 * degrees))
    return Capability(potential, interval, actual, (float(actual - half), float(actual + half)))


def is_normal(x: Array) -> bool | None:
    """Say whether a Shapiro-Wilk test leaves these values normal; None for fewer than 8 or equal.

    Of many values, as many as the test is exact for are taken at equal distances.
    """
    if len(x) < 8 or np.ptp(x) == 0:
        return None
    some = x[np.linspace(0, len(x) - 1, min(len(x), MOST_TESTED)).astype(int)]
    return bool(stats.shapiro(some).pvalue >= DOUBTFUL)


def _needed(x: NDArray[T], least: int) -> NDArray[T]:
    if len(x) < least:
        raise ValueError(f"the base period needs {least} lots or more")
    return x
