"""What a model for lots knows: the range of the lots that it learned from.

A tree says something of any lot, also of one that is cut off, or whose sensors stand still. So a
model keeps limits of its own lots, and leaves a lot beyond them to a person. This follows the idea
of an applicability domain by ranges of features (Netzeva et al. 2005).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lakehouse.statistics import Array
from ml.data.lots import Matrix, feature_names

FEWEST, MOST = 0.8, 1.25
"""Share of the usual smallest and largest number of readings that a whole lot has."""
STILL = 0.1
"""A sensor is stuck if its deviation is below this share of the least usual one."""
USUAL = (0.01, 0.99)
"""Quantiles of the known lots between which a number of readings or a deviation is usual."""
MARGIN, FOR_FEW = 0.5, 10.0
"""A feature may lie beyond the known range by `MARGIN + FOR_FEW / lots` times its length."""


@dataclass(frozen=True)
class KnownLots:
    """Limits of the lots that a model learned from.

    `low` and `high` map each feature to the limits of its value. `still` maps each variable to the
    deviation below which its sensor is stuck, in the variable's unit; 0: it may stand still.
    `longest` is the limit of the seconds from the first to the last reading, if they are known.
    """

    low: Mapping[str, float]
    high: Mapping[str, float]
    still: Mapping[str, float]
    longest: float | None = None

    @classmethod
    def of(cls, features: Matrix, variables: Sequence[str], seconds: Array | None = None) -> Self:
        """Learn the limits.

        Args:
            features: of the lots, shape (lots, features), in the order of `feature_names`.
            variables: of the stage, in order.
            seconds: from the first to the last reading of each lot, shape (lots,).

        Returns:
            The limits.

        Example:
            >>> draw, names = np.random.default_rng(0), feature_names(["ph"])
            >>> lots = draw.normal(7, 0.1, (50, len(names))).astype(np.float32)
            >>> known = KnownLots.of(lots, ["ph"])
            >>> odd = lots[:3].copy()
            >>> odd[0, names.index("readings")] = 1
            >>> odd[1, names.index("ph_std")] = 0
            >>> known.reasons(odd)
            ['few_readings: 1 < 6', 'stuck: ph', None]
        """
        names = feature_names(variables)
        least, most = features.min(axis=0), features.max(axis=0)
        beyond = (most - least) * (MARGIN + FOR_FEW / len(features))
        low, high = dict(zip(names, least - beyond, strict=True)), {}
        high = dict(zip(names, most + beyond, strict=True))
        few, many = np.quantile(features[:, names.index("readings")], USUAL)
        low["readings"], high["readings"] = np.ceil(FEWEST * few), np.floor(MOST * many)
        still = {
            name: STILL * np.quantile(features[:, names.index(f"{name}_std")], USUAL[0])
            for name in variables
        }
        limits = [{name: float(x) for name, x in some.items()} for some in (low, high, still)]
        longest = None if seconds is None else float(MOST * np.quantile(seconds, USUAL[1]))
        return cls(limits[0], limits[1], limits[2], longest)

    @property
    def variables(self) -> list[str]:
        """The variables, in the order of the features."""
        return list(self.still)

    def reasons(self, features: Matrix, seconds: Array | None = None) -> list[str | None]:
        """Say of each lot why a person must decide, as `key: detail`; None if the model may.

        Args:
            features: shape (lots, features), in the order of `feature_names`.
            seconds: from the first to the last reading of each lot, shape (lots,); None: unknown.
        """
        names = feature_names(self.variables)
        low, high = (np.array([of[name] for name in names]) for of in (self.low, self.high))
        beyond = np.maximum(low - features, features - high)
        still = {name: self._is_still(features, names, name) for name in self.still}
        found: list[str | None] = [None] * len(features)
        is_odd = (beyond > 0).any(axis=1) | np.any(list(still.values()), axis=0)
        relative = beyond / np.maximum(high - low, 1e-9)
        for at in np.flatnonzero(is_odd):
            stuck = [name for name, is_still in still.items() if is_still[at]]
            found[at] = self._reason(features[at], names, names[int(relative[at].argmax())], stuck)
        if self.longest and seconds is not None:
            for at in np.flatnonzero(seconds > self.longest):
                found[at] = found[at] or f"gaps: {seconds[at]:.0f} s > {self.longest:.0f} s"
        return found

    def _is_still(self, features: Matrix, names: list[str], variable: str) -> NDArray[np.bool_]:
        return features[:, names.index(f"{variable}_std")] < self.still[variable]

    def _reason(self, lot: Matrix, names: list[str], farthest: str, stuck: list[str]) -> str:
        """Return the first that holds: not whole, a sensor missing or stuck, or unlike."""
        value = dict(zip(names, lot.tolist(), strict=True))
        readings = value["readings"]
        if readings < self.low["readings"]:
            return f"few_readings: {readings:.0f} < {self.low['readings']:.0f}"
        if readings > self.high["readings"]:
            return f"many_readings: {readings:.0f} > {self.high['readings']:.0f}"
        missing = [name for name in stuck if self._is_missing(value, name)]
        if missing:
            return f"missing: {', '.join(missing)}"
        if stuck:
            return f"stuck: {', '.join(stuck)}"
        low, high, found = self.low[farthest], self.high[farthest], value[farthest]
        beyond = f"< {low:.4g}" if found < low else f"> {high:.4g}"
        return f"unlike: {farthest} {found:.4g} {beyond}"

    def _is_missing(self, value: Mapping[str, float], variable: str) -> bool:
        """Return whether the variable has no value at all: its features are then all 0."""
        empty = all(value[f"{variable}_{name}"] == 0 for name in ("mean", "min", "max", "std"))
        mean = f"{variable}_mean"
        return empty and not self.low[mean] <= 0 <= self.high[mean]
