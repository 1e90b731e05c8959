"""Statistics of lots, each defined once, over many lots at a time.

The readings lie lot after lot in one array, those of a lot in order of time; `Groups` says how
many each lot has. A statistic is an array of one number a lot, NaN where it has no value (the skew
of a constant). The numbers of a lot depend on its own readings and their order, to the last bit,
and not on the lots that are computed together with it.

For a variable with band centre c and scale s, the distance of a reading x is |x - c| / s; it is
0 where s is 0. A reading is an excursion where its distance exceeds the band's width.
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

    `sizes` is the number of readings of each lot, shape (lots,), each 1 or more.
    """

    sizes: Numbers

    @classmethod
    def of(cls, keys: NDArray[np.generic]) -> Groups:
        """The groups of equal neighbours in `keys`, shape (readings,)."""
        is_first = np.ones(len(keys), bool)
        is_first[1:] = keys[1:] != keys[:-1]
        return cls(np.diff(np.append(np.flatnonzero(is_first), len(keys))))

    @cached_property
    def starts(self) -> Numbers:
        """Where each lot starts, shape (lots,)."""
        return np.cumsum(self.sizes) - self.sizes

    def sum(self, x: NDArray[np.generic]) -> Array:
        """Sum of each lot; of a mask, how often it is true."""
        return np.add.reduceat(x, self.starts, dtype=np.float64)

    def spread(self, values: NDArray[T]) -> NDArray[T]:
        """One value a lot, repeated for each of its readings."""
        return np.repeat(values, self.sizes)

    def sort(self, x: Array) -> Array:
        """The readings with those of each lot in ascending order.

        Lots of equal size are the rows of one matrix, which is sorted at once.
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
    """One column of the readings, shape (readings,), with what several statistics share.

    `edge` is the width of the band where the column holds distances.
    """

    x: Array
    groups: Groups
    edge: float = 0.0

    @cached_property
    def minimum(self) -> Array:
        """Of each lot."""
        return np.minimum.reduceat(self.x, self.groups.starts)

    @cached_property
    def maximum(self) -> Array:
        """Of each lot."""
        return np.maximum.reduceat(self.x, self.groups.starts)

    @cached_property
    def mean(self) -> Array:
        """Of each lot; a second pass removes the rounding error of the first.

        So the mean of equal readings is that reading, and their deviation is 0.
        """
        rough = self.groups.sum(self.x) / self.groups.sizes
        rest = self.groups.sum(self.x - self.groups.spread(rough))
        return rough + rest / self.groups.sizes

    @cached_property
    def centred(self) -> Array:
        """Each reading less the mean of its lot."""
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
        """Sample standard deviation; NaN for one reading."""
        degrees = self.groups.sizes - 1
        return np.sqrt(_ratio(self.groups.sum(self.squares), degrees, degrees > 0))

    def skew(self) -> Array:
        """Third standardised moment, population form (no bias correction); NaN of a constant."""
        second = self.groups.sum(self.squares) / self.groups.sizes
        third = self.groups.sum(self.squares * self.centred) / self.groups.sizes
        return _ratio(third, second * np.sqrt(second), self.minimum < self.maximum)

    def quantile(self, q: float) -> Array:
        """Linear between readings, as `numpy.quantile`."""
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
    """Of each lot, x / y; NaN for the lots without a value."""
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
        """Distance of each reading from the centre, in scales."""
        return np.abs(x - self.centre) / self.scale if self.scale > 0 else x * 0.0


BAND_QUANTILES = (0.05, 0.5, 0.95)
BAND_NORMAL = 2 * 1.6448536269514722
"""Standard deviations of a normal distribution between its 5th and its 95th percentile.

From these two a scale is right for a flat distribution between hard limits as well, where the
median absolute deviation overstates it by half; one lot in twenty may be off without moving it.
"""


def band(quantiles: Sequence[float], width: float) -> Band:
    """The band of a variable of which these are the `BAND_QUANTILES`."""
    low, centre, high = quantiles
    return Band(centre, (high - low) / BAND_NORMAL, width)


def fit_band(x: Array, width: float) -> Band:
    """The band of these readings, shape (n,), n ≥ 1."""
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
"""Of a variable's readings."""

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
"""Of a variable's distances from its band's centre."""

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
"""Of the number of variables that are outside their bands in one reading."""


def feature_columns(
    values: Mapping[str, Array], groups: Groups, bands: Mapping[str, Band]
) -> dict[str, Array]:
    """All statistics of these lots, each of shape (lots,): the columns of `lot_features`.

    `values` maps each variable to its readings, shape (readings,), in its unit.
    """
    return value_columns(values, groups) | band_columns(values, groups, bands)


def value_columns(values: Mapping[str, Array], groups: Groups) -> dict[str, Array]:
    """Those of `feature_columns` that need no bands."""
    found = {"readings": groups.sizes.astype(np.float64)}
    with np.errstate(over="ignore", invalid="ignore"):
        for name, x in values.items():
            sample = Sample(x, groups)
            found |= {f"{name}_{s.name}": s.of(sample) for s in VALUES}
    return found


def band_columns(
    values: Mapping[str, Array], groups: Groups, bands: Mapping[str, Band]
) -> dict[str, Array]:
    """Those of `feature_columns` that depend on the bands."""
    found: dict[str, Array] = {}
    outside = np.zeros(groups.sizes.sum())
    for name, x in values.items():
        distances = Sample(bands[name].distance(x), groups, bands[name].width)
        outside += distances.x > distances.edge
        found |= {f"{name}_{s.name}": s.of(distances) for s in DISTANCES}
    return found | {s.name: s.of(Sample(outside, groups)) for s in TOGETHER}


def lot_statistics(values: Mapping[str, Array], bands: Mapping[str, Band]) -> dict[str, float]:
    """All statistics of one lot, each variable's readings of shape (n,), n ≥ 1, equally long."""
    groups = Groups(np.array([len(next(iter(values.values())))]))
    return {name: float(x[0]) for name, x in feature_columns(values, groups, bands).items()}
