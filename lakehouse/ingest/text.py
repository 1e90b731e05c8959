"""Bring readings and error lists from the landing zone into their tables, exactly once.

Order of commits: quarantine, then the doubts of lists, then the table, then the ledger. Each commit
replaces what the same files brought before. So if a run is cut off anywhere, the next run completes
it, and a file delivered again with other content replaces its own rows in one commit.
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
from lakehouse.delta.lake import Lake
from lakehouse.delta.rows import Rows
from lakehouse.errors import LossError, PlatelakeError
from lakehouse.files import error_lists as error_list_source
from lakehouse.files import readings as readings_source
from lakehouse.files import rules
from lakehouse.files.layout import FileReport, Layout
from lakehouse.files.read import inspect_files, read_rows
from lakehouse.ingest import events, ledger
from lakehouse.ingest.clear import clear_landing, hold_back_reused_names, put_back_left
from lakehouse.ingest.context import IngestContext, entry
from lakehouse.ingest.events import in_files
from lakehouse.ingest.ledger import DUPLICATE, LOADED, QUARANTINED, Counts, Delivery
from lakehouse.ingest.list_doubts import never_doubted, replace_doubts
from lakehouse.ingest.stale_copies import copies, superseders
from lakehouse.landing.zone import LandedFile
from lakehouse.table import Table
from lakehouse.tables.error_lists import ERROR_LISTS
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings


def ingest_readings(context: IngestContext) -> Counts:
    """Ingest sensor files that are new, changed or asked for again into `readings`."""
    if context.stage.readings is None:
        return Counts()
    layout = readings_source.layout(context.stage, context.settings)
    return _ingest(context, "readings", readings(context.stage), layout)


def ingest_error_lists(context: IngestContext) -> Counts:
    """Ingest error lists that are new, changed or asked for again into `error_lists`."""
    if context.stage.error_lists is None:
        return Counts()
    layout = error_list_source.layout(context.stage, context.settings)
    context = replace(context, again=context.again | never_doubted(context.lake))
    return _ingest(context, "error_lists", ERROR_LISTS, layout)


def _ingest(context: IngestContext, kind: str, table: Table, layout: Layout) -> Counts:
    put_back_left(context)

    def inspect(files: Sequence[LandedFile]) -> dict[str, FileReport]:
        return inspect_files(context.lake, context.landing, files, layout)

    _, landed, known, reports = context.inspect(kind, inspect)
    hold_back_reused_names(context, kind, known, reports)
    again = copies(landed, known, reports, context.again)
    unread = [file for file in again if file.file not in reports]
    reports |= inspect(unread)
    source = readings_source if kind == "readings" else error_list_source
    for file in reports:
        source.check_file(context.stage, file, reports[file])
    means = context.meaning(kind)
    asked = {*context.again, *(file.file for file in again)}
    plan = ledger.plan(landed, known, reports, asked, means)
    deliveries = [*plan.deliveries, *plan.released]
    superseded = superseders(deliveries, known, means)
    done = 0
    for some in _slices(context.lake, deliveries, superseded):
        _warn(kind, some)
        _load(context, kind, table, layout, some, superseded)
        if not ledger.count(ledger.Plan(some)).rows_reconciled:
            break
        events.record(context.lake, some, context.run_id)
        done += len(some)
        structlog.get_logger().info("files stored", done=done, of=len(deliveries))
    counts = ledger.count(plan)
    if counts.reconciled:
        clear_landing(context, kind, table, landed)
    return counts


def _slices(
    lake: Lake, deliveries: Sequence[Delivery], superseded: Mapping[str, set[str]]
) -> list[list[Delivery]]:
    """Return the deliveries of each commit; copies and their superseders come together, first."""
    related = {*superseded, *(by for some in superseded.values() for by in some)}
    ordered = sorted(deliveries, key=lambda d: d.landed.file not in related)
    is_read = [d.status == LOADED and d.landed.file not in related for d in ordered]
    sizes = [d.landed.size if read else 0 for d, read in zip(ordered, is_read, strict=True)]
    return engine.in_commits(lake, ordered, sizes)


def _warn(kind: str, deliveries: Sequence[Delivery]) -> None:
    """Warn about files that a person should inspect: an unread column may hold a failed lot."""
    for d in deliveries:
        if d.report.note and d.status == LOADED:
            structlog.get_logger().warning(
                "unusual file", kind=kind, file=d.landed.file, note=d.report.note
            )


def _load(
    context: IngestContext,
    kind: str,
    table: Table,
    layout: Layout,
    deliveries: Sequence[Delivery],
    superseded: dict[str, set[str]],
) -> None:
    """Write quarantine, doubts and table; a file that cannot be read keeps its earlier rows."""
    files = [delivery.landed.file for delivery in deliveries if delivery.report.sha256]
    unread = [delivery.landed.file for delivery in deliveries if not delivery.report.sha256]
    loading = [delivery for delivery in deliveries if delivery.status == LOADED]
    seen = context.lake.version(table)
    source = error_list_source if kind == "error_lists" else readings_source
    typed = engine.keep(_typed(context, source, layout, loading))
    by, moments = _superseded_days(context.lake, table, typed, loading, superseded)
    checked: Rows
    if kind == "error_lists":
        checked = rules.with_superseded(engine.collected(typed), by)
        replace_doubts(context, checked, deliveries, by)
    else:
        schema = readings_source.row_schema(context.stage)
        checked = engine.keep(_checked(context, table, typed, schema, files, by, moments))
    try:
        _refuse_loss(context, table, checked, deliveries)
        held_back = _held_back(context, kind, checked, deliveries)
        context.replace_quarantine(kind, held_back, files, unread)
        if loading or context.lake.counts(table, "file", in_files(files)):
            context.lake.replace(table, _passed(checked, table), {"file": files}, seen=seen)
    finally:
        engine.release(typed)
        engine.release(checked)
    _count(context.lake, kind, table, deliveries)


REPLACED = ("superseded", "duplicate_key")
"""Rules of rows that are in the lake in another place."""


def _refuse_loss(
    context: IngestContext, table: Table, checked: Rows, deliveries: Sequence[Delivery]
) -> None:
    """Raise LossError if files with the content that they had would have fewer rows in the table.

    A stage file that changed may refuse what it accepted before. A new delivery of the plant may
    have fewer rows.
    """
    again = {
        d.landed.file: d.report
        for d in deliveries
        if d.report.sha256 and d.replaces == d.report.sha256 and d.status != DUPLICATE
    }
    if context.allow_loss or not again:
        return
    stored: Counter[str] = Counter()
    columns = [name for name in table.names if name not in ("day", "line", *table.key)]
    columns = list(dict.fromkeys(["file", *columns]))
    for batch in context.lake.batches(table, columns, in_files(again)):
        stored += _values(pa.Table.from_batches([batch]))
    schema = pa.schema([("file", pa.string()), ("rule", pa.string()), ("values", pa.int64())])

    def counted(rows: pa.Table) -> pa.Table:
        parts = [
            {"file": file, "rule": rule, "values": count}
            for rule in pc.unique(rows["rule"]).to_pylist()
            for file, count in _values(rows.filter(_is(rows["rule"], rule)).select(columns)).items()
        ]
        return pa.Table.from_pylist(parts, schema)

    kept: Counter[str] = Counter()
    rules_of: dict[str, set[str]] = {}
    for row in engine.collected(engine.map_rows(checked, counted, schema)).to_pylist():
        if row["rule"] is None or row["rule"] in REPLACED:
            kept[row["file"]] += row["values"]
        else:
            rules_of.setdefault(row["file"], set()).add(row["rule"])
    lost = {file: stored[file] - kept[file] for file in again if stored[file] > kept[file]}
    if lost:
        reasons = {
            file: again[file].rule
            or ", ".join(sorted(rules_of.get(file, ())))
            or "not read any more"
            for file in lost
        }
        raise LossError(table.name, lost, reasons)


def _is(rules_: pa.Array, rule: str | None) -> pa.Array:
    return rules_.is_null() if rule is None else pc.fill_null(pc.equal(rules_, rule), False)


def _values(rows: pa.Table) -> Counter[str]:
    """Count, for each file, its rows and what stands in them: values, and lots of lists."""
    found: Counter[str] = Counter()
    asked: list[Any] = [([], "count_all")]
    for name in rows.column_names:
        if pa.types.is_list(rows.schema.field(name).type):
            lengths = pc.list_value_length(rows[name])
            rows = rows.set_column(rows.column_names.index(name), name, lengths)
            asked.append((name, "sum"))
        elif name != "file":
            asked.append((name, "count"))
    for row in rows.group_by(["file"]).aggregate(asked).to_pylist():
        file = row.pop("file")
        found[file] += sum(count or 0 for count in row.values())
    return found


def _typed(
    context: IngestContext, source: Any, layout: Layout, loading: Sequence[Delivery]
) -> Rows:
    """Return the files' typed rows, with the rules that they break."""
    stage = context.stage

    def typed(batch: pa.RecordBatch, reports: Mapping[str, FileReport]) -> pa.RecordBatch:
        return source.typed_rows(batch, reports, stage)

    files = [(d.landed, d.report) for d in loading]
    return read_rows(context.lake, context.landing, files, layout, typed, source.row_schema(stage))


def _checked(
    context: IngestContext,
    table: Table,
    typed: Rows,
    schema: pa.Schema,
    files: Sequence[str],
    by: Mapping[rules.FileDay, str],
    moments: pa.Table | None,
) -> Rows:
    """Add the rules that rows break together with other rows of their day."""
    rows_by_day: Counter[date] = Counter()
    for (_, day), count in _days_of_files(typed).items():
        rows_by_day[day] += count
    days = pa.array(sorted(rows_by_day), pa.date32())
    of_others = ~in_files(files) & pc.field("day").isin(days)
    rows_by_day += context.lake.counts(table, "day", of_others)
    _refuse_large_days(context, rows_by_day)
    names = (*table.key, "file", "line")
    stored = context.lake.load(table, where=of_others, columns=names)

    stage = context.stage
    lot = [name for name in table.key if name not in ("sequence", "measured_at")]

    def check(rows: pa.Table, stored: pa.Table) -> pa.Table:
        rows = rules.with_superseded(rows, by, moments)
        rows = readings_source.checked_together(rows, stage)
        rows = rules.with_stored(rows, stored, table.key)
        return rules.with_mixed_lots(rows, stored, lot)

    return engine.map_days(context.lake, typed, [stored], (), check, schema)


def _refuse_large_days(context: IngestContext, rows_by_day: Counter[date]) -> None:
    """Raise PlatelakeError if a day would have too many rows for one process."""
    limit = context.settings.max_day_rows
    for day, rows in rows_by_day.items():
        if rows > limit:
            raise PlatelakeError(
                f"{day} would have {rows} readings; a day may have {limit} (max_day_rows). "
                "Move files of that day out of the landing zone, split the stage, or raise "
                "the setting: a day needs about 250 bytes of memory for each reading"
            )


def _superseded_days(
    lake: Lake,
    table: Table,
    typed: Rows,
    loading: Sequence[Delivery],
    superseded: dict[str, set[str]],
) -> tuple[dict[rules.FileDay, str], pa.Table | None]:
    """Map the days of copies, as file and day, to the corrected file that holds the day now.

    Also returned are file, day and moment of the corrected files' readings; None for lists.
    """
    if not superseded:
        return {}, None
    correcting = sorted(set().union(*superseded.values()))
    loaded = [delivery.landed.file for delivery in loading]
    columns = ["file", "day", *(name for name in table.names if name == "measured_at")]
    of_others = in_files(correcting) & ~in_files(loaded)
    stored = lake.load(table, where=of_others, columns=columns)

    def of_corrections(rows: pa.Table) -> pa.Table:
        sound = rules.filter_passed(rows.select([*columns, "rule"]))
        return sound.filter(in_files(correcting)).select(columns)

    now = engine.collected(engine.map_rows(typed, of_corrections, stored.schema))
    held = pa.concat_tables([stored, now.cast(stored.schema)])
    days: dict[str, set[date]] = {}
    for row in held.group_by(["file", "day"]).aggregate([]).to_pylist():
        days.setdefault(row["file"], set()).add(row["day"])
    by = {
        (file, day): one
        for file, some in superseded.items()
        for one in sorted(some, reverse=True)  # The first by name wins.
        for day in days.get(one, ())
    }
    return by, held if "measured_at" in columns else None


def _days_of_files(typed: Rows) -> Counter[rules.FileDay]:
    """Count the valid rows of each file and day."""

    def counted(rows: pa.Table) -> pa.Table:
        sound = rules.filter_passed(rows.select(["file", "day", "rule"]))
        return sound.group_by(["file", "day"]).aggregate([([], "count_all")])

    schema = pa.schema([("file", pa.string()), ("day", pa.date32()), ("count_all", pa.int64())])
    found: Counter[rules.FileDay] = Counter()
    for row in engine.collected(engine.map_rows(typed, counted, schema)).to_pylist():
        found[row["file"], row["day"]] += row["count_all"]
    return found


def _passed(checked: Rows, table: Table) -> Rows:
    """Return the valid rows with the table's columns."""

    def passed(rows: pa.Table) -> pa.Table:
        return rules.filter_passed(rows).select(table.names)

    return engine.map_rows(checked, passed, table.arrow_schema())


def _held_back(
    context: IngestContext, kind: str, checked: Rows, deliveries: Sequence[Delivery]
) -> Rows:
    """Return quarantine entries for rows that broke rules and for files that are bad as a whole."""
    about = {d.landed.file: (d.report.sha256, d.report.header) for d in deliveries}
    run_id = context.run_id

    def entries(rows: pa.Table) -> pa.Table:
        bad = rules.filter_held_back(rows)
        raw = rules.raw_json(bad, {file: header for file, (_, header) in about.items()})
        bad = bad.select(["file", "line", "rule", "reason"]).append_column("raw", raw)
        return QUARANTINE.arrow(
            [entry(run_id, kind, sha256=about[row["file"]][0], **row) for row in bad.to_pylist()]
        )

    whole = [
        entry(run_id, kind, d.landed.file, d.report.sha256, 0, d.report.rule, d.report.reason, None)
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
        if not delivery.report.sha256:
            continue
        delivery.rows_read = delivery.report.rows if delivery.status == LOADED else 0
        delivery.rows_stored = stored[file]
        delivery.rows_quarantined = held[file]
