"""Find the days that quarantined rows of an error list may mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.files.rules import LINE_RULES
from lakehouse.stage import Stage
from lakehouse.tables.doubted_days import DOUBTED_DAYS

EDGE = timedelta(days=7)
"""How far beyond the dates of a list its first or last row may reach, if its date is not known."""


def summarise_doubts(
    rows: pa.Table, stage: Stage, corrected: Mapping[tuple[str, date], set[str]] | None = None
) -> list[dict[str, Any]]:
    """Return the rows of `doubted_days` for each quarantined row that may name a failed lot.

    A row with a readable date means that day. If its date has another common form, it may mean that
    day, and a malformed row any date in its text, too. Else a row without a date, or a malformed
    one, may mean any day from the nearest date above it to the nearest below it in its file; if
    there is only one of these, that day, or for a malformed row also the EDGE days beyond it. If
    the file's dates go up and down, or the row's date cannot be read, it may mean any day from the
    file's first to its last, and EDGE days beyond if it is the first or last row with a date. A
    superseded row means its day if the correction of that day lacks one of its lots; other rows of
    that day make no doubt. Nor does a row that names no lot, or repeats the header.

    Args:
        rows: Checked rows of whole error lists, with `names_lots` (the row may name a failed lot)
            and `date_is_blank`.
        stage: The stage of the lots.
        corrected: The lots that the correction of a copy's day names, by file and day of the copy.

    Returns:
        The rows, sorted by file, line and day.
    """
    is_doubt = _is_doubt(rows, corrected or {})
    needed = rows.select(["file", "line", "rule", "day", "lots", "date_is_blank", "perhaps"])
    needed = needed.append_column("is_doubt", is_doubt)
    files = pc.unique(rows["file"].filter(is_doubt))
    ordered = needed.filter(pc.is_in(rows["file"], files)).sort_by(
        [("file", "ascending"), ("line", "ascending")]
    )
    by_file: dict[str, list[dict[str, Any]]] = {}
    for row in ordered.to_pylist():
        by_file.setdefault(row["file"], []).append(row)
    return [doubt for of_file in by_file.values() for doubt in _doubts(of_file, stage)]


def _is_doubt(rows: pa.Table, corrected: Mapping[tuple[str, date], set[str]]) -> pa.Array:
    """Return which rows make a doubt: on a corrected day only lots that the correction lacks."""
    names = ["file", "day", "lots", "rule", "names_lots"]
    found = []
    for row in rows.select(names).to_pylist():
        day = row["file"], row["day"]
        if row["rule"] == "superseded":
            found.append(not set(row["lots"] or ()) <= corrected.get(day, set()))
        else:
            found.append(row["rule"] is not None and row["names_lots"] and day not in corrected)
    return pa.array(found, pa.bool_())


def _doubts(rows: Sequence[dict[str, Any]], stage: Stage) -> Iterator[dict[str, Any]]:
    """Yield the doubts of one file; its rows are in order of line."""
    for row, days in zip(rows, _days(rows), strict=True):
        named = row["lots"] if row["day"] and row["rule"] != "superseded" else []
        lots = [lot for lot in named if stage.is_lot(lot)]
        for day in days if row["is_doubt"] else ():
            yield DOUBTED_DAYS.row(day, lots, row["file"], row["line"])


def _days(rows: Sequence[dict[str, Any]]) -> list[list[date]]:
    """Return the days that each row of a file may mean; none if no date can be found."""
    dates = [row["day"] for row in rows if row["day"]]
    pairs = list(pairwise(dates))
    is_mixed = any(a < b for a, b in pairs) and any(a > b for a, b in pairs)
    falls = any(a > b for a, b in pairs)
    seen = 0
    found: list[list[date]] = []
    for row in rows:
        seen += row["day"] is not None
        perhaps = row["perhaps"] or []
        if row["day"] or not dates or (perhaps and row["rule"] not in LINE_RULES):
            found.append([row["day"]] if row["day"] else perhaps)
            continue
        near = dates[max(seen - 1, 0) : seen + 1] if row["date_is_blank"] else dates
        near = dates if is_mixed else near
        first, last = min(near), max(near)
        is_torn = row["rule"] in LINE_RULES or not row["date_is_blank"]
        if is_torn and seen in (0, len(dates)):
            before = (seen == 0) != falls
            first, last = (first - EDGE, last) if before else (first, last + EDGE)
        span = [first + timedelta(at) for at in range((last - first).days + 1)]
        found.append(sorted({*span, *perhaps}))
    return found
