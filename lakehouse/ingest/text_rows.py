"""The rows of text files on their way into a table: typed, checked, quarantined or passed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from types import ModuleType

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.delta import engine
from lakehouse.delta.lake import Lake
from lakehouse.delta.rows import Rows
from lakehouse.errors import PlatelakeError
from lakehouse.files import readings as readings_source
from lakehouse.files import rules, together
from lakehouse.files.layout import FileReport, Layout
from lakehouse.files.read import read_rows
from lakehouse.ingest.context import IngestContext, entry
from lakehouse.ingest.events import in_files
from lakehouse.ingest.ledger import LOADED, QUARANTINED, Delivery
from lakehouse.table import Table
from lakehouse.tables.quarantine import QUARANTINE


def typed_rows(
    context: IngestContext, source: ModuleType, layout: Layout, loading: Sequence[Delivery]
) -> Rows:
    """Return the files' typed rows, with the rules that they break."""
    stage = context.stage

    def typed(batch: pa.RecordBatch, reports: Mapping[str, FileReport]) -> pa.RecordBatch:
        return source.typed_rows(batch, reports, stage)

    files = [(d.landed, d.report) for d in loading]
    return read_rows(context.lake, context.landing, files, layout, typed, source.row_schema(stage))


def checked_rows(
    context: IngestContext,
    table: Table,
    typed: Rows,
    files: Sequence[str],
    by: Mapping[together.FileDay, str],
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

    stage, schema = context.stage, readings_source.row_schema(context.stage)
    lot = [name for name in table.key if name not in ("sequence", "measured_at")]

    def check(rows: pa.Table, stored: pa.Table) -> pa.Table:
        rows = together.with_superseded(rows, by, moments)
        rows = readings_source.checked_together(rows, stage)
        rows = together.with_stored(rows, stored, table.key)
        return together.with_mixed_lots(rows, stored, lot)

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


def superseded_days(
    lake: Lake,
    table: Table,
    typed: Rows,
    loading: Sequence[Delivery],
    superseded: dict[str, set[str]],
) -> tuple[dict[together.FileDay, str], pa.Table | None]:
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


def _days_of_files(typed: Rows) -> Counter[together.FileDay]:
    """Count the valid rows of each file and day."""

    def counted(rows: pa.Table) -> pa.Table:
        sound = rules.filter_passed(rows.select(["file", "day", "rule"]))
        return sound.group_by(["file", "day"]).aggregate([([], "count_all")])

    schema = pa.schema([("file", pa.string()), ("day", pa.date32()), ("count_all", pa.int64())])
    found: Counter[together.FileDay] = Counter()
    for row in engine.collected(engine.map_rows(typed, counted, schema)).to_pylist():
        found[row["file"], row["day"]] += row["count_all"]
    return found


def gathered_rows(layout: Layout, typed: Rows) -> Counter[str]:
    """Count the rows that were gathered of each file that is long; empty if files are not."""
    if not layout.is_long:
        return Counter()

    def counted(rows: pa.Table) -> pa.Table:
        return rows.select(["file"]).group_by("file").aggregate([([], "count_all")])

    schema = pa.schema([("file", pa.string()), ("count_all", pa.int64())])
    found: Counter[str] = Counter()
    for row in engine.collected(engine.map_rows(typed, counted, schema)).to_pylist():
        found[row["file"]] += row["count_all"]
    return found


def passed_rows(checked: Rows, table: Table) -> Rows:
    """Return the valid rows with the table's columns."""

    def passed(rows: pa.Table) -> pa.Table:
        return rules.filter_passed(rows).select(table.names)

    return engine.map_rows(checked, passed, table.arrow_schema())


def quarantined_rows(
    context: IngestContext, kind: str, checked: Rows, deliveries: Sequence[Delivery]
) -> Rows:
    """Return quarantine entries for rows that broke rules and for files that are bad as a whole."""
    about = {d.landed.file: (d.report.sha256, d.report.header) for d in deliveries}
    run_id = context.run_id

    def entries(rows: pa.Table) -> pa.Table:
        bad = rules.filter_held_back(rows)
        raw = rules.raw_json(bad, {file: header for file, (_, header) in about.items()})
        whose = [name for name in ("day", "lot") if name in bad.column_names]
        bad = bad.select(["file", "line", "rule", "reason", *whose]).append_column("raw", raw)
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


def count_rows(
    lake: Lake, kind: str, table: Table, deliveries: Sequence[Delivery], read: Mapping[str, int]
) -> None:
    """Count what the tables now hold of each file; `read` are the rows of files that are long."""
    own = in_files([delivery.landed.file for delivery in deliveries])
    rows = (pc.field("kind") == kind) & (pc.field("line") > 0)
    stored = lake.counts(table, "file", own)
    held = lake.counts(QUARANTINE, "file", own & rows)
    for delivery in deliveries:
        file = delivery.landed.file
        if not delivery.report.sha256:
            continue
        rows = read.get(file, delivery.report.rows)
        delivery.rows_read = rows if delivery.status == LOADED else 0
        delivery.rows_stored = stored[file]
        delivery.rows_quarantined = held[file]
