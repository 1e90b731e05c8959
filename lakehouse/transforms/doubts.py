"""Which days the held-back rows of an error list may mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.sources.readings import lot_pattern
from lakehouse.stage import Stage
from lakehouse.tables.doubted_days import DOUBTED_DAYS


def summarise_doubts(rows: pa.Table, stage: Stage) -> list[dict[str, Any]]:
    """The rows of `doubted_days`, of each held-back row that may name a failed lot.

    A row whose date can be read means that day. Another may mean any day from the nearest date
    above it to the nearest below it in its file; where only one is there, that day; where the
    file's dates go up and down, any day from its first to its last. A row that is only superseded
    is no doubt, nor is one that names no lot, nor the header again.

    Args:
        rows: Checked rows of whole error lists, with `names_lots`: the row may name a failed lot.
        stage: Whose lots they name.

    Returns:
        Sorted by file, line and day.
    """
    is_doubt = pc.and_(pc.not_equal(rows["rule"], "superseded"), rows["names_lots"])
    needed = rows.select(["file", "line", "day", "lots"]).append_column("is_doubt", is_doubt)
    files = pc.unique(rows["file"].filter(is_doubt))
    ordered = needed.filter(pc.is_in(rows["file"], files)).sort_by(
        [("file", "ascending"), ("line", "ascending")]
    )
    by_file: dict[str, list[dict[str, Any]]] = {}
    for row in ordered.to_pylist():
        by_file.setdefault(row["file"], []).append(row)
    return [doubt for of_file in by_file.values() for doubt in _doubts(of_file, stage)]


def _doubts(rows: Sequence[dict[str, Any]], stage: Stage) -> Iterator[dict[str, Any]]:
    """The doubts of one file, whose rows are in order of line."""
    pattern = lot_pattern(stage)
    for row, span in zip(rows, _spans([row["day"] for row in rows]), strict=True):
        if not row["is_doubt"] or span is None:
            continue
        named = row["lots"] if row["day"] else []
        lots = [lot for lot in named if pattern.fullmatch(lot)]
        first, last = span
        for after in range((last - first).days + 1):
            yield DOUBTED_DAYS.row(first + timedelta(after), lots, row["file"], row["line"])


def _spans(days: Sequence[date | None]) -> list[tuple[date, date] | None]:
    """First and last day that each row of a file may mean; None if the file has no date."""
    dates = [day for day in days if day]
    pairs = list(pairwise(dates))
    if any(one < other for one, other in pairs) and any(one > other for one, other in pairs):
        whole = min(dates), max(dates)
        return [(day, day) if day else whole for day in days]
    seen = 0
    found: list[tuple[date, date] | None] = []
    for day in days:
        seen += day is not None
        near = [day] if day else dates[max(seen - 1, 0) : seen + 1]
        found.append((min(near), max(near)) if near else None)
    return found
