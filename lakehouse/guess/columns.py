"""Guess what the columns of a table mean: moment, date, time, lot, variable, or nothing needed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.files.values import dates, moments, numbers, times_of_day
from lakehouse.forms import DATE_FORMS
from lakehouse.guess.long import Long, guess_long
from lakehouse.guess.text import Table

CERTAIN, LIKELY, GUESS = "certain", "likely", "a guess"
ENOUGH = 0.8
"""Share of the cells that must fit a form."""
LOT = re.compile(r"(?i)\blot|batch|charge\b|\blos\b|process|serial|로트|ロット|批")
INDEX = re.compile(r"(?i)^(index|nr|no\.?|id|#|번호|unnamed: 0|)$")
RESULT = re.compile(r"(?i)result|label|status|judg|verdict|판정|결과|判定|ok.?ng")
GOOD_WORDS = re.compile(
    r"(?i)^(ok|o\.k\.|good|pass(ed)?|normal|accept(ed)?|양품|합격|정상|良品?|合格|gut|i\.?o\.?)$"
)
TIMES = ("%H:%M:%S", "%H:%M:%S.%f", "%H:%M", "%I:%M:%S %p", "%p %I:%M:%S", "%I:%M %p", "%p %I:%M")
STAMPS = ("iso", *(f"{day} {time}" for day in DATE_FORMS for time in TIMES), "%Y%m%d%H%M%S")
EPOCHS = {"epoch": (1e9, 3e9), "epoch_ms": (1e12, 3e12), "epoch_us": (1e15, 3e15)}
MISSING = (
    "",
    "-",
    "--",
    "---",
    "N/A",
    "NA",
    "n/a",
    "#N/A",
    "#DIV/0!",
    "NaN",
    "nan",
    "null",
    "NULL",
)
ZONE = ZoneInfo("UTC")


@dataclass
class Guess:
    """A key of the stage file with the value that fits, how sure it is, and why."""

    key: str
    value: Any
    certainty: str = CERTAIN
    why: str = ""


@dataclass
class Columns:
    """What the columns of a table mean; `guesses` are keys of its section of the stage file.

    `kind` is readings, error_lists or other.
    """

    guesses: list[Guess] = field(default_factory=list)
    variables: list[Guess] = field(default_factory=list)
    kind: str = "readings"

    def add(self, key: str, value: Any, certainty: str = CERTAIN, why: str = "") -> None:
        """Add a key."""
        self.guesses.append(Guess(key, value, certainty, why))


def guess_columns(table: Table) -> Columns:
    """Return the meaning of each column, if it is a table of readings or an error list."""
    found, left = Columns(), list(dict.fromkeys(table.names))
    texts = {name: table.column(name) for name in left}
    decimal = _notation(found, texts)
    found.kind = _time(found, texts, left)
    if found.kind == "other":
        return found
    long = guess_long(texts, left) if found.kind == "readings" else None
    if long:
        _long(found, long, texts, left, decimal)
        return found
    _lots(found, texts, left)
    if found.kind == "readings":
        _variables(found, texts, left, decimal)
    else:
        _results(found, table, texts, left)
        if left:
            found.add("ignore", left, LIKELY, "columns that name no lot")
    return found


def _share(fits: pa.Array, texts: Sequence[str]) -> float:
    filled = [text for text in texts if text not in MISSING]
    return (len(fits) - fits.null_count) / len(filled) if filled else 0.0


def _notation(found: Columns, texts: dict[str, list[str]]) -> tuple[str, str | None]:
    """Find decimal and thousands from all cells that are numbers in one notation only."""
    cells = [text for column in texts.values() for text in column if re.match(r"^[+-]?\d", text)]
    apart, cells = _without_thousands(cells)
    if apart:
        found.add("thousands", apart, LIKELY, f"numbers such as 1{apart}040")
    comma = sum(bool(re.match(r"^[+-]?\d+(\.\d{3})*,\d+$", text)) for text in cells)
    point = sum(bool(re.match(r"^[+-]?\d+(,\d{3})*\.\d+$", text)) for text in cells)
    if comma <= point:
        if apart:
            return ".", apart
        grouped = any(re.match(r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$", text) for text in cells)
        if grouped:
            found.add("thousands", ",", LIKELY, "numbers such as 1,040.5")
        return ".", "," if grouped else None
    found.add("decimal", ",", CERTAIN if not point else LIKELY, "numbers such as 7,1")
    if apart:
        return ",", apart
    grouped = any(re.match(r"^[+-]?\d{1,3}(\.\d{3})+(,\d+)?$", text) for text in cells)
    if grouped:
        found.add("thousands", ".", LIKELY, "numbers such as 1.040,5")
    return ",", "." if grouped else None


def _without_thousands(cells: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the blank or apostrophe between thousands, if there is one, and the cells without."""
    for mark, form in ((" ", "[ \u00a0\u202f]"), ("'", "['\u2019]")):
        grouped = re.compile(rf"[+-]?\d{{1,3}}({form}\d{{3}})+([.,]\d*)?")
        if any(map(grouped.fullmatch, cells)):
            return mark, [re.sub(form, "", x) if grouped.fullmatch(x) else x for x in cells]
    return None, list(cells)


def _time(found: Columns, texts: dict[str, list[str]], left: list[str]) -> str:
    """Find date and time; return the kind of table: with a time it has readings."""
    for name in list(left):
        cells = pa.array(texts[name])
        forms = _best({form: moments(cells, form, ZONE) for form in STAMPS}, texts[name])
        forms = forms or _epochs(name, texts[name])
        if forms:
            left.remove(name)
            said = {"column": name, "format": forms[0]}
            found.add("timestamp", said, *_doubt(forms))
            return "readings"
    date = _date(texts, left)
    clock = _clock(texts, left)
    if clock:
        name, kind = clock
        left.remove(name)
        found.add("time", name)
        found.add("clock", kind)
    if date:
        name, forms = date
        left.remove(name)
        if clock:
            found.add("date", {"column": name, "format": forms[0]}, *_doubt(forms))
        else:
            found.add("date", name)
            found.add("date_format", forms[0], *_doubt(forms))
    if clock:
        return "readings"
    return "error_lists" if date else "other"


def _doubt(forms: Sequence[str]) -> tuple[str, str]:
    """Return certainty and reason of the first form; day and month may change places."""
    others = [form for form in forms[1:] if form.partition(" ")[0] != forms[0].partition(" ")[0]]
    if forms[0] == "iso" or not others:
        return CERTAIN, ""
    return GUESS, f"also fits {others[0]}: which is the day?"


def _best(read: Mapping[str, pa.Array], texts: Sequence[str]) -> list[str]:
    """Return the forms that the most cells fit; none if too few do.

    Nor if all are moments at midnight, as Excel writes dates.
    """
    shares = {form: _share(values, texts) for form, values in read.items()}
    most = max(shares.values())
    if most < ENOUGH:
        return []
    return [form for form, share in shares.items() if share == most and _has_times(read[form])]


def _has_times(values: pa.Array) -> bool:
    """Return whether these are dates, or moments of which one is not at midnight."""
    if not pa.types.is_timestamp(values.type):
        return True
    return {f"{moment:%H%M%S}" for moment in values.to_pylist() if moment} != {"000000"}


def _fits(values: pa.Array, texts: Sequence[str]) -> bool:
    return _share(values, texts) >= ENOUGH


def _epochs(name: str, texts: Sequence[str]) -> list[str]:
    values = numbers(pa.array(texts))
    if not _fits(values, texts):
        return []
    least, most = pc.min(values).as_py(), pc.max(values).as_py()
    found = [form for form, (low, high) in EPOCHS.items() if low <= least and most <= high]
    if not found and re.search("(?i)time|date|일시", name) and least >= 3e4 and most <= 6e4:
        return ["excel"]
    return found


def _date(texts: dict[str, list[str]], left: Sequence[str]) -> tuple[str, list[str]] | None:
    for name in left:
        cells = pa.array(texts[name])
        read = {form: dates(cells, form, with_time=True) for form in DATE_FORMS}
        if forms := _best(read, texts[name]):
            return name, forms
    return None


def _clock(texts: dict[str, list[str]], left: Sequence[str]) -> tuple[str, str] | None:
    for name in left:
        for clock in ("24h", "12h"):
            if _fits(times_of_day(pa.array(texts[name]), clock), texts[name]):
                return name, clock
    return None


def _lots(found: Columns, texts: dict[str, list[str]], left: list[str]) -> None:
    named = [name for name in left if LOT.search(name)]
    if found.kind == "error_lists":
        lots = named or [name for name in left if not INDEX.match(name)]
        for name in lots:
            left.remove(name)
        certainty = LIKELY if named else GUESS
        said = lots if lots and not all(name.isdigit() for name in lots) else ["*"]
        found.add("lots", said, certainty, "" if named else "no column is called a lot")
        cells = [text for name in lots for text in texts[name]]
        marks = [mark for mark in (",", ";", "/") if any(mark in text for text in cells)]
        if marks:
            found.add("separator", "".join(marks), LIKELY, "several lots in one cell")
        return
    if not named:
        named = sorted(left, key=lambda name: _changes(texts[name]))[:1]
        certainty, why = GUESS, "the column that changes least often; no column is called a lot"
    else:
        certainty, why = (CERTAIN, "") if len(named) == 1 else (LIKELY, "the first of several")
    for name in named[:1]:
        left.remove(name)
        found.add("lot", name, certainty, why)


def _long(
    found: Columns,
    long: Long,
    texts: dict[str, list[str]],
    left: list[str],
    notation: tuple[str, str | None],
) -> None:
    """Say the columns of a long table, its lot and its variables."""
    said: dict[str, Any] = {"variable": long.variable, "value": long.value}
    rest = [name for name in left if name not in (long.variable, long.value, long.quality)]
    why = "a row a variable"
    values = dict(long.values)
    if column := next((name for name in rest if LOT.search(name)), None):
        rest.remove(column)
        found.add("lot", column)
    elif variable := next((name for name in values if LOT.search(name)), None):
        said["lot"] = variable
        del values[variable]
    else:
        said["lot"] = next(iter(values))
        why = f"a row a variable; none is called a lot: which one is it, if not {said['lot']}?"
    if long.quality:
        said["quality"] = {"column": long.quality, "good": long.good}
        why += f"; is {', '.join(long.good)} the word for a good value?"
    columns = {
        name: cells
        for name, cells in values.items()
        if not name.startswith("$") and _fits(numbers(pa.array(cells), *notation), cells)
    }
    ignored = [name for name in values if name not in columns and name != said.get("lot")]
    if ignored:
        said["ignore"] = ignored
    _variables(found, columns, [name for name in columns if name != said.get("lot")], notation)
    found.add("long", said, LIKELY if "which" not in why else GUESS, why)
    if rest:
        found.add("ignore", rest, LIKELY, "columns that are not needed")


def _results(
    found: Columns, table: Table, texts: dict[str, list[str]], left: Sequence[str]
) -> None:
    """Leave out the rows of good lots, if a list has a row for each lot with its result."""
    for name in left:
        good = sorted({text for text in texts[name] if GOOD_WORDS.match(text)})
        if not good or not RESULT.search(name):
            continue
        cell = f"[^{table.delimiter}]*{re.escape(table.delimiter)}"
        words = "|".join(map(re.escape, good))
        end = f"[{table.quote} ]*(?:{re.escape(table.delimiter)}|$)"
        line = f"^(?:{cell}){{{table.names.index(name)}}}[{table.quote} ]*(?:{words}){end}"
        found.add("ignore_lines", [line], LIKELY, f"rows whose {name} is {', '.join(good)}")


def _changes(texts: Sequence[str]) -> tuple[bool, int]:
    """How often a column changes; a column with one value or fractions is no lot."""
    changes = sum(a != b for a, b in pairwise(texts))
    is_fraction = any(re.search(r"\d[.,]\d*[1-9]", text) for text in texts)
    return changes == 0 or is_fraction, changes


def _variables(
    found: Columns, texts: dict[str, list[str]], left: list[str], notation: tuple[str, str | None]
) -> None:
    ignored, missing, taken = [], set[str](), set[str]()
    for name in left:
        values = numbers(pa.array(texts[name]), *notation)
        if not _fits(values, texts[name]) or _is_index(name, texts[name]):
            ignored.append(name)
            continue
        missing |= {text for text in texts[name] if text in MISSING}
        short = _short(name, taken)
        taken.add(short)
        found.variables.append(Guess(short, {"column": name, **_range(values)}, GUESS))
    if missing:
        found.add("missing", sorted(missing), CERTAIN, "cells without a value")
    if ignored:
        found.add("ignore", ignored, LIKELY, "not numbers that are measured")


def _is_index(name: str, texts: Sequence[str]) -> bool:
    if not INDEX.match(name):
        return False
    return all(text.isdigit() for text in texts)


def _range(values: pa.Array) -> dict[str, Any]:
    """A range twice as wide as what the file has; 0 stays the end of a range of one sign."""
    least, most = pc.min(values).as_py(), pc.max(values).as_py()
    wide = max(most - least, abs(most), abs(least), 1.0)
    low, high = least - wide, most + wide
    if least >= 0 and low < 0:
        low = 0.0
    return {"minimum": _round(low), "maximum": _round(high)}


def _round(value: float) -> float:
    return float(f"{value:.2g}")


def _short(name: str, taken: set[str]) -> str:
    """A name for the lake: letters a to z, digits and _."""
    plain = re.sub(r"[\[(].*?[\])]", "", name)
    plain = re.sub("[^a-z0-9]+", "_", plain.lower()).strip("_") or "variable"
    if not plain[0].isalpha():
        plain = f"v_{plain}"
    number = 2
    short = plain
    while short in taken:
        short, number = f"{plain}_{number}", number + 1
    return short
