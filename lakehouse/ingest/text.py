"""Readings and error lists: from the landing zone into their tables, exactly once.

Order of commits: quarantine, then the doubts of lists, then the table, then the ledger. Each is a
replacement of what the same files brought before, so a run cut off anywhere is made good by the
next, and a file delivered again with other content replaces its own rows in one commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from lakehouse.delta import engine
from lakehouse.delta.lake import Lake, Rows
from lakehouse.errors import PlatelakeError
from lakehouse.files import error_lists as error_list_source
from lakehouse.files import readings as readings_source
from lakehouse.files import rules
from lakehouse.files.delimited import Facts, Layout
from lakehouse.files.read import inspect_files, read_rows
from lakehouse.ingest import events, ledger
from lakehouse.ingest.clear import clear_landing, hold_back_reused_names, put_back_left
from lakehouse.ingest.context import Ingest, entry
from lakehouse.ingest.events import in_files
from lakehouse.ingest.ledger import LOADED, QUARANTINED, Counts, Delivery
from lakehouse.ingest.list_doubts import never_doubted, replace_doubts
from lakehouse.ingest.stale_copies import copies, superseders
from lakehouse.landing.zone import LandedFile
from lakehouse.table import Table
from lakehouse.tables.error_lists import ERROR_LISTS
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings


def ingest_readings(to: Ingest) -> Counts:
    """Sensor files that are new, changed or asked for again, into `readings`."""
    layout = readings_source.layout(to.stage, to.settings)
    return _ingest(to, "readings", readings(to.stage), layout)


def ingest_error_lists(to: Ingest) -> Counts:
    """Error lists that are new, changed or asked for again, into `error_lists`."""
    layout = error_list_source.layout(to.stage, to.settings)
    to = replace(to, again=to.again | never_doubted(to.lake))
    return _ingest(to, "error_lists", ERROR_LISTS, layout)


def _ingest(to: Ingest, kind: str, table: Table, layout: Layout) -> Counts:
    put_back_left(to)

    def inspect(files: Sequence[LandedFile]) -> dict[str, Facts]:
        return inspect_files(to.lake, to.landing, files, layout)

    _, landed, known, facts = to.inspect(kind, inspect)
    hold_back_reused_names(to, kind, known, facts)
    again = copies(landed, known, facts, to.again)
    unread = [file for file in again if file.file not in facts]
    facts |= inspect(unread)
    for file in facts if kind == "readings" else ():
        readings_source.judge_file(to.stage, file, facts[file])
    plan = ledger.plan(landed, known, facts, {*to.again, *(file.file for file in again)})
    deliveries = [*plan.deliveries, *plan.released]
    superseded = superseders(deliveries, known)
    done = 0
    for some in _slices(to.lake, deliveries, superseded):
        _warn(kind, some)
        _load(to, kind, table, layout, some, superseded)
        if not ledger.count(ledger.Plan(some)).rows_reconciled:
            break
        events.record(to.lake, some, to.run_id)
        done += len(some)
        structlog.get_logger().info("files stored", done=done, of=len(deliveries))
    counts = ledger.count(plan)
    if counts.reconciled:
        clear_landing(to, kind, table, landed)
    return counts


def _slices(
    lake: Lake, deliveries: Sequence[Delivery], superseded: Mapping[str, set[str]]
) -> list[list[Delivery]]:
    """The deliveries of each commit. Copies and what supersedes them come together, first."""
    related = {*superseded, *(by for some in superseded.values() for by in some)}
    ordered = sorted(deliveries, key=lambda d: d.landed.file not in related)
    is_read = [d.status == LOADED and d.landed.file not in related for d in ordered]
    sizes = [d.landed.size if read else 0 for d, read in zip(ordered, is_read, strict=True)]
    return engine.in_commits(lake, ordered, sizes)


def _warn(kind: str, deliveries: Sequence[Delivery]) -> None:
    """Say what a person should look at: a column that is not read may hold a failed lot."""
    for d in deliveries:
        if d.facts.note and d.status == LOADED:
            structlog.get_logger().warning(
                "unusual file", kind=kind, file=d.landed.file, note=d.facts.note
            )


def _load(
    to: Ingest,
    kind: str,
    table: Table,
    layout: Layout,
    deliveries: Sequence[Delivery],
    superseded: dict[str, set[str]],
) -> None:
    """A file that could not be read keeps the rows it brought before."""
    files = [delivery.landed.file for delivery in deliveries if delivery.facts.sha256]
    unread = [delivery.landed.file for delivery in deliveries if not delivery.facts.sha256]
    loading = [delivery for delivery in deliveries if delivery.status == LOADED]
    seen = to.lake.version(table)
    source = error_list_source if kind == "error_lists" else readings_source
    typed = engine.keep(_typed(to, source, layout, loading))
    by = _superseded_days(to.lake, table, typed, loading, superseded)
    checked: Rows
    if kind == "error_lists":
        checked = rules.with_superseded(engine.collected(typed), by)
        replace_doubts(to, checked, deliveries, by)
    else:
        schema = readings_source.row_schema(to.stage)
        checked = engine.keep(_checked(to, table, typed, schema, files, by))
    try:
        held_back = _held_back(to, kind, checked, deliveries)
        to.replace_quarantine(kind, held_back, files, unread)
        if loading or to.lake.counts(table, "file", in_files(files)):
            to.lake.replace(table, _passed(checked, table), {"file": files}, seen=seen)
    finally:
        engine.release(typed)
        engine.release(checked)
    _count(to.lake, kind, table, deliveries)


def _typed(to: Ingest, source: Any, layout: Layout, loading: Sequence[Delivery]) -> Rows:
    """The files' rows, typed, with the rules that they break."""
    stage = to.stage

    def typed(batch: pa.RecordBatch, facts: Mapping[str, Facts]) -> pa.RecordBatch:
        return source.typed_rows(batch, facts, stage)

    files = [(d.landed, d.facts) for d in loading]
    return read_rows(to.lake, to.landing, files, layout, typed, source.row_schema(stage))


def _checked(
    to: Ingest,
    table: Table,
    typed: Rows,
    schema: pa.Schema,
    files: Sequence[str],
    by: Mapping[tuple[str, date], str],
) -> Rows:
    """The rows, with the rules that they break together with others of their day."""
    rows_by_day: Counter[date] = Counter()
    for (_, day), count in _days_of_files(typed).items():
        rows_by_day[day] += count
    days = pa.array(sorted(rows_by_day), pa.date32())
    of_others = ~in_files(files) & pc.field("day").isin(days)
    rows_by_day += to.lake.counts(table, "day", of_others)
    _refuse_large_days(to, rows_by_day)
    names = (*table.key, "file", "line")
    stored = to.lake.load(table, where=of_others, columns=names)

    def check(rows: pa.Table, stored: pa.Table) -> pa.Table:
        rows = rules.with_superseded(rows, by)
        return rules.with_stored(rules.with_duplicates(rows, table.key), stored, table.key)

    return engine.map_days(to.lake, typed, [stored], (), check, schema)


def _refuse_large_days(to: Ingest, rows_by_day: Counter[date]) -> None:
    """Raise PlatelakeError if a day would have more rows than one process can compute."""
    limit = to.settings.max_day_rows
    for day, rows in rows_by_day.items():
        if rows > limit:
            raise PlatelakeError(
                f"{day} would have {rows} readings; a day may have {limit} (max_day_rows). "
                "Take files of that day out of the landing zone, divide the stage, or raise "
                "the setting: a day needs about 250 bytes of memory for each reading"
            )


def _superseded_days(
    lake: Lake,
    table: Table,
    typed: Rows,
    loading: Sequence[Delivery],
    superseded: dict[str, set[str]],
) -> dict[tuple[str, date], str]:
    """The days of copies, as file and day, with the corrected file that holds the day now."""
    if not superseded:
        return {}
    correcting = sorted(set().union(*superseded.values()))
    loaded = [delivery.landed.file for delivery in loading]
    of_others = in_files(correcting) & ~in_files(loaded)
    stored = lake.load(table, where=of_others, columns=("file", "day"))
    days: dict[str, set[date]] = {}
    for file, day in _days_of_files(typed).keys() | _pairs(stored):
        days.setdefault(file, set()).add(day)
    return {
        (file, day): by
        for file, some in superseded.items()
        for by in sorted(some, reverse=True)  # Of several, the first by name.
        for day in days.get(by, ())
    }


def _days_of_files(typed: Rows) -> Counter[tuple[str, date]]:
    """File and day of all sound rows, and how many they are."""

    def counted(rows: pa.Table) -> pa.Table:
        sound = rules.filter_passed(rows.select(["file", "day", "rule"]))
        return sound.group_by(["file", "day"]).aggregate([([], "count_all")])

    schema = pa.schema([("file", pa.string()), ("day", pa.date32()), ("count_all", pa.int64())])
    found: Counter[tuple[str, date]] = Counter()
    for row in engine.collected(engine.map_rows(typed, counted, schema)).to_pylist():
        found[row["file"], row["day"]] += row["count_all"]
    return found


def _pairs(rows: pa.Table) -> set[tuple[str, date]]:
    found = rows.group_by(["file", "day"]).aggregate([])
    return set(zip(found["file"].to_pylist(), found["day"].to_pylist(), strict=True))


def _passed(checked: Rows, table: Table) -> Rows:
    """The sound rows, as the table takes them."""

    def passed(rows: pa.Table) -> pa.Table:
        return rules.filter_passed(rows).select(table.names)

    return engine.map_rows(checked, passed, table.arrow_schema())


def _held_back(to: Ingest, kind: str, checked: Rows, deliveries: Sequence[Delivery]) -> Rows:
    """Quarantine entries: the rows that broke rules, and the files that are bad as a whole."""
    about = {d.landed.file: (d.facts.sha256, d.facts.header) for d in deliveries}
    run_id = to.run_id

    def entries(rows: pa.Table) -> pa.Table:
        bad = rules.filter_held_back(rows)
        raw = rules.raw_json(bad, {file: header for file, (_, header) in about.items()})
        bad = bad.select(["file", "line", "rule", "reason"]).append_column("raw", raw)
        return QUARANTINE.arrow(
            [entry(run_id, kind, sha256=about[row["file"]][0], **row) for row in bad.to_pylist()]
        )

    whole = [
        entry(run_id, kind, d.landed.file, d.facts.sha256, 0, d.facts.rule, d.facts.reason, None)
        for d in deliveries
        if d.status == QUARANTINED
    ]
    rows = engine.map_rows(checked, entries, QUARANTINE.arrow_schema())
    return engine.union(rows, QUARANTINE.arrow(whole))


def _count(lake: Lake, kind: str, table: Table, deliveries: Sequence[Delivery]) -> None:
    """Count what the tables now hold of each file."""
    own = in_files([delivery.landed.file for delivery in deliveries])
    rows = (pc.field("kind") == kind) & (pc.field("line") > 0)
    stored = lake.counts(table, "file", own)
    held = lake.counts(QUARANTINE, "file", own & rows)
    for delivery in deliveries:
        file = delivery.landed.file
        if not delivery.facts.sha256:
            continue
        delivery.rows_read = delivery.facts.rows if delivery.status == LOADED else 0
        delivery.rows_stored = stored[file]
        delivery.rows_quarantined = held[file]
