"""Doubts: days whose lots are not good, because a part of an error list was quarantined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.delta.lake import Lake
from lakehouse.derive.doubts import summarise_doubts
from lakehouse.files.error_lists import days_named
from lakehouse.files.rules import filter_passed
from lakehouse.ingest.context import IngestContext
from lakehouse.ingest.events import in_files
from lakehouse.ingest.ledger import Delivery
from lakehouse.landing.zone import open_url
from lakehouse.tables.doubted_days import DOUBTED_DAYS
from lakehouse.tables.error_lists import ERROR_LISTS
from lakehouse.tables.quarantine import QUARANTINE

NAMES_NONE = ("empty_file", "header_only")
"""Faults of lists that name no lot."""

TAKEN_BACK = "header_only"
"""How a plant withdraws a list: its days have no list again, and no doubt."""


def replace_doubts(
    context: IngestContext,
    rows: pa.Table,
    deliveries: Sequence[Delivery],
    superseded: Mapping[tuple[str, date], str],
) -> None:
    """Replace the doubts of these lists; a list that cannot be read keeps its own.

    `rows` are the checked rows of the lists; `superseded` has file and day of rows that a
    correction holds.
    """
    files = [d.landed.file for d in deliveries if d.report.sha256]
    bad = {d.landed.file for d in deliveries if d.report.rule not in (None, TAKEN_BACK)}
    corrected = _corrected(context.lake, rows, superseded)
    doubts = summarise_doubts(rows, context.stage, corrected)
    of_some_day = {row["file"] for row in doubts} | _files(rows.filter(rows["day"].is_valid()))
    undated = _files(rows) - of_some_day
    before = _listed_before(context.lake, (bad | undated) & set(files))
    named = set(_named(context, deliveries))
    whole = [DOUBTED_DAYS.row(day, [], file, 0) for file, day in sorted(before | named)]
    context.lake.replace(DOUBTED_DAYS, DOUBTED_DAYS.arrow([*doubts, *whole]), {"file": files})


def _named(context: IngestContext, deliveries: Sequence[Delivery]) -> Iterator[tuple[str, date]]:
    """Yield file and day of what the lists name that are quarantined as a whole."""
    for delivery in deliveries:
        landed, report = delivery.landed, delivery.report
        if not report.sha256 or report.rule in (None, *NAMES_NONE):
            continue
        with suppress(OSError), open_url(context.landing, landed.url) as stream:
            for day in days_named(stream, context.stage, context.settings):
                yield landed.file, day


def _corrected(
    lake: Lake, rows: pa.Table, superseded: Mapping[tuple[str, date], str]
) -> dict[tuple[str, date], set[str]]:
    """Return the lots that the correction of each copy's day names."""
    if not superseded:
        return {}
    named: dict[tuple[str, date], set[str]] = {}
    stored = lake.load(ERROR_LISTS, where=in_files(superseded.values()))
    new = filter_passed(rows)
    files = set(pc.unique(rows["file"]).to_pylist())
    for table, is_old in ((stored, True), (new, False)):
        for row in table.select(["file", "day", "lots"]).to_pylist():
            if not (is_old and row["file"] in files):
                named.setdefault((row["file"], row["day"]), set()).update(row["lots"] or ())
    return {(file, day): named.get((by, day), set()) for (file, day), by in superseded.items()}


def _files(rows: pa.Table) -> set[str]:
    return set(pc.unique(rows["file"]).to_pylist())


def _listed_before(lake: Lake, files: set[str]) -> set[tuple[str, Any]]:
    """Return file and day of all rows of these lists, and of their doubts."""
    if not files:
        return set()
    rows = [*lake.rows(ERROR_LISTS, "file", "day"), *lake.rows(DOUBTED_DAYS, "file", "day")]
    return {(row["file"], row["day"]) for row in rows if row["file"] in files}


def of_no_day(lake: Lake) -> list[str]:
    """Return the quarantined lists without any known day, sorted."""
    may_name = ~pc.field("rule").isin(pa.array(["superseded", *NAMES_NONE]))
    held = set(lake.counts(QUARANTINE, "file", (pc.field("kind") == "error_lists") & may_name))
    for table in (ERROR_LISTS, DOUBTED_DAYS) if held else ():
        held -= set(lake.counts(table, "file", pc.scalar(True)))
    return sorted(held)


def never_doubted(lake: Lake) -> frozenset[str]:
    """Return the lists with quarantined rows, if the lake was made before there were doubts."""
    if lake.version(DOUBTED_DAYS) >= 0:
        return frozenset()
    rows = lake.rows(QUARANTINE, "kind", "file", "line")
    return frozenset(r["file"] for r in rows if r["kind"] == "error_lists" and r["line"])
