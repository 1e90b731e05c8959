"""Bring readings and error lists from the landing zone into their tables, exactly once.

The steps are those of the package: list, inspect, plan, write, clear. Order of commits in a write:
quarantine, then the doubts of lists, then the table, then the ledger. Each commit replaces what the
same files brought before. So if a run is cut off anywhere, the next run completes it, and a file
delivered again with other content replaces its own rows in one commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import structlog

from lakehouse.delta import engine
from lakehouse.delta.lake import Lake
from lakehouse.delta.rows import Rows
from lakehouse.files import error_lists as error_list_source
from lakehouse.files import readings as readings_source
from lakehouse.files import together
from lakehouse.files.layout import FileReport, Layout
from lakehouse.files.read import inspect_files
from lakehouse.ingest import events, ledger
from lakehouse.ingest.clear import clear_landing, hold_back_reused_names, put_back_left
from lakehouse.ingest.context import Found, IngestContext
from lakehouse.ingest.events import in_files
from lakehouse.ingest.ledger import LOADED, Counts, Delivery
from lakehouse.ingest.list_doubts import never_doubted, replace_doubts
from lakehouse.ingest.losses import refuse_loss
from lakehouse.ingest.shares import RowCounts, count_by_rule, large_shares, warn_of_shares
from lakehouse.ingest.stale_copies import copies, freed, superseders
from lakehouse.ingest.text_rows import (
    checked_rows,
    count_rows,
    gathered_rows,
    passed_rows,
    quarantined_rows,
    superseded_days,
    typed_rows,
)
from lakehouse.landing.files import LandedFile, LandedFiles
from lakehouse.table import Table
from lakehouse.tables.error_lists import ERROR_LISTS
from lakehouse.tables.readings import readings


@dataclass(frozen=True)
class TextKind:
    """A kind of text file: its name, its table, its layout, and the module that knows its rows."""

    name: str
    table: Table
    layout: Layout
    source: ModuleType


@dataclass(frozen=True)
class TextPlan:
    """What to do: the ledger's plan, its deliveries, and which files replace which copies.

    Files in `freed` are read after all others, so that what is stored stays.
    """

    plan: ledger.Plan
    deliveries: list[Delivery]
    superseded: dict[str, set[str]]
    freed: frozenset[str]


def ingest_readings(context: IngestContext) -> Counts:
    """Ingest sensor files that are new, changed or asked for again into `readings`."""
    if context.stage.readings is None:
        return Counts()
    layout = readings_source.layout(context.stage, context.settings)
    table = readings(context.stage)
    return _ingest(context, TextKind("readings", table, layout, readings_source))


def ingest_error_lists(context: IngestContext) -> Counts:
    """Ingest error lists that are new, changed or asked for again into `error_lists`."""
    if context.stage.error_lists is None:
        return Counts()
    layout = error_list_source.layout(context.stage, context.settings)
    context = replace(context, again=context.again | never_doubted(context.lake))
    return _ingest(context, TextKind("error_lists", ERROR_LISTS, layout, error_list_source))


def _ingest(context: IngestContext, kind: TextKind) -> Counts:
    put_back_left(context)
    listed = context.list_files(kind.name)
    found = _inspect(context, kind, listed)
    plan = _plan(context, kind, found)
    by_rule = _write(context, kind, plan)
    counts = ledger.count(plan.plan)
    least = context.settings.quarantined_share_warns
    counts.large_shares = large_shares(kind.name, by_rule, plan.plan.deliveries, least)
    warn_of_shares(counts.large_shares)
    if counts.reconciled:
        clear_landing(context, kind.name, kind.table, found.landed)
    return counts


def _inspect(context: IngestContext, kind: TextKind, listed: LandedFiles) -> Found:
    """Inspect the files that may be new, and the copies of those that were corrected."""

    def inspect(files: Sequence[LandedFile]) -> dict[str, FileReport]:
        reports = inspect_files(context.lake, context.landing, files, kind.layout)
        for file, report in reports.items():
            kind.source.check_file(context.stage, file, report)
        return reports

    found = context.inspect(kind.name, listed, inspect)
    hold_back_reused_names(context, kind.name, found.known, found.reports)
    again = copies(found.landed, found.known, found.reports, context.again)
    clashed = freed(context.lake, kind.name, found.landed, found.known, found.reports)
    again += clashed
    unread = [file for file in again if file.file not in found.reports]
    names = frozenset(file.file for file in clashed)
    return found._replace(
        reports=found.reports | inspect(unread),
        again=context.again | {file.file for file in again},
        known=found.known | events.related_states(context.lake, kind.name, names, ()),
        freed=names,
    )


def _plan(context: IngestContext, kind: TextKind, found: Found) -> TextPlan:
    """Decide what happens to each file."""
    means = context.meaning(kind.name)
    plan = ledger.plan(found.landed, found.known, found.reports, found.again, means)
    deliveries = [*plan.deliveries, *plan.released]
    superseded = superseders(deliveries, found.known, means)
    return TextPlan(plan, deliveries, superseded, found.freed)


def _write(context: IngestContext, kind: TextKind, plan: TextPlan) -> RowCounts:
    """Write the deliveries commit by commit, until one does not reconcile.

    Returns:
        How many rows were read, by file, day and rule.
    """
    done, by_rule = 0, RowCounts()
    for some in _slices(context.lake, plan):
        _warn(kind.name, some)
        by_rule += _load(context, kind, some, plan.superseded)
        if not ledger.count(ledger.Plan(some)).rows_reconciled:
            break
        events.record(context.lake, some, context.run_id)
        done += len(some)
        structlog.get_logger().info("files stored", done=done, of=len(plan.deliveries))
    return by_rule


def _slices(lake: Lake, plan: TextPlan) -> list[list[Delivery]]:
    """Return the deliveries of each commit; copies and their superseders come together, first."""
    related = {*plan.superseded, *(by for some in plan.superseded.values() for by in some)}
    last = plan.freed - related

    def slices(deliveries: Sequence[Delivery]) -> list[list[Delivery]]:
        ordered = sorted(deliveries, key=lambda d: d.landed.file not in related)
        is_read = [d.status == LOADED and d.landed.file not in related for d in ordered]
        sizes = [d.landed.size if read else 0 for d, read in zip(ordered, is_read, strict=True)]
        return engine.in_commits(lake, ordered, sizes)

    first = slices([d for d in plan.deliveries if d.landed.file not in last])
    return [*first, *slices([d for d in plan.deliveries if d.landed.file in last])]


def _warn(kind: str, deliveries: Sequence[Delivery]) -> None:
    """Warn about files that a person should inspect: an unread column may hold a failed lot.

    What the stage file says, as lines above the header, is in the ledger's note only.
    """
    for d in deliveries:
        if d.report.has_extra and d.status == LOADED:
            structlog.get_logger().warning(
                "unusual file", kind=kind, file=d.landed.file, note=d.report.note
            )


def _load(
    context: IngestContext,
    kind: TextKind,
    deliveries: Sequence[Delivery],
    superseded: dict[str, set[str]],
) -> RowCounts:
    """Write quarantine, doubts and table; a file that cannot be read keeps its earlier rows."""
    lake, table = context.lake, kind.table
    files = [delivery.landed.file for delivery in deliveries if delivery.report.sha256]
    unread = [delivery.landed.file for delivery in deliveries if not delivery.report.sha256]
    loading = [delivery for delivery in deliveries if delivery.status == LOADED]
    seen = lake.version(table)
    typed = engine.keep(typed_rows(context, kind.source, kind.layout, loading))
    gathered = gathered_rows(kind.layout, typed)
    by, moments = superseded_days(lake, table, typed, loading, superseded)
    checked: Rows
    if table is ERROR_LISTS:
        checked = together.with_superseded(engine.collected(typed), by)
    else:
        checked = engine.keep(checked_rows(context, table, typed, files, by, moments))
    try:
        refuse_loss(context, table, checked, deliveries)
        if table is ERROR_LISTS:
            replace_doubts(context, engine.collected(checked), deliveries, by)
        by_rule = count_by_rule(checked)
        held_back = quarantined_rows(context, kind.name, checked, deliveries)
        context.replace_quarantine(kind.name, held_back, files, unread)
        if loading or lake.counts(table, "file", in_files(files)):
            lake.replace(table, passed_rows(checked, table), {"file": files}, seen=seen)
    finally:
        engine.release(typed)
        engine.release(checked)
    count_rows(lake, kind.name, table, deliveries, gathered)
    return by_rule
