"""Statistics of lots. Each is defined once and is computed for many lots at a time.

One array holds the readings lot after lot, and those of a lot in order of time. `Groups` holds the
number of readings of each lot. A statistic is an array with one number per lot; NaN means that it
has no value (the skew of a constant). A lot's numbers depend only on its own readings and their
order, to the last bit, and not on the other lots in the array.

For a variable with band centre c and scale s, the distance of a reading x is |x - c| / s. If s is
0, the plant holds the variable constant: a reading that is not c has the band's width + 1 as its
distance. A reading is an excursion if its distance exceeds the band's width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Groups:
    """Lots in an array that holds the readings lot after lot.

    Args:
        sizes: Number of readings of each lot, shape (lots,), each 1 or more.

    Example:
        >>> groups = Groups.of(np.array([7, 7, 8]))
        >>> groups.sizes.tolist()
        [2, 1]
        >>> groups.sum(np.array([1.0, 2.0, 5.0])).tolist()
        [3.0, 5.0]
    """

    sizes: Numbers

    @classmethod
    def of(cls, keys: NDArray[np.generic]) -> Groups:
        """Group equal neighbours in `keys`, shape (readings,)."""
        is_first = np.ones(len(keys), bool)
        is_first[1:] = keys[1:] != keys[:-1]
        return cls(np.diff(np.append(np.flatnonzero(is_first), len(keys))))

    @cached_property
    def starts(self) -> Numbers:
        """Index of each lot's first reading, shape (lots,)."""
        return np.cumsum(self.sizes) - self.sizes

    def sum(self, x: NDArray[np.generic]) -> Array:
        """Sum `x` over each lot; for a mask, count how often it is true."""
        return np.add.reduceat(x, self.starts, dtype=np.float64)

    def spread(self, values: NDArray[T]) -> NDArray[T]:
        """Repeat each lot's value for each of its readings."""
        return np.repeat(values, self.sizes)

    def sort(self, x: Array) -> Array:
        """Sort the readings within each lot, ascending.

        Lots of equal size become the rows of one matrix, because sorting that once is faster.
        """
        by_size = np.argsort(self.sizes, kind="stable")
        sizes, firsts = np.unique(self.sizes[by_size], return_index=True)
        found = np.empty_like(x)
        for size, lots in zip(sizes, np.split(by_size, firsts[1:]), strict=False):
            places = self.starts[lots, None] + np.arange(size)
            found[places] = np.sort(x[places], axis=1)
        return found


@dataclass(frozen=True, eq=False)
class Sample:
    """One column of the readings, shape (readings,), and values that several statistics share.

    `edge` is the band's width, if the column holds distances.
    """

    x: Array
    groups: Groups
    edge: float = 0.0

    @cached_property
    def minimum(self) -> Array:
        """Minimum of each lot."""
        return np.minimum.reduceat(self.x, self.groups.starts)

    @cached_property
    def maximum(self) -> Array:
        """Maximum of each lot."""
        return np.maximum.reduceat(self.x, self.groups.starts)

    @cached_property
    def mean(self) -> Array:
        """Mean of each lot; a second pass removes the rounding error of the first.

        So the mean of equal readings is that reading, and their deviation is 0.
        """
        rough = self.groups.sum(self.x) / self.groups.sizes
        rest = self.groups.sum(self.x - self.groups.spread(rough))
        return rough + rest / self.groups.sizes

    @cached_property
    def centred(self) -> Array:
        """Each reading minus the mean of its lot."""
        return self.x - self.groups.spread(self.mean)

    @cached_property
    def squares(self) -> Array:
        """Square of each reading's difference from the mean of its lot."""
        return self.centred * self.centred

    @cached_property
    def ordered(self) -> Array:
        """The readings of each lot in ascending order."""
        return self.groups.sort(self.x)

    def std(self) -> Array:
        """Return the sample standard deviation; NaN for one reading."""
        degrees = self.groups.sizes - 1
        return np.sqrt(_ratio(self.groups.sum(self.squares), degrees, degrees > 0))

    def skew(self) -> Array:
        """Return the third standardised moment without bias correction; NaN for a constant."""
        second = self.groups.sum(self.squares) / self.groups.sizes
        third = self.groups.sum(self.squares * self.centred) / self.groups.sizes
        return _ratio(third, second * np.sqrt(second), self.minimum < self.maximum)

    def quantile(self, q: float) -> Array:
        """Return the quantile, linear between readings like `numpy.quantile`."""
        last = self.groups.sizes - 1
        place = q * last
        below = place.astype(np.int64)
        part = place - below
        low, high = (
            self.ordered[self.groups.starts + at] for at in (below, np.minimum(below + 1, last))
        )
        step = high - low
        found: Array = np.where(part < 0.5, low + step * part, high - step * (1 - part))
        return found


def _ratio(x: Array, y: Array | Numbers, has_value: NDArray[np.bool_]) -> Array:
    """Return x / y for each lot; NaN for the lots without a value."""
    found = np.full(len(x), np.nan)
    np.divide(x, y, out=found, where=has_value)
    return found


@dataclass(frozen=True)
class Statistic:
    """One number of each lot, from one column of the readings."""

    name: str
    type: str
    meaning: str
    of: Callable[[Sample], Array]


@dataclass(frozen=True)
class Band:
    """Centre and scale of one variable, in its unit; width in scales."""

    centre: float
    scale: float
    width: float

    def distance(self, x: Array) -> Array:
        """Return the distance of each reading from the centre, in scales.

        A constant has no scale, so a reading off it is one scale beyond the edge, however far.

        Example:
            >>> Band(4.0, 0.0, width=2.0).distance(np.array([4.0, 9.0])).tolist()
            [0.0, 3.0]
        """
        if self.scale > 0:
            return np.abs(x - self.centre) / self.scale
        return np.where(x == self.centre, 0.0, self.width + 1.0)


BAND_QUANTILES = (0.05, 0.5, 0.95)
BAND_NORMAL = 2 * 1.6448536269514722
"""Standard deviations of a normal distribution between its 5th and its 95th percentile.

A scale from these two is also right for a flat distribution between hard limits. There the median
absolute deviation is too large by half. One lot in twenty may be off and not change the scale.
"""


def band(quantiles: Sequence[float], width: float) -> Band:
    """Return the band of a variable from its `BAND_QUANTILES`."""
    low, centre, high = quantiles
    return Band(centre, (high - low) / BAND_NORMAL, width)


def fit_band(x: Array, width: float) -> Band:
    """Fit the band of one variable.

    Args:
        x: Readings, shape (n,), n ≥ 1, in the variable's unit.
        width: Distance from the centre to the band's edge, in scales.

    Returns:
        The median as centre, and as scale the range from the 5th to the 95th percentile over that
        of a normal distribution; both in the variable's unit.

    Raises:
        IndexError: There is no reading.

    Example:
        >>> band = fit_band(np.arange(101.0), width=2.0)
        >>> band.centre, round(band.scale, 2), band.width
        (50.0, 27.36, 2.0)
        >>> band.distance(np.array([50.0, 110.0])).round(2).tolist()
        [0.0, 2.19]
    """
    return band(np.quantile(x, BAND_QUANTILES).tolist(), width)


VALUES = (
    Statistic("mean", "double", "mean", lambda x: x.mean),
    Statistic("std", "double", "sample standard deviation", Sample.std),
    Statistic("min", "double", "minimum", lambda x: x.minimum),
    Statistic("max", "double", "maximum", lambda x: x.maximum),
    Statistic(
        "q05", "double", "5th percentile, linear between readings", lambda x: x.quantile(0.05)
    ),
    Statistic(
        "q95", "double", "95th percentile, linear between readings", lambda x: x.quantile(0.95)
    ),
    Statistic("skew", "double", "skewness", Sample.skew),
)
"""Statistics of a variable's readings."""

DISTANCES = (
    Statistic(
        "excursions",
        "bigint",
        "readings outside the band",
        lambda z: z.groups.sum(z.x > z.edge),
    ),
    Statistic(
        "distance_max",
        "double",
        "largest distance from the band's centre, in scales",
        lambda z: z.maximum,
    ),
    Statistic(
        "excess",
        "double",
        "sum of the distances beyond the band's edge, in scales",
        lambda z: z.groups.sum(np.maximum(z.x - z.edge, 0.0)),
    ),
)
"""Statistics of a variable's distances from its band's centre."""

TOGETHER = (
    Statistic(
        "readings_outside",
        "bigint",
        "readings with one or more variables outside their bands",
        lambda n: n.groups.sum(n.x >= 1),
    ),
    Statistic(
        "joint_excursions",
        "bigint",
        "readings with two or more variables outside their bands at once",
        lambda n: n.groups.sum(n.x >= 2),
    ),
    Statistic(
        "variables_outside_max",
        "bigint",
        "most variables outside their bands at once",
        lambda n: n.maximum,
    ),
)
"""Statistics of the number of variables that are outside their bands in one reading."""


def feature_columns(
    values: Mapping[str, Array], groups: Groups, bands: Mapping[str, Band]
) -> dict[str, Array]:
    """Compute all statistics of the lots, each of shape (lots,): the columns of `lot_features`.

    `values` maps each variable to its readings, shape (readings,), in its unit.
    """
    return value_columns(values, groups) | band_columns(values, groups, bands)


def value_columns(values: Mapping[str, Array], groups: Groups) -> dict[str, Array]:
    """Compute the columns of `feature_columns` that need no bands."""
    found = {"readings": groups.sizes.astype(np.float64)}
    with np.errstate(over="ignore", invalid="ignore"):
        for name, x in values.items():
            sample = Sample(x, groups)
            found |= {f"{name}_{s.name}": s.of(sample) for s in VALUES}
    return found


def band_columns(
    values: Mapping[str, Array], groups: Groups, bands: Mapping[str, Band]
) -> dict[str, Array]:
    """Compute the columns of `feature_columns` that depend on the bands."""
    found: dict[str, Array] = {}
    outside = np.zeros(groups.sizes.sum())
    for name, x in values.items():
        distances = Sample(bands[name].distance(x), groups, bands[name].width)
        outside += distances.x > distances.edge
        found |= {f"{name}_{s.name}": s.of(distances) for s in DISTANCES}
    return found | {s.name: s.of(Sample(outside, groups)) for s in TOGETHER}


def lot_statistics(values: Mapping[str, Array], bands: Mapping[str, Band]) -> dict[str, float]:
    """Compute all statistics of one lot; all variables have readings of one shape (n,), n ≥ 1."""
    groups = Groups(np.array([len(next(iter(values.values())))]))
    return {name: float(x[0]) for name, x in feature_columns(values, groups, bands).items()}
