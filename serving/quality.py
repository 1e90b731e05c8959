"""How many lots of a stage fail, by day or week, and which variables are behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from lakehouse.delta.lake import Lake
from lakehouse.derive import control
from lakehouse.stage import Stage
from lakehouse.tables.lot_features import lot_features
from lakehouse.tables.lots import LOTS
from serving.charts import ChartView, drawn
from serving.process import Period
from serving.records.verdict_days import Sample, VerdictDay, VerdictDays

BY = ("week", "day")
MOST_GROUPS = 200
"""A chart shows so many days or weeks, the last ones."""


@dataclass(frozen=True)
class Group:
    """The labelled lots of a day or week, with the failed share, its interval and its limits."""

    first: date
    last: date
    failed: int
    total: int
    share: float
    low: float
    high: float
    is_outside: bool


@dataclass(frozen=True)
class Failures:
    """What the page says about failed lots.

    `behind` counts failed lots by the variable that was most often outside its band; an empty name
    means that no variable was.
    """

    groups: list[Group]
    picture: ChartView | None
    behind: list[tuple[str, int]]


def failures_of(lake: Lake, stage: Stage, by: str, period: Period) -> Failures:
    """Count the failed lots by day or week (from Monday), and by the variable behind them.

    Lots without a label do not count. The limits come from all days or weeks of the period.
    """
    rows = lake.load(LOTS, columns=("day", "lot", "label")).to_pylist()
    rows = [row for row in rows if row["label"] != "unknown" and period.has(row["day"])]
    total: Counter[date] = Counter(_start(row["day"], by) for row in rows)
    failed = [row for row in rows if row["label"] == "failed"]
    count: Counter[date] = Counter(_start(row["day"], by) for row in failed)
    firsts = sorted(total)[-MOST_GROUPS:]
    behind = _behind(lake, stage, {(row["day"], row["lot"]) for row in failed})
    if not firsts:
        return Failures([], None, behind)
    bad, all_lots = (np.array([one[first] for first in firsts]) for one in (count, total))
    chart = control.share_chart(bad, all_lots, np.ones(len(firsts), bool))
    low, high = control.share_interval(bad, all_lots)
    days = 7 if by == "week" else 1
    groups = [
        Group(
            first,
            first + timedelta(days - 1),
            int(bad[i]),
            int(all_lots[i]),
            float(chart.points[i]),
            float(low[i]),
            float(high[i]),
            bool(chart.outside[i]),
        )
        for i, first in enumerate(firsts)
    ]
    return Failures(groups, _picture(groups, chart, by), behind)


@dataclass(frozen=True)
class PhotoFigures:
    """What the page says about verdicts on photos.

    `missed` is the share of bad parts among good verdicts, from the labelled photos of the random
    sample, with its 95 % interval; None without such photos.
    """

    days: list[VerdictDay]
    sample: Sample
    missed: tuple[float, float, float] | None


def photo_figures(verdicts: VerdictDays, period: Period) -> PhotoFigures:
    """Count verdicts and reviews by day, and estimate the misses without bias.

    The sample is drawn at random when the verdict is given, before anybody looks. Photos that
    reach review because somebody disagrees do not count: they would make the share too high.
    """
    sample = verdicts.sample(period.first, period.last)
    missed = None
    if sample.labelled:
        low, high = control.share_interval(np.array(sample.bad), np.array(sample.labelled))
        missed = (sample.bad / sample.labelled, float(low), float(high))
    return PhotoFigures(verdicts.days(period.first, period.last), sample, missed)


def _start(day: date, by: str) -> date:
    return day - timedelta(day.weekday()) if by == "week" else day


def _picture(groups: Sequence[Group], chart: control.Chart, by: str) -> ChartView:
    per_cent = 100.0
    lines = [("centre", chart.centre), ("lower", chart.low), ("upper", chart.high)]
    return drawn(
        chart.points * per_cent,
        [(name, line * per_cent) for name, line in lines],
        [f"{one.first}: {one.failed} / {one.total}" for one in groups],
        [link_of(one, by) for one in groups],
        ["hit" if one.is_outside else "" for one in groups],
        [False] * len(groups),
        [str(one.first) for one in groups],
        (np.array([one.low for one in groups]) * 100, np.array([one.high for one in groups]) * 100),
    )


def link_of(group: Group, by: str) -> str:
    """Return the address that shows a group closer: the days of a week, the lots of a day."""
    if by == "week":
        return f"/quality?by=day&first_day={group.first}&last_day={group.last}"
    return f"/lots?day={group.first}"


def _behind(lake: Lake, stage: Stage, failed: set[tuple[date, str]]) -> list[tuple[str, int]]:
    """Count failed lots by the variable with most readings outside its band, most first."""
    names = [variable.name for variable in stage.variables]
    if not failed or not names:
        return []
    columns = [f"{name}_excursions" for name in names]
    found: pa.Table = lake.load(lot_features(stage), columns=("day", "lot", *columns))
    counts: Counter[str] = Counter()
    for row in found.to_pylist():
        if (row["day"], row["lot"]) in failed:
            outside = {name: row[f"{name}_excursions"] or 0 for name in names}
            most = max(outside, key=lambda name: outside[name])
            counts[most if outside[most] else ""] += 1
    return counts.most_common()
