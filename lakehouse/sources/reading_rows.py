"""A sensor file's rows without Spark: the rules of `sources.readings`, a row at a time.

The lake reads with Spark, serving with this; a property test holds the two equal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import IO

from lakehouse.settings import Settings
from lakehouse.sources import readings
from lakehouse.sources.delimited import Facts, inspect, read_cells
from lakehouse.stage import Stage

SHOWN = 80
DATE_DIGITS = {"%Y": r"(?P<Y>\d{4})", "%y": r"(?P<y>\d{2})"}


@dataclass(frozen=True)
class Reading:
    """One sound row; `measured_at` is UTC, values are in their variables' units."""

    line: int
    day: date
    lot: str
    measured_at: datetime
    values: tuple[float, ...]


@dataclass(frozen=True)
class HeldBack:
    """One row that is not believed: the first rule it breaks, and all of them in words."""

    line: int
    rule: str
    reason: str


def read_file(
    stream: IO[bytes], name: str, stage: Stage, settings: Settings
) -> tuple[Facts, list[Reading], list[HeldBack]]:
    """A sensor file as ingest would read it: as a whole, its sound rows, and the others.

    `stream` can be read from its beginning again. Of a file with a `rule` no row is read.
    """
    layout = readings.layout(stage, settings)
    facts = inspect(stream, layout)
    readings.judge_file(stage, name, facts)
    if facts.rule:
        return facts, [], []
    stream.seek(0)
    fields, day = list(layout.fields), readings.file_date(stage, name)
    sound: list[Reading] = []
    held: list[HeldBack] = []
    first: dict[tuple[date, str, datetime], int] = {}
    for batch in read_cells(stream, facts, layout):
        for row in batch.to_pylist():
            one = _judged(row["line"], row["cells"], row["fault"], fields, stage, day)
            if isinstance(one, HeldBack):
                held.append(one)
                continue
            before = first.setdefault((one.day, one.lot, one.measured_at), one.line)
            if before == one.line:
                sound.append(one)
            else:
                reason = f"the same day, lot, measured_at as line {before} of {name}"
                held.append(HeldBack(one.line, "duplicate_key", reason))
    return facts, sound, held


def _judged(
    line: int,
    cells: Sequence[str],
    fault: str | None,
    fields: Sequence[str],
    stage: Stage,
    file_day: date | None,
) -> Reading | HeldBack:
    if fault:
        return HeldBack(line, readings.fault_rule(fault), fault)
    raw = dict(zip(fields, cells, strict=False))
    text = {name: value.strip(" ") for name, value in raw.items()}
    day = parsed_date(text["date"], stage.readings.date.format) if "date" in text else file_day
    lot = re.sub(r"^(\d+)\.0*$", r"\1", text["lot"], flags=re.ASCII)
    seconds = seconds_of_day(text["time"], stage.readings.clock)
    values = {v.name: number(text[v.name]) for v in stage.readings.variables}
    broken = list(_broken(raw, stage, day, lot, seconds, values))
    if broken:
        return HeldBack(line, broken[0][0], "; ".join(reason for _, reason in broken))
    assert day is not None and seconds is not None
    start = datetime.combine(day, time(), stage.zone)
    moment = (start + timedelta(seconds=float(seconds))).astimezone(UTC)
    return Reading(line, day, lot, moment, tuple(v for v in values.values() if v is not None))


def _broken(
    raw: dict[str, str],
    stage: Stage,
    day: date | None,
    lot: str,
    seconds: Decimal | None,
    values: dict[str, float | None],
) -> Iterator[tuple[str, str]]:
    """Rule and reason of each rule that the row breaks, in the rules' order."""
    if not re.fullmatch(stage.lot_pattern, lot, re.ASCII):
        yield "lot", _quoted("lot", raw["lot"])
    if day is None:
        yield "date", _quoted("date", raw.get("date", "its file's"))
    elif seconds is None:
        yield "time", _quoted(f"{stage.readings.clock} time", raw["time"])
    for v in stage.readings.variables:
        value = values[v.name]
        if value is None:
            yield "number", _quoted(f"{v.name} number", raw[v.name])
        elif not v.minimum <= value <= v.maximum:
            limits = f"{v.minimum:g} to {v.maximum:g} {v.unit}"
            yield "physical_range", f"{v.name} {value} is outside {limits}"


def number(text: str) -> float | None:
    """The finite decimal number that the text says, else None."""
    if not re.match(readings.NUMBER, text, re.ASCII):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def seconds_of_day(text: str, clock: str) -> Decimal | None:
    """Seconds since midnight of a time by that clock, to the microsecond; None if it is none."""
    found = re.match(readings.CLOCK, text, re.ASCII)
    if not found:
        return None
    mark, hour, minute = found[1] or "", int(found[2]), int(found[3])
    second = Decimal(found[4] or 0).quantize(Decimal("0.000001"), ROUND_HALF_UP)
    if minute >= 60 or second >= 60:
        return None
    if clock == "12h":
        if not mark or not 1 <= hour <= 12:
            return None
        afternoon = re.match(readings.AFTERNOON, mark, re.ASCII | re.IGNORECASE)
        hour = hour % 12 + (12 if afternoon else 0)
    elif mark or hour >= 24:
        return None
    return hour * 3600 + minute * 60 + second


def parsed_date(text: str, form: str) -> date | None:
    """The date that the text says in that form, as the lake reads it; None if it says none."""
    pieces = [piece for piece in re.split(r"(%.)", form) if piece]
    pattern = ""
    for at, piece in enumerate(pieces):
        touches = {*pieces[max(at - 1, 0) : at], *pieces[at + 1 : at + 2]} & {
            "%Y",
            "%y",
            "%m",
            "%d",
        }
        digits = r"\d{2}" if touches else r"\d{1,2}"
        known = {**DATE_DIGITS, "%m": f"(?P<m>{digits})", "%d": f"(?P<d>{digits})"}
        pattern += known.get(piece) or re.escape(piece)
    found = re.fullmatch(pattern, text, re.ASCII)
    if not found:
        return None
    parts = {name: int(value) for name, value in found.groupdict().items()}
    try:
        return date(parts.get("Y", 2000 + parts.get("y", 0)), parts["m"], parts["d"])
    except ValueError:
        return None


def _quoted(what: str, text: str) -> str:
    return f"not a {what}: '{text[:SHOWN]}'"
