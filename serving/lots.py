"""Lots for the pages: the table of a day, the readings of a lot, and what drove its verdict.

The data come from the lake, read without Spark. The verdicts come from the champion's own code.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import IO, Any

import numpy as np
import pyarrow.compute as pc

from lakehouse.delta.lake import Lake
from lakehouse.files.readings import read_file
from lakehouse.files.rules import filter_held_back, filter_passed
from lakehouse.ingest.shares import much_quarantined
from lakehouse.settings import Settings
from lakehouse.stage import Stage
from lakehouse.stage_sections import Variable
from lakehouse.statistics import Array, Band, lot_statistics
from lakehouse.tables.lot_verdicts import LOT_VERDICTS
from lakehouse.tables.lots import LOTS
from lakehouse.tables.photos import PHOTOS
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings
from lakehouse.tables.runs import RUNS
from lakehouse.tables.unmatched_files import UNMATCHED_FILES
from ml.data.lots import as_matrix
from ml.use.explain import lot_rows, shap_parts
from ml.use.predictor import LotModel, Verdict
from serving.verdicts.champion import Champion

DAYS, RUN_ROWS, SHOWN_FILES = 15, 20, 50
LEFT, RIGHT, TOP, BOTTOM = 8.0, 412.0, 20.0, 120.0
"""Edges of a drawing, in SVG units."""
KEPT_LOTS = 256
SORTS = ("risk", "lot", "readings", "label", "verdict")
FIRST = ("bad", "needs_human", "good")
"""Order of the verdicts by risk. A lot that is unlike the known ones has any probability."""


@dataclass(frozen=True)
class Trace:
    """One variable of a lot as a drawing.

    `outside` are the readings outside the band: place, and value with time as text.
    """

    variable: Variable
    points: str
    least: str
    most: str
    low: str | None
    high: str | None
    band: tuple[float, float] | None
    outside: list[tuple[float, float, str]]


@dataclass(frozen=True)
class Part:
    """A feature that drove the verdict. `x` and `width` place its bar."""

    name: str
    value: float
    moves: float
    x: float
    width: float


@dataclass(frozen=True)
class LotView:
    """A lot as a page shows it. `start` and `end` are in the plant's time."""

    day: date
    name: str
    start: str = ""
    end: str = ""
    traces: list[Trace] = field(default_factory=list)
    verdict: Verdict | None = None
    parts: list[Part] = field(default_factory=list)


class Lots:
    """Reads the lots of one stage, and the flow of its data."""

    def __init__(self, lake: Lake, stage: Stage, settings: Settings, champion: Champion) -> None:
        self.lake, self.stage, self.settings = lake, stage, settings
        self.champion = champion
        self._warm = False
        self._names = functools.lru_cache(KEPT_LOTS)(self._read_names)
        self._explained = functools.lru_cache(KEPT_LOTS)(self._view)

    def warm(self) -> None:
        """Load what explanations need, by one of them, so that no visitor waits for it."""
        model: LotModel | None = self.champion.model
        if model and not self._warm:
            shap_parts(model, np.asarray(model.card["background"][:1], np.float32))
            self._warm = True

    def days(self) -> list[date]:
        """Return the last days that have readings, newest first."""
        return self._days()[:DAYS]

    def next_to(self, day: date) -> tuple[date | None, date | None]:
        """Return the day with readings before this one, and the one after it."""
        days = self._days()
        earlier = next((one for one in days if one < day), None)
        return earlier, next((one for one in reversed(days) if one > day), None)

    def _days(self) -> list[date]:
        days = self.lake.load(LOTS, columns=("day",))["day"].unique().to_pylist()
        return sorted(days, reverse=True)

    def last_reading(self) -> datetime | None:
        """Return the moment of the last reading, or None if there are no readings."""
        found: datetime | None = pc.max(
            self.lake.load(LOTS, columns=("ended_at",))["ended_at"]
        ).as_py()
        return found

    def names(self, day: date) -> list[str]:
        """Return the names of the lots that have readings of that day, in order."""
        return list(self._names(day, self.lake.version(LOTS)))

    def _read_names(self, day: date, version: int) -> tuple[str, ...]:
        """Read the names. `version` is part of the cache key."""
        found = {row["lot"] for row in self._of_day(LOTS, day, "lot")}
        return tuple(sorted(found, key=lambda name: (len(name), name)))

    def of_day(self, day: date, sort: str = "risk") -> list[dict[str, Any]]:
        """Return a row for each lot of a day.

        Args:
            day: A day of the plant.
            sort: One of SORTS. By risk: bad, needs_human, good, each by falling probability.

        Returns:
            Rows with lot, readings (count), label, verdict and risk (probability of bad). The last
            two are None if the champion has not predicted the lot.
        """
        lots = self._of_day(LOTS, day, "lot", "readings", "label")
        model = self.champion.model
        known = self._of_day(LOT_VERDICTS, day, "lot", "verdict", "probability", "model_sha256")
        verdicts = {
            row["lot"]: row for row in known if model and row["model_sha256"] == model.sha256
        }
        rows = []
        for lot in lots:
            said = verdicts.get(lot["lot"], {})
            rows.append({**lot, "verdict": said.get("verdict"), "risk": said.get("probability")})
        rows.sort(key=lambda row: (len(row["lot"]), row["lot"]))
        if sort == "risk":
            rows.sort(key=lambda row: _urgency(row["verdict"], row["risk"]))
        elif sort != "lot":
            rows.sort(key=lambda row: (row[sort] is None, row[sort] or 0))
        return rows

    def _of_day(self, table: Any, day: date, *columns: str) -> list[dict[str, Any]]:
        found = self.lake.load(table, where=pc.field("day") == day, columns=columns)
        rows: list[dict[str, Any]] = found.to_pylist()
        return rows

    def view(self, day: date, name: str) -> LotView:
        """Return the lot with its readings and the champion's verdict; empty without readings."""
        model = self.champion.model
        version = self.lake.version(readings(self.stage))
        return self._explained(day, name, version, model.sha256 if model else "")

    def _view(self, day: date, name: str, version: int, sha256: str) -> LotView:
        """Read the lot. `version` and `sha256` are part of the cache key."""
        found = lot_rows(self.lake, self.stage, day, name)
        values = {v.name: found[v.name].to_numpy() for v in self.stage.variables}
        return self.drawn(day, name, found["measured_at"].to_pylist(), values)

    def drawn(
        self,
        day: date,
        name: str,
        times: Sequence[datetime],
        values: Mapping[str, Array],
        explain_good: bool = True,
    ) -> LotView:
        """Return the view of a lot with these readings.

        Args:
            day: Day of the lot.
            name: Name of the lot.
            times: Moments of the readings, in order.
            values: An array for each variable, as long as `times`.
            explain_good: Whether to explain a good verdict too, which takes as long as a bad one.
        """
        if not times:
            return LotView(day, name)
        model: LotModel | None = self.champion.model
        bands = model.bands if model else {}
        verdict, parts = None, list[Part]()
        if model:
            features = as_matrix([lot_statistics(values, model.bands)], model.variables)
            took = np.array([(times[-1] - times[0]).total_seconds()])
            verdict = model.predict_features(features, took)[0]
            if explain_good or verdict.verdict != "good":
                parts = _bars(shap_parts(model, features))
        clock = [f"{moment.astimezone(self.stage.zone):%H:%M:%S}" for moment in times]
        seconds = np.array([(moment - times[0]).total_seconds() for moment in times])
        traces = [
            _trace(v, seconds, clock, values[v.name], bands.get(v.name))
            for v in self.stage.variables
        ]
        start, end = clock[0], clock[-1]
        return LotView(day, name, start, end, traces, verdict, parts)

    def check_file(
        self, stream: IO[bytes], name: str
    ) -> tuple[tuple[str, str] | None, list[LotView], list[dict[str, Any]]]:
        """Read a sensor file without ingesting it.

        Returns:
            The fault (rule, reason) of the whole file or None; its lots, highest risk first; and
            its bad rows with `line`, `rule` and `reason`. Good lots come without explanation.
        """
        report, rows = read_file(stream, name, self.stage, self.settings)
        if report.rule:
            return (report.rule, report.reason or ""), [], []
        sound = filter_passed(rows)
        order = [(column, "ascending") for column in ("day", "lot", "measured_at")]
        sound = sound.sort_by(order)
        lots = sound.group_by(["day", "lot"]).aggregate([([], "count_all")]).sort_by(order[:2])
        views, start = [], 0
        for lot in lots.to_pylist():
            of_lot = sound.slice(start, lot["count_all"])
            start += len(of_lot)
            values = {v.name: of_lot[v.name].to_numpy() for v in self.stage.variables}
            times = of_lot["measured_at"].to_pylist()
            views.append(self.drawn(lot["day"], lot["lot"], times, values, explain_good=False))
        views.sort(
            key=lambda v: (
                _urgency(v.verdict.verdict, v.verdict.probability)
                if v.verdict
                else _urgency(None, None)
            )
        )
        return None, views, filter_held_back(rows.select(["line", "rule", "reason"])).to_pylist()

    def photo(self, sha256: str) -> bytes | None:
        """Return the bytes of an ingested photo, or None."""
        found = self.lake.load(PHOTOS, where=pc.field("sha256") == sha256, columns=("bytes",))
        content: bytes | None = found["bytes"][0].as_py() if found.num_rows else None
        return content

    # -- the flow of the data ------------------------------------------------------------------

    def runs(self) -> list[dict[str, Any]]:
        """Return the last runs with their reconciliation, newest first."""
        rows = self.lake.rows(RUNS)
        return sorted(rows, key=lambda row: row["started_at"], reverse=True)[:RUN_ROWS]

    def held_back(self) -> list[tuple[str, str, int]]:
        """Count the entries of the quarantine by kind and rule."""
        rows = self.lake.rows(QUARANTINE, "kind", "rule")
        counts = Counter((row["kind"], row["rule"]) for row in rows)
        return [(kind, rule, count) for (kind, rule), count in sorted(counts.items())]

    def unmatched(self) -> list[str]:
        """Return what the last run passed over, sorted; a folder ends with a slash."""
        return sorted(row["file"] for row in self.lake.rows(UNMATCHED_FILES, "file"))

    def much_quarantined(self) -> list[dict[str, Any]]:
        """Return file, rows_read and rows_quarantined of files with a large share in quarantine."""
        return much_quarantined(self.lake, self.settings.quarantined_share_warns)[:SHOWN_FILES]

    def verdict_mix(self) -> list[tuple[date, Counter[str]]]:
        """Count the lots of each day by the champion's verdict: good, bad or needs_human."""
        model = self.champion.model
        rows = self.lake.rows(LOT_VERDICTS, "day", "verdict", "model_sha256") if model else []
        days: dict[date, Counter[str]] = {}
        for row in rows:
            if row["model_sha256"] == model.sha256:
                days.setdefault(row["day"], Counter())[row["verdict"]] += 1
        return sorted(days.items(), reverse=True)[:DAYS]


def _urgency(verdict: str | None, p: float | None) -> tuple[int, float]:
    """Return the key that sorts lots by risk; those without a verdict come last."""
    return FIRST.index(verdict) if verdict in FIRST else len(FIRST), -(p or 0.0)


def _bars(parts: Sequence[tuple[str, float, float]]) -> list[Part]:
    most = max((abs(moves) for _, _, moves in parts), default=0.0) or 1.0
    found = []
    for name, value, moves in parts:
        width = round(58 * abs(moves) / most, 1)
        found.append(Part(name, value, moves, 60.0 if moves > 0 else 60.0 - width, width))
    return found


def _trace(
    variable: Variable, seconds: Array, clock: Sequence[str], values: Array, band: Band | None
) -> Trace:
    limits = (
        (band.centre - band.width * band.scale, band.centre + band.width * band.scale)
        if band
        else None
    )
    low, high = float(values.min()), float(values.max())
    least, most = (min(low, limits[0]), max(high, limits[1])) if limits else (low, high)
    span = most - least or 1.0
    length = float(seconds[-1]) or 1.0
    x = LEFT + (RIGHT - LEFT) * seconds / length
    y = BOTTOM - (BOTTOM - TOP) * (values - least) / span
    outside = (values < limits[0]) | (values > limits[1]) if limits else np.zeros(len(values), bool)
    drawn_band = None
    if limits:
        upper = BOTTOM - (BOTTOM - TOP) * (limits[1] - least) / span
        lower = BOTTOM - (BOTTOM - TOP) * (limits[0] - least) / span
        drawn_band = (round(upper, 1), round(lower - upper, 1))
    return Trace(
        variable,
        " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)),
        f"{low:.3g}",
        f"{high:.3g}",
        f"{limits[0]:.3g}" if limits else None,
        f"{limits[1]:.3g}" if limits else None,
        drawn_band,
        [
            (round(float(x[at]), 1), round(float(y[at]), 1), f"{values[at]:.4g} – {clock[at]}")
            for at in np.flatnonzero(outside).tolist()
        ],
    )
