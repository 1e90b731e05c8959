"""Find the days that quarantined rows of an error list may mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.stage import Stage
from lakehouse.tables.doubted_days import DOUBTED_DAYS


def summarise_doubts(rows: pa.Table, stage: Stage) -> list[dict[str, Any]]:
    """Return the rows of `doubted_days` for each quarantined row that may name a failed lot.

    A row with a readable date means that day. A row without a date, or a malformed one, may mean
    any day from the nearest date above it to the nearest below it in its file; if there is only one
    of these, that day. If the file's dates go up and down, or the row's date cannot be read, it may
    mean any day from the file's first to its last. A row makes no doubt if it is only superseded,
    names no lot, or repeats the header.

    Args:
        rows: Checked rows of whole error lists, with `names_lots` (the row may name a failed lot)
            and `date_is_blank`.
        stage: The stage of the lots.

    Returns:
        The rows, sorted by file, line and day.
    """
    is_doubt = pc.and_(pc.not_equal(rows["rule"], "superseded"), rows["names_lots"])
    needed = rows.select(["file", "line", "day", "lots", "date_is_blank"])
    needed = needed.append_column("is_doubt", is_doubt)
    files = pc.unique(rows["file"].filter(is_doubt))
    ordered = needed.filter(pc.is_in(rows["file"], files)).sort_by(
        [("file", "ascending"), ("line", "ascending")]
    )
    by_file: dict[str, list[dict[str, Any]]] = {}
    for row in ordered.to_pylist():
        by_file.setdefault(row["file"], []).append(row)
    return [doubt for of_file in by_file.values() for doubt in _doubts(of_file, stage)]


def _doubts(rows: Sequence[dict[str, Any]], stage: Stage) -> Iterator[dict[str, Any]]:
    """Yield the doubts of one file; its rows are in order of line."""
    for row, span in zip(rows, _spans(rows), strict=True):
        if not row["is_doubt"] or span is None:
            continue
        named = row["lots"] if row["day"] else []
        lots = [lot for lot in named if stage.is_lot(lot)]
        first, last = span
        for after in range((last - first).days + 1):
            yield DOUBTED_DAYS.row(first + timedelta(after), lots, row["file"], row["line"])


def _spans(rows: Sequence[dict[str, Any]]) -> list[tuple[date, date] | None]:
    """Return first and last day that each row of a file may mean; None if the file has no date."""
    dates = [row["day"] for row in rows if row["day"]]
    pairs = list(pairwise(dates))
    is_mixed = any(a < b for a, b in pairs) and any(a > b for a, b in pairs)
    seen = 0
    found: list[tuple[date, date] | None] = []
    for row in rows:
        seen += row["day"] is not None
        near = dates[max(seen - 1, 0) : seen + 1] if row["date_is_blank"] else dates
        near = [row["day"]] if row["day"] else dates if is_mixed else near
        found.append((min(near), max(near)) if near else None)
    return found
