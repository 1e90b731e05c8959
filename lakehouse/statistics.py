"""Statistics of a lot, each defined once: its Spark form and its NumPy form side by side.

The lake computes with the first, serving (which has no Spark) with the second; a property
test holds them equal. A statistic without a value (the skew of a constant) is null in Spark
and NaN in NumPy.

For a variable with band centre c and scale s, the distance of a reading x is |x - c| / s; it is
0 where s is 0. A reading is an excursion where its distance exceeds the band's width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyspark.sql import Column as Spark

Array = NDArray[np.float64]


def _f() -> Any:
    from pyspark.sql import functions

    return functions


def _skew(x: Array) -> float:
    """Third standardised moment, population form (no bias correction), as Spark's skewness."""
    if x.min() == x.max():
        return float("nan")
    centred = x - x.mean()
    return float((centred**3).mean() / (centred**2).mean() ** 1.5)


@dataclass(frozen=True)
class Statistic:
    """One number of a lot, from one column of its readings."""

    name: str
    type: str
    meaning: str
    spark: Callable[[Spark], Spark]
    numpy: Callable[[Array], float]


@dataclass(frozen=True)
class BandStatistic:
    """One number of a lot, from one column of its readings and the band's width."""

    name: str
    type: str
    meaning: str
    spark: Callable[[Spark, float], Spark]
    numpy: Callable[[Array, float], float]


@dataclass(frozen=True)
class Band:
    """Centre and scale of one variable, in its unit; width in scales."""

    centre: float
    scale: float
    width: float


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
    """The band of these readings, shape (n,), n ≥ 1 (NumPy form of `fit_bands`)."""
    return band(np.quantile(x, BAND_QUANTILES).tolist(), width)


VALUES = (
    Statistic("mean", "double", "mean", lambda x: _f().mean(x), lambda x: float(x.mean())),
    Statistic(
        "std",
        "double",
        "sample standard deviation",
        lambda x: _f().stddev_samp(x),
        lambda x: float(x.std(ddof=1)) if len(x) > 1 else float("nan"),
    ),
    Statistic("min", "double", "minimum", lambda x: _f().min(x), lambda x: float(x.min())),
    Statistic("max", "double", "maximum", lambda x: _f().max(x), lambda x: float(x.max())),
    Statistic(
        "q05",
        "double",
        "5th percentile, linear between readings",
        lambda x: _f().percentile(x, 0.05),
        lambda x: float(np.quantile(x, 0.05)),
    ),
    Statistic(
        "q95",
        "double",
        "95th percentile, linear between readings",
        lambda x: _f().percentile(x, 0.95),
        lambda x: float(np.quantile(x, 0.95)),
    ),
    Statistic("skew", "double", "skewness", lambda x: _f().skewness(x), _skew),
)
"""Of a variable's readings."""

DISTANCES = (
    BandStatistic(
        "excursions",
        "bigint",
        "readings outside the band",
        lambda z, width: _f().count_if(z > width),
        lambda z, width: float((z > width).sum()),
    ),
    BandStatistic(
        "distance_max",
        "double",
        "largest distance from the band's centre, in scales",
        lambda z, width: _f().max(z),
        lambda z, width: float(z.max()),
    ),
    BandStatistic(
        "excess",
        "double",
        "sum of the distances beyond the band's edge, in scales",
        lambda z, width: _f().sum(_f().greatest(z - width, _f().lit(0.0))),
        lambda z, width: float(np.maximum(z - width, 0.0).sum()),
    ),
)
"""Of a variable's distances from its band's centre."""

TOGETHER = (
    Statistic(
        "readings_outside",
        "bigint",
        "readings with one or more variables outside their bands",
        lambda n: _f().count_if(n >= 1),
        lambda n: float((n >= 1).sum()),
    ),
    Statistic(
        "joint_excursions",
        "bigint",
        "readings with two or more variables outside their bands at once",
        lambda n: _f().count_if(n >= 2),
        lambda n: float((n >= 2).sum()),
    ),
    Statistic(
        "variables_outside_max",
        "bigint",
        "most variables outside their bands at once",
        lambda n: _f().max(n),
        lambda n: float(n.max()),
    ),
)
"""Of the number of variables that are outside their bands in one reading."""


def distance(x: Spark, band: Band) -> Spark:
    """Distance of each reading from the band's centre, in scales (Spark form)."""
    return _f().abs(x - band.centre) / band.scale if band.scale > 0 else x * 0.0


def lot_statistics(values: Mapping[str, Array], bands: Mapping[str, Band]) -> dict[str, float]:
    """All statistics of one lot's readings (NumPy form): the columns of `lot_features`.

    `values` maps each variable to its readings, shape (n,), n ≥ 1, equally long, in its unit.
    """
    return value_statistics(values) | band_statistics(values, bands)


def value_statistics(values: Mapping[str, Array]) -> dict[str, float]:
    """Those of `lot_statistics` that need no bands."""
    result: dict[str, float] = {"readings": float(len(next(iter(values.values()))))}
    for name, x in values.items():
        result |= {f"{name}_{s.name}": s.numpy(x) for s in VALUES}
    return result


def band_statistics(values: Mapping[str, Array], bands: Mapping[str, Band]) -> dict[str, float]:
    """Those of `lot_statistics` that depend on the bands."""
    result: dict[str, float] = {}
    outside = np.zeros(len(next(iter(values.values()))))
    for name, x in values.items():
        band = bands[name]
        z = np.abs(x - band.centre) / band.scale if band.scale > 0 else x * 0.0
        outside += z > band.width
        result |= {f"{name}_{s.name}": s.numpy(z, band.width) for s in DISTANCES}
    return result | {s.name: s.numpy(outside) for s in TOGETHER}
