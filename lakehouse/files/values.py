"""Read cells as values: numbers in the stage's notation, dates, times of day and moments.

Each function maps a column of texts to a column of values, null for any text that it cannot read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.forms import AM, COUNTED, PM, date_pattern, moment_pattern, month_of

HALF = rf"(?P<mark>(?i:{AM}|{PM}))"
CLOCK = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d{1,2})"
    r"(?::(?P<second>\d{1,2})(?:[.,](?P<fraction>\d+))?)?"
)
CLOCKS = {"24h": (f"^{CLOCK}$",), "12h": (rf"^{HALF}[\s\v]*{CLOCK}$", rf"^{CLOCK}[\s\v]*{HALF}$")}
"""Patterns by clock, with the half of the day before and behind the time.

For Arrow, in which \\d and \\s are ASCII and \\s lacks \\v; the texts are trimmed.
"""
TIME_OF_DAY = r"[ T]+\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?"
"""What Excel writes behind a date."""
MINUS = ("\u2212", "\uff0d", "\u2013")
"""Characters that programs write for a minus: the mathematical one, the wide one, a dash."""
AMBIGUOUS = r"^\s*[+-]?\d{1,3}[.,]\d{3}\s*$"
"""A number that is a thousand times larger by the other notation."""

MOMENT = pa.timestamp("us", "UTC")
SECOND, MINUTE, DAY = 1_000_000, 60_000_000, 86_400_000_000
"""In microseconds."""
FIRST, LAST = -62_135_596_800 * SECOND, 253_402_300_800 * SECOND - 1
"""First and last moment that Python knows."""
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""Clocks that were not set show 1970 or 1980."""
AHEAD = timedelta(days=1)
"""A clock may be ahead by this much."""
EXCEL_EPOCH = -25_569
"""1899-12-30 in days from 1970, from where Excel counts."""


def is_plausible(moment: datetime) -> bool:
    """Return whether a clock that is set may show that moment; it has a time zone."""
    return EARLIEST <= moment <= datetime.now(UTC) + AHEAD


def by_value(values: pa.Array, form: Callable[[Any], object], kind: pa.DataType) -> pa.Array:
    """Apply `form` to each value, with results of that type; call it once per different value."""
    coded = values.dictionary_encode()
    formed = pa.array([form(value) for value in coded.dictionary.to_pylist()], kind)
    return formed.take(coded.indices)


def numbers(texts: pa.Array, decimal: str = ".", thousands: str | None = None) -> pa.Array:
    """Return the finite decimal numbers that the texts give in that notation.

    Example:
        >>> numbers(pa.array(["1.040,5", "1.040", "7.1", "1.0132"]), ",", ".").to_pylist()
        [1040.5, 1040.0, None, None]
    """
    texts = pc.ascii_trim_whitespace(texts)
    point, whole = re.escape(decimal), r"\d+"
    if thousands:
        group = {" ": "[ \u00a0\u202f]", "'": "['\u2019]"}.get(thousands, re.escape(thousands))
        whole = rf"(?:\d+|\d{{1,3}}(?:{group}\d{{3}})+)"
    pattern = rf"^[+-]?(?:{whole}(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?$"
    fits = pc.match_substring_regex(texts, pattern)
    if not pc.all(fits, skip_nulls=True).as_py():
        for minus in MINUS:
            texts = pc.replace_substring(texts, minus, "-", max_replacements=1)
        fits = pc.match_substring_regex(texts, pattern)
    said = pc.if_else(fits, texts, pa.scalar(None, pa.string()))
    if thousands:
        said = pc.replace_substring_regex(said, group, "")
    if decimal != ".":
        said = pc.replace_substring(said, decimal, ".")
    values = pc.cast(said, pa.float64())
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))


def dates(texts: pa.Array, form: str, with_time: bool = False) -> pa.Array:
    """Return the dates that the trimmed texts give in that form; `with_time`: a time may follow."""
    behind = f"(?:{TIME_OF_DAY})?" if with_time else ""
    pattern = re.compile(date_pattern(form) + behind, re.ASCII | re.IGNORECASE)

    def as_date(text: str) -> date | None:
        found = pattern.fullmatch(text)
        if not found:
            return None
        return _date(found.groupdict())

    return by_value(texts, as_date, pa.date32())


def _date(parts: Mapping[str, str]) -> date | None:
    """Return the date of the groups of `date_pattern`; None if there is no such day."""
    year = int(parts["Y"]) if "Y" in parts else 2000 + int(parts["y"])
    try:
        if "j" not in parts:
            return date(year, month_of(parts.get("m") or parts["b"]), int(parts["d"]))
        day = date(year, 1, 1) + timedelta(days=int(parts["j"]) - 1)
        return day if day.year == year else None
    except (ValueError, OverflowError):
        return None


def times_of_day(texts: pa.Array, clock: str) -> pa.Array:
    """Return microseconds since midnight of times by that clock.

    12h: 오전 or AM before or behind h:mm:ss, with 12 as midnight; 오후 or PM, with 12 as noon; the
    words of Japanese and Chinese as well. 24h: 24:00:00 is the midnight at the day's end.
    """
    trimmed = pc.ascii_trim_whitespace(texts)
    times = _times_by(trimmed, CLOCKS[clock][0])
    if times.null_count > texts.null_count and clock == "12h":  # As macOS writes Korean letters.
        trimmed = by_value(trimmed, partial(unicodedata.normalize, "NFC"), pa.string())
        times = _times_by(trimmed, CLOCKS[clock][0])
    for pattern in CLOCKS[clock][1:]:
        if times.null_count > texts.null_count:
            times = pc.coalesce(times, _times_by(trimmed, pattern))
    return times


def _times_by(texts: pa.Array, pattern: str) -> pa.Array:
    found = pc.extract_regex(texts, pattern)
    hour, minute, second = (
        _padded(pc.struct_field(found, name)) for name in ("hour", "minute", "second")
    )
    mark = pc.struct_field(found, "mark") if "<mark>" in pattern else None
    return _since_midnight(hour, minute, second, _fraction(found, "fraction"), mark)


def _padded(digits: pa.Array) -> pa.Array:
    """Return digits as integers; none are 0."""
    return pc.cast(pc.ascii_lpad(digits, 2, "0"), pa.int64())


def _fraction(found: pa.Array, name: str) -> pa.Array:
    """Return the digits behind the seconds in microseconds, rounded half up."""
    digits = pc.binary_slice(pc.cast(pc.struct_field(found, name), pa.binary()), 0, 7)
    digits = pc.cast(pc.ascii_rpad(pc.cast(digits, pa.string()), 7, "0"), pa.int64())
    return pc.divide(pc.add(digits, 5), 10)


def _since_midnight(
    hour: pa.Array,
    minute: pa.Array,
    second: pa.Array,
    fraction: pa.Array,
    mark: pa.Array | None,
) -> pa.Array:
    """Return microseconds since midnight; `mark` names the half of the day, if there are halves."""
    second = pc.add(pc.multiply(second, SECOND), fraction)
    sound = pc.and_(pc.less(minute, 60), pc.less(second, MINUTE))
    if mark is not None:
        sound = pc.and_(sound, pc.and_(pc.greater(hour, 0), pc.less(hour, 13)))
        afternoon = pc.match_substring_regex(mark, f"(?i){PM}")
        hour = pc.if_else(pc.equal(hour, 12), 0, hour)
        hour = pc.add(hour, pc.multiply(pc.cast(afternoon, pa.int64()), 12))
    else:
        ends = pc.and_(pc.equal(hour, 24), pc.equal(pc.add(minute, second), 0))
        sound = pc.and_(sound, pc.or_(pc.less(hour, 24), ends))
    since = pc.add(pc.multiply(pc.add(pc.multiply(hour, 60), minute), MINUTE), second)
    return pc.if_else(sound, since, pa.scalar(None, pa.int64()))


def moments_of(
    day: pa.Array, time: pa.Array, zone: ZoneInfo, files: pa.Array | None = None
) -> pa.Array:
    """Return the moments when the plant's clocks show that day and time; null if either is null.

    If clocks are set back there are two such moments. With `files`, the second is used from the row
    on whose time is earlier than that of the row above it in its file; else the first. The offset
    to UTC is looked up once per minute.
    """
    days = pc.cast(pc.cast(day, pa.int32()), pa.int64())
    return _in_utc(pc.add(pc.multiply(days, DAY), time), zone, files)


def _in_utc(wall: pa.Array, zone: ZoneInfo, files: pa.Array | None = None) -> pa.Array:
    """Return the moments of wall times, which are in microseconds from 1970."""

    def offset(minute: int, fold: int = 0) -> int | None:
        try:
            shown = datetime(1970, 1, 1) + timedelta(minutes=minute)
            moment = shown.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        except OverflowError:  # In UTC the year is 0 or 10000.
            return None
        return (shown - moment.replace(tzinfo=None)) // timedelta(microseconds=1)

    # Integer division rounds to zero, so moments before 1970 are looked up a minute later.
    coded = pc.divide(wall, MINUTE).dictionary_encode()
    minutes = coded.dictionary.to_pylist()
    first = [offset(minute) for minute in minutes]
    offsets = pa.array(first, pa.int64()).take(coded.indices)
    later = [offset(minute, 1) for minute in minutes] if files is not None else first
    if files is not None and later != first:
        others = pa.array(later, pa.int64()).take(coded.indices)
        is_twice = pc.fill_null(pc.not_equal(offsets, others), False)
        is_second = pa.array(_after_the_change(wall, files, is_twice))
        offsets = pc.if_else(is_second, others, offsets)
    return _clamped(pc.subtract(wall, offsets))


def _after_the_change(wall: pa.Array, files: pa.Array, is_twice: pa.Array) -> list[bool]:
    """Return which rows, of those whose time comes twice, follow a step back in their file."""
    found, second, before = [], False, None
    for at, file, twice in zip(
        wall.to_pylist(), files.to_pylist(), is_twice.to_pylist(), strict=True
    ):
        if not twice or before is None or before[0] != file:
            second = False
        elif at < before[1]:
            second = True
        before = (file, at) if twice else None
        found.append(second)
    return found


def moments(
    texts: pa.Array,
    form: str,
    zone: ZoneInfo,
    files: pa.Array | None = None,
    decimal: str = ".",
) -> pa.Array:
    """Return the moments that the trimmed texts give in that form of `stage.Timestamp`.

    A time without an offset to UTC is one of the plant's clocks; `files` as in `moments_of`.
    `decimal` is the notation of moments that are numbers; a point is one always.

    Example:
        >>> kst = ZoneInfo("Asia/Seoul")
        >>> texts = pa.array(["2021-09-06T08:00:00Z", "2021-09-06 17:00:00"])
        >>> [f"{moment:%H:%M}" for moment in moments(texts, "iso", kst).to_pylist()]
        ['08:00', '08:00']
    """
    if form in COUNTED:
        values = numbers(texts)
        if decimal != ".":
            values = pc.coalesce(numbers(texts, decimal), values)
        return _counted(values, form, zone)
    found = pc.extract_regex(pc.ascii_trim_whitespace(texts), f"^{moment_pattern(form)}$")
    names = {field.name for field in found.type}
    nothing = pa.repeat("", len(texts))

    def part(name: str) -> pa.Array:
        return pc.struct_field(found, name) if name in names else nothing

    of_day = [name for name in "Yymbdj" if name in names]
    written = pc.binary_join_element_wise(*(part(name) for name in of_day), "-")

    def as_date(text: str) -> date | None:
        return _date(dict(zip(of_day, text.split("-"), strict=True)))

    day = by_value(written, as_date, pa.date32())
    twelve = "I" in names
    hour, minute, second = (_padded(part(name)) for name in ("I" if twelve else "H", "M", "S"))
    fraction = _fraction(found, "f") if "f" in names else pa.repeat(0, len(texts))
    time = _since_midnight(hour, minute, second, fraction, part("p") if twelve else None)
    wall = pc.add(pc.multiply(pc.cast(pc.cast(day, pa.int32()), pa.int64()), DAY), time)
    if "Z" in names:
        return _clamped(wall)
    if "z" not in names:
        return _in_utc(wall, zone, files)
    offset = by_value(part("z"), _offset, pa.int64())
    said = _clamped(pc.subtract(wall, offset))
    return pc.if_else(pc.equal(part("z"), ""), _in_utc(wall, zone, files), said)


def _clamped(micros: pa.Array) -> pa.Array:
    """Return moments; null for one outside the years 1 to 9999."""
    inside = pc.and_(pc.greater_equal(micros, FIRST), pc.less_equal(micros, LAST))
    return pc.cast(pc.if_else(inside, micros, pa.scalar(None, pa.int64())), MOMENT)


def _offset(text: str) -> int | None:
    """Return an offset to UTC in microseconds; null without one."""
    if text in ("", "Z"):
        return 0 if text else None
    hours, minutes = int(text[1:3]), int(text[-2:])
    return (1 if text[0] == "+" else -1) * (hours * 60 + minutes) * MINUTE


def _counted(values: pa.Array, form: str, zone: ZoneInfo) -> pa.Array:
    """Return the moments of numbers; Excel's days are rounded to milliseconds."""
    units = {"epoch": SECOND, "epoch_ms": 1000, "epoch_us": 1}
    inside = pc.less(pc.abs(values), 4e15 / units.get(form, 1))
    values = pc.if_else(inside, values, pa.scalar(None, pa.float64()))
    if form in units:
        return _clamped(pc.cast(pc.round(pc.multiply(values, units[form])), pa.int64()))
    days = pc.divide(values, 1e6) if form == "siemens" else values
    days = pc.if_else(pc.less(pc.abs(days), 1e6), days, pa.scalar(None, pa.float64()))
    thousandths = pc.cast(pc.round(pc.multiply(days, DAY // 1000)), pa.int64())
    return _in_utc(pc.add(pc.multiply(thousandths, 1000), EXCEL_EPOCH * DAY), zone)


def days_of(moment: pa.Array, zone: ZoneInfo) -> pa.Array:
    """Return the date that the plant's clocks show at each moment."""
    there = pc.cast(moment, pa.timestamp("us", zone.key))
    return pc.cast(pc.floor_temporal(pc.local_timestamp(there), unit="day"), pa.date32())
