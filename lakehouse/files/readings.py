"""Sensor files: their layout, their typed rows, and the rules that a reading must keep."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import IO, Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.files.delimited import FileReport, Layout, inspect, read_cells, with_file
from lakehouse.files.rules import CHECKED, Rule, as_mask, find_broken, line_rules, with_duplicates
from lakehouse.settings import Settings
from lakehouse.stage import Stage, Variable, date_pattern
from lakehouse.tables.readings import readings as readings_table

MORNING, AFTERNOON = "오전|AM", "오후|PM"
CLOCK = (
    rf"(?i)^(?:(?P<mark>{MORNING}|{AFTERNOON})[\s\v]*)?"  # half of the day
    r"(?P<hour>\d{1,2}):(?P<minute>\d{1,2})"
    r"(?::(?P<second>\d{1,2})(?:\.(?P<fraction>\d+))?)?$"
)
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
"""Patterns for Arrow, in which \\d and \\s are ASCII and \\s lacks \\v; the texts are trimmed."""

LOT = re.compile(r"^(\d+)\.0*$", re.ASCII)
MOMENT = pa.timestamp("us", "UTC")
SECOND, MINUTE, DAY = 1_000_000, 60_000_000, 86_400_000_000
"""In microseconds."""
SHOWN = 80
"""How many characters of a cell a reason shows."""


def layout(stage: Stage, settings: Settings) -> Layout:
    """Return the layout of the stage's sensor files."""
    source = stage.readings
    return Layout(
        source.delimiter,
        tuple(source.encodings),
        _fields(stage),
        max_line_bytes=settings.max_line_bytes,
        max_file_bytes=settings.max_file_bytes,
        ignored=tuple(source.ignore),
        has_numbers=True,
    )


def file_date(stage: Stage, file: str) -> date | None:
    """Return the day in the file's name; None if it has none or if the rows have it."""
    source = stage.readings.date
    found = re.search(source.file_name, file) if source.file_name else None
    try:
        return datetime.strptime(found[1] or "", source.format).date() if found else None
    except ValueError:
        return None


def check_file(stage: Stage, file: str, report: FileReport) -> None:
    """Add the fault that the file's name shows, if any, to the report."""
    if stage.readings.date.file_name and file_date(stage, file) is None:
        report.fault(
            "no_date",
            f"the file name has no date as {stage.readings.date.file_name} "
            f"and {stage.readings.date.format} want it",
        )


def row_schema(stage: Stage) -> pa.Schema:
    """Return the columns of checked rows of the stage's sensor files."""
    typed = [("day", pa.date32()), ("lot", pa.string()), ("measured_at", MOMENT)]
    typed += [(v.name, pa.float64()) for v in stage.readings.variables]
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
    typed = [typed_rows(batch, {name: report}, stage) for batch in batches]
    rows = pa.Table.from_batches(typed, schema)
    return report, with_duplicates(rows, readings_table(stage).key)


def typed_rows(
    batch: pa.RecordBatch, reports: Mapping[str, FileReport], stage: Stage
) -> pa.RecordBatch:
    """Type and check the rows of some files, as `read_cells` gives them, with the column `file`.

    A value that cannot be read as its type is null, and its row breaks a rule. `reports` are not
    needed.
    """
    source, count = stage.readings, len(batch)
    cells = {name: cells_at(batch, place) for place, name in enumerate(_fields(stage))}
    text = {name: pc.ascii_trim(column, " ") for name, column in cells.items()}
    if "date" in text:
        day = as_dates(text["date"], source.date.format)
    else:
        said = by_value(batch["file"], lambda file: file_date(stage, file), pa.date32())
        day = pc.if_else(batch["fault"].is_null(), said, pa.scalar(None, pa.date32()))
    typed = {
        "day": day,
        "lot": by_value(text["lot"], lot_name, pa.string()),
        "measured_at": _moments(day, time_of_day(text["time"], source.clock), stage.zone),
        **{v.name: _numbers(text[v.name]) for v in source.variables},
    }
    rule, reason = find_broken(rules(batch["fault"], cells, typed, stage), count)
    return pa.RecordBatch.from_arrays(
        [batch["file"], batch["line"], batch["cells"], rule, reason, *typed.values()],
        schema=row_schema(stage),
    )


def rules(
    fault: pa.Array, cells: Mapping[str, pa.Array], typed: Mapping[str, pa.Array], stage: Stage
) -> list[Rule]:
    """Return the rules of a reading, in their order, for its cells and its typed columns."""
    whole = as_mask(fault.is_null())
    no_day, no_time = (as_mask(typed[name].is_null()) for name in ("day", "measured_at"))
    date_cells = cells.get("date", pa.repeat("its file's", len(fault)))
    pattern = lot_pattern(stage)
    strange = by_value(typed["lot"], lambda lot: not pattern.fullmatch(lot), pa.bool_())
    found = [
        *line_rules(fault),
        Rule("lot", as_mask(strange), _not_a("lot", cells["lot"])),
        Rule("date", whole & no_day, _not_a("date", date_cells)),
        Rule(
            "time",
            whole & ~no_day & no_time,
            _not_a(f"{stage.readings.clock} time", cells["time"]),
        ),
    ]
    for v in stage.readings.variables:
        values = typed[v.name]
        missing = whole & as_mask(values.is_null())
        outside = as_mask(pc.or_(pc.less(values, v.minimum), pc.greater(values, v.maximum)))
        found += [
            Rule("number", missing, _not_a(f"{v.name} number", cells[v.name])),
            Rule("physical_range", outside, _outside(v, values)),
        ]
    return found


def cells_at(batch: pa.RecordBatch, place: int) -> pa.Array:
    """Return the cell at that place of each row of `read_cells`; null for a row with a fault."""
    cells = batch["cells"]
    starts = cells.offsets.to_numpy()
    at = starts[:-1] - starts[0] + place
    return cells.flatten().take(pa.array(at, mask=as_mask(batch["fault"].is_valid())))


def by_value(values: pa.Array, form: Callable[[Any], object], kind: pa.DataType) -> pa.Array:
    """Apply `form` to each value, with results of that type; call it once per different value."""
    coded = values.dictionary_encode()
    formed = pa.array([form(value) for value in coded.dictionary.to_pylist()], kind)
    return formed.take(coded.indices)


def lot_name(text: str) -> str:
    """Return a lot's name: the trimmed text; a number written 20.0 means 20."""
    return LOT.sub(r"\1", text)


def lot_pattern(stage: Stage) -> re.Pattern[str]:
    """Return the stage's pattern of a whole lot name."""
    return re.compile(stage.lot_pattern, re.ASCII)


def as_dates(texts: pa.Array, form: str) -> pa.Array:
    """Return the dates that the trimmed texts give in that form; null for any other text."""
    pattern = re.compile(date_pattern(form), re.ASCII | re.IGNORECASE)

    def as_date(text: str) -> date | None:
        found = pattern.fullmatch(text)
        if not found:
            return None
        parts = {name: int(value) for name, value in found.groupdict().items()}
        try:
            return date(parts.get("Y", 2000 + parts.get("y", 0)), parts["m"], parts["d"])
        except ValueError:
            return None

    return by_value(texts, as_date, pa.date32())


def time_of_day(texts: pa.Array, clock: str) -> pa.Array:
    """Return microseconds since midnight of times by that clock; null for any other text.

    12h: 오전 or AM before h:mm:ss, with 12 as midnight; 오후 or PM, with 12 as noon.
    """
    found = pc.extract_regex(pc.ascii_trim_whitespace(texts), CLOCK)
    mark = pc.struct_field(found, "mark")
    hour, minute, second = (
        pc.cast(pc.ascii_lpad(pc.struct_field(found, name), 2, "0"), pa.int64())
        for name in ("hour", "minute", "second")
    )
    fraction = pc.binary_slice(pc.cast(pc.struct_field(found, "fraction"), pa.binary()), 0, 7)
    fraction = pc.cast(pc.ascii_rpad(pc.cast(fraction, pa.string()), 7, "0"), pa.int64())
    second = pc.add(pc.multiply(second, SECOND), pc.divide(pc.add(fraction, 5), 10))
    sound = pc.and_(pc.less(minute, 60), pc.less(second, MINUTE))
    marked = pc.not_equal(mark, "")
    if clock == "12h":
        sound = pc.and_(pc.and_(sound, marked), pc.and_(pc.greater(hour, 0), pc.less(hour, 13)))
        afternoon = pc.match_substring_regex(mark, f"(?i){AFTERNOON}")
        hour = pc.if_else(pc.equal(hour, 12), 0, hour)
        hour = pc.add(hour, pc.multiply(pc.cast(afternoon, pa.int64()), 12))
    else:
        sound = pc.and_(sound, pc.and_not(pc.less(hour, 24), marked))
    since_midnight = pc.add(pc.multiply(pc.add(pc.multiply(hour, 60), minute), MINUTE), second)
    return pc.if_else(sound, since_midnight, pa.scalar(None, pa.int64()))


def _fields(stage: Stage) -> dict[str, tuple[str, ...]]:
    """Return the needed columns of a sensor file, each with the header names it may have."""
    source = stage.readings
    fields = {"lot": tuple(source.lot), "time": tuple(source.time)}
    if source.date.column:
        fields["date"] = tuple(source.date.column)
    return fields | {variable.name: tuple(variable.column) for variable in source.variables}


def _moments(day: pa.Array, time: pa.Array, zone: ZoneInfo) -> pa.Array:
    """Return the moments when the plant's clocks show that day and time; null if either is null.

    If clocks are set back there are two such moments; the first is used. The offset to UTC is
    looked up once per minute.
    """
    days = pc.cast(pc.cast(day, pa.int32()), pa.int64())
    minutes = pc.add(pc.multiply(days, DAY // MINUTE), pc.divide(time, MINUTE))

    def offset(minute: int) -> int | None:
        wall = datetime(1970, 1, 1) + timedelta(minutes=minute)
        try:
            moment = wall.replace(tzinfo=zone).astimezone(UTC)
        except OverflowError:  # In UTC the year is 0 or 10000.
            return None
        return (wall - moment.replace(tzinfo=None)) // timedelta(microseconds=1)

    local = pc.add(pc.multiply(days, DAY), time)
    return pc.cast(pc.subtract(local, by_value(minutes, offset, pa.int64())), MOMENT)


def _numbers(texts: pa.Array) -> pa.Array:
    """Return the finite decimal numbers that the texts give; null for any other text."""
    texts = pc.ascii_trim_whitespace(texts)
    said = pc.if_else(pc.match_substring_regex(texts, NUMBER), texts, pa.scalar(None, pa.string()))
    values = pc.cast(said, pa.float64())
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))


def _not_a(what: str, texts: pa.Array) -> Callable[[int], str]:
    return lambda at: f"not a {what}: '{texts[at].as_py()[:SHOWN]}'"


def _outside(variable: Variable, values: pa.Array) -> Callable[[int], str]:
    limits = f"{variable.minimum:g} to {variable.maximum:g} {variable.unit}"
    return lambda at: f"{variable.name} {values[at].as_py()} is outside {limits}"
