"""The process of a stage for a quality engineer: control charts of a variable, lot by lot."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.delta.lake import Lake
from lakehouse.derive import control
from lakehouse.derive.control import Capability, Chart, Limits, Mask
from lakehouse.stage import Stage
from lakehouse.stage_sections import Variable
from lakehouse.statistics import Array, Numbers
from lakehouse.tables.control_limits import CONTROL_LIMITS
from lakehouse.tables.lot_features import lot_features
from lakehouse.tables.lots import LOTS
from serving.charts import ChartView, drawn, number

CHARTS = ("individuals", "moving_range", "means", "deviations", "ewma", "cusum", "run")
KEPT_IN = {
    "individuals": "individuals",
    "moving_range": "individuals",
    "ewma": "individuals",
    "cusum": "individuals",
    "means": "means",
    "deviations": "means",
}
"""The chart in `control_limits` whose row gives the limits. A run chart has none."""
WITHOUT_RULES = ("moving_range", "ewma", "cusum", "run")
"""Charts whose points are not independent, so that only the limits count, or that have none."""
RULES = {"nelson": control.nelson, "western": control.western_electric}
"""Sets of rules: all of Nelson's, or the four of Western Electric, with fewer false alarms."""
MOST_POINTS = 400
"""A chart shows so many lots, the last ones of the period."""


@dataclass(frozen=True)
class Period:
    """Days from first to last, both included; None is open."""

    first: date | None = None
    last: date | None = None

    def has(self, day: date) -> bool:
        """Return whether the day is in the period."""
        return (self.first or day) <= day <= (self.last or day)


@dataclass(frozen=True)
class Point:
    """A lot on a chart, with the names of the rules that it breaks."""

    day: date
    lot: str
    label: str
    value: float
    low: float
    high: float
    rules: tuple[str, ...]


@dataclass(frozen=True)
class KeptLimits:
    """Limits of a chart that somebody set; the table `control_limits` explains the fields."""

    version: int
    limits: Limits
    first_day: date
    last_day: date
    lots: int
    reason: str
    who: str
    set_at: datetime


@dataclass(frozen=True)
class ProcessView:
    """A chart with all that the page says about it.

    `base_lots` counts the lots that made the limits. `hidden` counts earlier lots of the period
    that are not drawn. `is_normal` says whether the lots' means are, None if that is unknown.
    `kept` are the limits that somebody set, if the chart uses them.
    """

    variable: Variable
    chart: str
    picture: ChartView | None = None
    points: list[Point] = field(default_factory=list)
    base_lots: int = 0
    hidden: int = 0
    within: Capability | None = None
    total: Capability | None = None
    is_normal: bool | None = None
    kept: KeptLimits | None = None

    @property
    def hits(self) -> list[Point]:
        """The points that break a rule, the newest first."""
        return [point for point in reversed(self.points) if point.rules]


@dataclass(frozen=True, eq=False)
class _Lots:
    """Lots in order of time, each array of shape (lots,)."""

    days: list[date]
    names: list[str]
    labels: list[str]
    means: Array
    stds: Array
    sizes: Numbers

    @property
    def have_spread(self) -> bool:
        """Whether a lot has two readings or more."""
        return bool((self.sizes > 1).any())

    def in_base(self, base: Period) -> Mask:
        """Return which lots make the limits: those of the period that the plant did not fail."""
        pairs = zip(self.days, self.labels, strict=True)
        return np.array([base.has(day) and label != "failed" for day, label in pairs], bool)

    def of(self, mask: Mask) -> _Lots:
        at = np.flatnonzero(mask).tolist()
        return _Lots(
            [self.days[i] for i in at],
            [self.names[i] for i in at],
            [self.labels[i] for i in at],
            self.means[mask],
            self.stds[mask],
            self.sizes[mask],
        )


class Process:
    """Reads the features of a stage's lots, and charts them."""

    def __init__(self, lake: Lake, stage: Stage) -> None:
        self.lake, self.stage = lake, stage

    def view(
        self,
        variable: Variable,
        chart: str,
        shown: Period,
        base: Period,
        rules: str = "nelson",
    ) -> ProcessView:
        """Return the chart of a variable.

        Args:
            variable: A variable of the stage.
            chart: One of CHARTS.
            shown: Days of the lots on the chart.
            base: Days of the lots that make the limits. Failed lots never do. An open period
                means the limits that somebody set last; if there are none, all lots.
            rules: One of RULES.

        Returns:
            The view. It has no picture if there are no lots, or too few in the base period.
        """
        lots = self._lots(variable)
        kept = self.kept(variable, chart) if base == Period() else None
        if kept:
            base = Period(kept.first_day, kept.last_day)
        in_base = lots.in_base(base)
        try:
            made = _made(chart, lots, kept.limits if kept else in_base)
        except ValueError:
            return ProcessView(variable, chart)
        count = kept.lots if kept else int(in_base.sum())
        wanted = np.flatnonzero([shown.has(day) for day in lots.days])
        at = wanted[-MOST_POINTS:].tolist()
        if not at:
            return ProcessView(variable, chart, base_lots=count, kept=kept)
        points = _points(lots, made, _hits(chart, made, rules), at)
        return ProcessView(
            variable,
            chart,
            _picture(made, points, at, chart, variable),
            points,
            count,
            len(wanted) - len(at),
            *_capability(lots.of(in_base), variable),
            kept,
        )

    def kept(self, variable: Variable, chart: str) -> KeptLimits | None:
        """Return the limits of this chart that somebody set last, if any."""
        wanted = pc.field("variable") == variable.name
        rows = self.lake.load(CONTROL_LIMITS, where=wanted).to_pylist()
        last = max((row["version"] for row in rows), default=0)
        asked = (last, KEPT_IN.get(chart))
        row = next((row for row in rows if (row["version"], row["chart"]) == asked), None)
        if row is None:
            return None
        limits = Limits(row["centre"], row["sigma"])
        told = ("first_day", "last_day", "lots", "reason", "who", "set_at")
        return KeptLimits(row["version"], limits, *(row[name] for name in told))

    def limits(self, variable: Variable, base: Period) -> tuple[dict[str, Limits], int]:
        """Return the limits that a base period gives, by the names in KEPT_IN, and its lots.

        If each lot has one reading, there are none for `means`.

        Raises:
            ValueError: The period has fewer than two lots that the plant did not fail.
        """
        lots = self._lots(variable)
        lots = lots.of(lots.in_base(base))
        found = {"individuals": control.limits_of_individuals(lots.means)}
        if lots.have_spread:
            found["means"] = control.limits_of_readings(lots.means, lots.stds, lots.sizes)
        return found, len(lots.days)

    def _lots(self, variable: Variable) -> _Lots:
        """Read the lots that have a mean of this variable, in order of time."""
        mean, std = f"{variable.name}_mean", f"{variable.name}_std"
        features = self.lake.load(
            lot_features(self.stage), columns=("day", "lot", "readings", mean, std)
        )
        known = self.lake.load(LOTS, columns=("day", "lot", "label", "started_at"))
        rows = features.join(known, ["day", "lot"], join_type="inner")
        rows = rows.filter(pc.is_finite(rows[mean]))
        rows = rows.sort_by([("started_at", "ascending"), ("lot", "ascending")])
        return _Lots(
            rows["day"].to_pylist(),
            rows["lot"].to_pylist(),
            rows["label"].to_pylist(),
            _numbers(rows[mean]),
            _numbers(rows[std]),
            _numbers(rows["readings"]).astype(np.int64),
        )


def _numbers(column: pa.ChunkedArray) -> Array:
    found: Array = column.cast(pa.float64()).to_numpy()
    return found


def _made(chart: str, lots: _Lots, base: Mask | Limits) -> Chart:
    """Compute the chart of all lots; raises ValueError if the base is too small."""
    if chart == "moving_range":
        return control.moving_ranges(lots.means, base)
    if chart == "means":
        return control.means_by_lot(lots.means, lots.stds, lots.sizes, base)
    if chart == "deviations":
        return control.deviations_by_lot(lots.stds, lots.sizes, base)
    found = control.individuals(lots.means, base)
    if chart == "ewma":
        return control.ewma(lots.means, float(found.centre[0]), float(found.sigma[0]))
    if chart == "cusum":
        return control.cusum_chart(lots.means, float(found.centre[0]), float(found.sigma[0]))
    if chart == "run" and not isinstance(base, Limits):
        middle = np.full(len(lots.means), np.median(lots.means[base]))
        return Chart(lots.means, middle, found.sigma, *(np.full(len(middle), np.nan),) * 2)
    return found


def _hits(chart: str, made: Chart, rules: str) -> dict[str, Mask]:
    """Find the rules that each point breaks; of a constant only the limits."""
    if chart == "run":
        return {}
    if chart in WITHOUT_RULES or not (made.sigma > 0).all():
        return {"nelson_1": made.outside}
    return RULES[rules](made.z)


def _points(lots: _Lots, made: Chart, hits: dict[str, Mask], at: list[int]) -> list[Point]:
    return [
        Point(
            lots.days[i],
            lots.names[i],
            lots.labels[i],
            float(made.points[i]),
            float(made.low[i]),
            float(made.high[i]),
            tuple(name for name, hit in hits.items() if hit[i]),
        )
        for i in at
    ]


def _picture(
    made: Chart, points: list[Point], at: list[int], chart: str, variable: Variable
) -> ChartView:
    named = [("centre", made.centre), ("lower", made.low), ("upper", made.high)]
    lines = [(name, line[at]) for name, line in named if np.isfinite(line[at]).all()]
    if chart == "individuals":
        limits = {"lsl": variable.lsl, "usl": variable.usl, "target": variable.target}
        lines += [(name, np.full(len(at), x)) for name, x in limits.items() if x is not None]
    return drawn(
        made.points[at],
        lines,
        [f"{point.day} {point.lot}: {number(point.value)} {variable.unit}" for point in points],
        [f"/lots/{point.day}/{point.lot}" for point in points],
        ["hit" if point.rules else "" for point in points],
        [point.label == "failed" for point in points],
        [str(point.day) for point in points],
    )


def _capability(
    lots: _Lots, variable: Variable
) -> tuple[Capability | None, Capability | None, bool | None]:
    """Compare the readings of the base period with the variable's specification limits."""
    if (variable.lsl is None and variable.usl is None) or not lots.have_spread:
        return None, None, None
    mean, sigma = control.overall(lots.means, lots.stds, lots.sizes)
    compared = partial(control.capability, lsl=variable.lsl, usl=variable.usl)
    count = int(lots.sizes.sum())
    within = compared(mean, control.pooled(lots.stds, lots.sizes), count)
    return within, compared(mean, sigma, count), control.is_normal(lots.means)
