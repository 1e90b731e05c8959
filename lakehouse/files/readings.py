"""Sensor files: their layout and their typed rows. The rules stand in `reading_rules`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.files.cells import read_cells, whole, with_file
from lakehouse.files.delimited import inspect
from lakehouse.files.layout import FileReport, Layout
from lakehouse.files.long_format import gathered, runs
from lakehouse.files.reading_rules import is_missing, needed, reading_rules
from lakehouse.files.results import results_in
from lakehouse.files.rules import CHECKED, Mask, as_mask, find_broken
from lakehouse.files.together import with_duplicates, with_sequence
from lakehouse.files.values import (
    AMBIGUOUS,
    MOMENT,
    by_value,
    dates,
    days_of,
    moments,
    moments_of,
    numbers,
    times_of_day,
)
from lakehouse.settings import Settings
from lakehouse.stage import Stage
from lakehouse.stage_sections import Readings, Source, Text
from lakehouse.tables.readings import readings as readings_table


def layout(stage: Stage, settings: Settings) -> Layout:
    """Return the layout of the stage's sensor files."""
    source = needed(stage)
    return Layout.of(
        source,
        settings,
        _fields(source),
        has_numbers=True,
        optional=frozenset(v.name for v in source.variables if v.optional),
        is_long=source.long is not None,
        decimal=source.decimal,
        thousands=source.thousands,
    )


def from_name(source: Source | None, file: str) -> str | None:
    """Return the value in the file's path; None if it has none or the rows have it."""
    found = re.search(source.file_name, file) if source and source.file_name else None
    return found[1] if found else None


def file_date(stage: Stage, file: str) -> date | None:
    """Return the day in the file's name; None if it has none or if the rows have it."""
    source = needed(stage).date
    found = from_name(source, file)
    try:
        return datetime.strptime(found, source.format).date() if source and found else None
    except ValueError:
        return None


def check_file(stage: Stage, file: str, report: FileReport) -> None:
    """Add the fault that the file's name shows, if any, to the report."""
    source = needed(stage)
    if source.date and source.date.file_name and file_date(stage, file) is None:
        report.fault(
            "no_date",
            f"the file name has no date as {source.date.file_name} "
            f"and {source.date.format} want it",
        )
    check_line(source, file, report)


def check_line(source: Text, file: str, report: FileReport) -> None:
    """Add a fault if the production line should stand in the file's name, and does not."""
    if source.line and source.line.file_name and not from_name(source.line, file):
        report.fault("no_line", f"the path has no production line as {source.line.file_name} wants")


def row_schema(stage: Stage) -> pa.Schema:
    """Return the columns of checked rows of the stage's sensor files."""
    source = needed(stage)
    typed = [("day", pa.date32()), ("lot", pa.string()), ("measured_at", MOMENT)]
    typed += [(name, pa.string()) for name in source.key]
    typed += [("sequence", pa.int64())] if source.sequence else []
    typed += [(v.name, pa.float64()) for v in source.variables]
    typed += [("result", pa.string())] if source.result else []
    return pa.schema([*CHECKED, *(pa.field(name, kind) for name, kind in typed)])


def read_file(
    stream: IO[bytes], name: str, stage: Stage, settings: Settings
) -> tuple[FileReport, pa.Table]:
    r"""Read one sensor file as the ingest does.

    Args:
        stream: The file's bytes; it can be read from its beginning again.
        name: The file's path below the landing directory; it may hold the day.
        stage: The stage that the file belongs to.
        settings: Limits on bytes and lines.

    Returns:
        The file's report, and its checked rows with the columns of `row_schema`: variables in their
        units, `measured_at` in UTC, `rule` and `reason` of the rows that break a rule. If the
        report has a `rule`, no row is read.

    Raises:
        PlatelakeError: The content changed between the two passes.

    Example:
        >>> import io
        >>> from lakehouse.settings import load_settings
        >>> from lakehouse.stage import load_stage
        >>> header, row = "Lot,Time,pH,Temp,Voltage", "17,오후 4:20:35.0,2.1,42.5,17.4"
        >>> name = "kemp-abh-sensor-2021.11.01.csv"
        >>> stream = io.BytesIO(f"{header}\n{row}\n17,x,99,42.5,17.4\n".encode())
        >>> report, rows = read_file(stream, name, load_stage("chromate"), load_settings())
        >>> report.rows, report.rule
        (2, None)
        >>> rows.select(["lot", "ph", "rule"]).to_pylist()
        [{'lot': '17', 'ph': 2.1, 'rule': None}, {'lot': '17', 'ph': 99.0, 'rule': 'time'}]
    """
    kind, schema = layout(stage, settings), row_schema(stage)
    report = inspect(stream, kind)
    check_file(stage, name, report)
    if report.rule:
        return report, schema.empty_table()
    stream.seek(0)
    batches = (with_file(batch, name) for batch in read_cells(stream, report, kind))
    parts = whole(batches) if kind.is_long else batches
    typed = [typed_rows(batch, {name: report}, stage) for batch in parts]
    rows = pa.Table.from_batches(typed, schema)
    return report, checked_together(rows, stage)


def checked_together(rows: pa.Table, stage: Stage) -> pa.Table:
    """Add what shows only in rows together: their sequence, and which are duplicates.

    `rows` are all new rows of a day, or of a file.
    """
    key = readings_table(stage).key
    if needed(stage).sequence:
        rows = with_sequence(rows, [name for name in key if name != "sequence"])
    return with_duplicates(rows, key)


def typed_rows(
    batch: pa.RecordBatch, reports: Mapping[str, FileReport], stage: Stage
) -> pa.RecordBatch:
    """Type and check the rows of some files, as `read_cells` gives them, with the column `file`.

    A value that cannot be read as its type is null, and its row breaks a rule. `reports` tell how a
    file writes its numbers. Rows of a long file must be all of it; they are gathered to readings.
    """
    source = needed(stage)
    cells = {name: cells_at(batch, place) for place, name in enumerate(_fields(source))}
    if source.long:
        moment = _moments_of_variables(batch, cells, stage)
        rows = {file: report.rows for file, report in reports.items()}
        batch, cells = gathered(batch, cells, moment, source, rows)
    count = len(batch)
    text = {name: pc.ascii_trim(column, " ") for name, column in cells.items()}
    day, measured_at = _times(batch, text, stage)
    mixed = _mixes_notations(batch["file"], reports)
    missing = {v.name: is_missing(cells[v.name], source.missing) for v in source.variables}
    typed = {
        "day": day,
        "lot": lots_in(text["lot"], lines_of(batch, source, text.get("line")), stage),
        "measured_at": measured_at,
        **{name: text[name] for name in source.key},
        **({"sequence": pa.repeat(0, count)} if source.sequence else {}),
        **{
            v.name: _numbers(text[v.name], source, mixed, missing[v.name]) for v in source.variables
        },
    }
    if source.result:
        none = is_missing(cells["result"], source.missing)
        values = _numbers(text["result"], source, mixed, none)
        typed["result"] = results_in(cells["result"], values, none, source.result)
    rule, reason = find_broken(reading_rules(batch["fault"], cells, typed, missing, stage), count)
    return pa.RecordBatch.from_arrays(
        [batch["file"], batch["line"], batch["cells"], rule, reason, *typed.values()],
        schema=row_schema(stage),
    )


def _moments_of_variables(
    batch: pa.RecordBatch, cells: Mapping[str, pa.Array], stage: Stage
) -> pa.Array:
    """Return the moment of each row of long files, in which each variable's times rise."""
    each = runs(batch, cells)
    order = np.argsort(each.dictionary_encode().indices.to_numpy(), kind="stable")
    text = {name: pc.ascii_trim(column, " ").take(order) for name, column in cells.items()}
    _, moment = _times(batch.take(pa.array(order)), text, stage, each.take(order))
    return moment.take(pa.array(np.argsort(order)))


def _times(
    batch: pa.RecordBatch, text: Mapping[str, pa.Array], stage: Stage, run: pa.Array | None = None
) -> tuple[pa.Array, pa.Array]:
    """Return day and moment of each row; in rows with an equal `run`, or file, times rise."""
    source, run = needed(stage), batch["file"] if run is None else run
    if source.timestamp:
        parts = [column for name, column in text.items() if name.startswith("timestamp ")]
        joined = pc.binary_join_element_wise(*parts, " ") if len(parts) > 1 else parts[0]
        moment = moments(joined, source.timestamp.format, stage.zone, run, source.decimal)
        return days_of(moment, stage.zone), moment
    assert source.date is not None
    if "date" in text:
        day = dates(text["date"], source.date.format, with_time=True)
    else:
        said = by_value(batch["file"], lambda file: file_date(stage, file), pa.date32())
        day = pc.if_else(batch["fault"].is_null(), said, pa.scalar(None, pa.date32()))
    time = times_of_day(text["time"], source.clock)
    return day, moments_of(day, time, stage.zone, run)


def _mixes_notations(files: pa.Array, reports: Mapping[str, FileReport]) -> pa.Array | None:
    """Return whether each row's file has numbers in another notation; None if no file has."""
    mixed = {file for file, report in reports.items() if report.mixes_notations}
    return by_value(files, mixed.__contains__, pa.bool_()) if mixed else None


def _numbers(texts: pa.Array, source: Readings, mixed: pa.Array | None, missing: Mask) -> pa.Array:
    """Return the numbers; null where none is, and where another notation makes one unclear."""
    values = numbers(texts, source.decimal, source.thousands)
    nothing = pa.scalar(None, pa.float64())
    if missing.any():
        values = pc.if_else(pa.array(missing), nothing, values)
    if mixed is None:
        return values
    unclear = pc.and_(mixed, pc.match_substring_regex(texts, AMBIGUOUS))
    return pc.if_else(pc.fill_null(unclear, False), nothing, values)


def lines_of(batch: pa.RecordBatch, source: Text, cells: pa.Array | None) -> pa.Array | None:
    """Return the production line of each row, from its file's path or its cell; None without."""
    if source.line is None or cells is not None:
        return cells
    return by_value(batch["file"], lambda file: from_name(source.line, file), pa.string())


def lots_in(texts: pa.Array, lines: pa.Array | None, stage: Stage) -> pa.Array:
    """Return the lot that each trimmed cell names; null if it is not the name of one."""
    if lines is None:
        return by_value(texts, stage.lot_name, pa.string())
    pairs = pa.StructArray.from_arrays([texts, lines], ["lot", "line"], mask=texts.is_null())
    names = [pair and stage.lot_name(pair["lot"], pair["line"] or "") for pair in pairs.to_pylist()]
    return pa.array(names, pa.string())


def cells_at(batch: pa.RecordBatch, place: int) -> pa.Array:
    """Return the cell at that place of each row of `read_cells`; null for a row with a fault."""
    cells = batch["cells"]
    starts = cells.offsets.to_numpy()
    at = starts[:-1] - starts[0] + place
    return cells.flatten().take(pa.array(at, mask=as_mask(batch["fault"].is_valid())))


def _fields(source: Readings) -> dict[str, tuple[str, ...]]:
    """Return the needed columns of a sensor file, each with the header names it may have."""
    fields = {name: tuple(columns) for name, columns in source.columns.items()}
    if source.long:
        return fields
    return fields | {variable.name: tuple(variable.column) for variable in source.variables}
