"""Error lists: their layout, their typed rows, and the rules that a row must keep."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import IO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.errors import UsageError
from lakehouse.files.headers import folded
from lakehouse.files.layout import FileReport, Layout
from lakehouse.files.opened import opened
from lakehouse.files.readings import cells_at, check_line, lines_of
from lakehouse.files.rules import CHECKED, Mask, Rule, as_mask, find_broken, line_rules
from lakehouse.files.text_form import FormatError
from lakehouse.files.values import AHEAD, EARLIEST, dates
from lakehouse.forms import DATE_FORMS
from lakehouse.settings import Settings
from lakehouse.stage import Stage
from lakehouse.stage_sections import ErrorLists

LOTS = pa.list_(pa.string())
NAMED_BYTES = 1 << 20
"""A larger list that cannot be read is not searched for days."""
UNKNOWN = "\0"
"""Date of a malformed row, which no cell has."""


def layout(stage: Stage, settings: Settings) -> Layout:
    """Return the layout of the stage's error lists."""
    source = needed(stage)
    fields = {"date": tuple(source.date)}
    if source.line and source.line.column:
        fields["line"] = tuple(source.line.column)
    return Layout.of(
        source,
        settings,
        fields,
        group=tuple(source.lots),
    )


def needed(stage: Stage) -> ErrorLists:
    """Return what the stage says about its error lists; raises UsageError if it has none."""
    if stage.error_lists is None:
        raise UsageError(f"stage {stage.name} has no [error_lists]")
    return stage.error_lists


def check_file(stage: Stage, file: str, report: FileReport) -> None:
    """Add the fault that the file's name shows, if any, to the report."""
    check_line(needed(stage), file, report)


def row_schema(stage: Stage) -> pa.Schema:
    """Return the columns of checked rows of error lists, which are the same in each stage.

    `lots` are sorted and distinct. `names_lots` says whether the row may name a failed lot,
    `date_is_blank` whether its date is missing, as below a merged cell, or the row is malformed.
    `perhaps` are the days that its text may mean if its date cannot be read.
    """
    typed = [("day", pa.date32()), ("lots", LOTS)]
    typed += [("names_lots", pa.bool_()), ("date_is_blank", pa.bool_())]
    typed += [("perhaps", pa.list_(pa.date32()))]
    return pa.schema([*CHECKED, *(pa.field(name, kind) for name, kind in typed)])


def typed_rows(
    batch: pa.RecordBatch, reports: Mapping[str, FileReport], stage: Stage
) -> pa.RecordBatch:
    """Type and check the rows of some files, as `read_cells` gives them, with the column `file`.

    A date that cannot be read is null. A row that is not read as cells has no lots.
    """
    source, fault, date_cells = needed(stage), batch["fault"], cells_at(batch, 0)
    trimmed = pc.ascii_trim(date_cells, " ")
    if source.fill_down:
        trimmed = _filled_down(trimmed, batch["file"])
    said = dates(trimmed, source.date_format, with_time=True)
    untrue = _implausible(said)
    day = pc.if_else(pa.array(untrue), pa.scalar(None, pa.date32()), said)
    by_column = source.line is not None and source.line.column is not None
    lines = lines_of(batch, source, cells_at(batch, 1) if by_column else None)
    at = 2 if by_column else 1
    texts = [
        None if faulty else _texts(cells[at : at + reports[file].grouped], source.separator)
        for file, cells, faulty in zip(
            batch["file"].to_pylist(),
            batch["cells"].to_pylist(),
            as_mask(fault.is_valid()),
            strict=True,
        )
    ]
    lots = _lots(texts, lines, stage)
    headings = [name for name in source.date if not name.isdigit()]
    names_lots = [
        some is None or (some != [] and text not in headings)
        for some, text in zip(lots, trimmed.to_pylist(), strict=True)
    ]
    found = _rules(fault, date_cells, said, lots, stage)
    found.append(Rule("implausible_time", untrue, lambda at: f"{said[at]} cannot be its day"))
    found.append(_unnamed_lots(batch, reports, at, stage))
    rule, reason = find_broken(found, len(batch))
    is_blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(trimmed), ""), True)
    # A malformed row is one cell: its whole text.
    unread = [
        "" if is_read else cells[0] or ""
        for is_read, cells in zip(as_mask(said.is_valid()), batch["cells"].to_pylist(), strict=True)
    ]
    perhaps = _days_in(unread, source.date_format)
    typed = [day, pa.array(lots, LOTS), pa.array(names_lots, pa.bool_()), is_blank]
    typed.append(pa.array(perhaps, pa.list_(pa.date32())))
    return pa.RecordBatch.from_arrays(
        [batch["file"], batch["line"], batch["cells"], rule, reason, *typed],
        schema=row_schema(stage),
    )


def _implausible(day: pa.Array) -> Mask:
    """Return which days no list is about: before 1990, or in the future."""
    latest = (datetime.now(UTC) + AHEAD).date()
    early = pc.less(day, pa.scalar(EARLIEST.date(), pa.date32()))
    return as_mask(pc.or_(early, pc.greater(day, pa.scalar(latest, pa.date32()))))


def _days_in(texts: Sequence[str], form: str) -> list[list[date]]:
    """Return the days that each date's cell, or malformed row, may mean in any common form."""
    places, words = [], []
    for place, text in enumerate(texts):
        found = [word for word in re.split(r"[\s,;|\t\"']+", text) if word]
        places += [place] * len(found)
        words += found
    days: list[set[date]] = [set() for _ in texts]
    if not words:
        return [[] for _ in texts]
    latest = (datetime.now(UTC) + AHEAD).date()
    for one in dict.fromkeys((form, *DATE_FORMS)):
        read = dates(pa.array(words, pa.string()), one).to_pylist()
        for place, day in zip(places, read, strict=True):
            if day and EARLIEST.date() <= day <= latest:
                days[place].add(day)
    return [sorted(some) for some in days]


def days_named(stream: IO[bytes], stage: Stage, settings: Settings) -> list[date]:
    """Return the days, sorted, that an unreadable list names.

    Empty if the list is larger than `NAMED_BYTES`, or if a line below its first date has no date:
    then it may mean other days, too.
    """
    form = layout(stage, settings).form
    try:
        text, sha256 = opened(stream, form._replace(max_bytes=NAMED_BYTES))
    except FormatError:
        return []
    content = text.read(NAMED_BYTES + 1)
    if sha256:
        text.close()
    lines = [line.strip(' \t,;|"') for line in content.decode("utf-8", "replace").splitlines()]
    found = _days_in([line for line in lines if line], needed(stage).date_format)
    at = next((at for at, days in enumerate(found) if days), 0)
    if len(content) > NAMED_BYTES or not all(found[at:]):
        return []
    return sorted({day for days in found for day in days})


def _unnamed_lots(
    batch: pa.RecordBatch, reports: Mapping[str, FileReport], at: int, stage: Stage
) -> Rule:
    """Return the rule for cells that may be lots, in a column that the stage names nowhere.

    Lots stand behind the date; before it, people number the rows.
    """
    ignored = {folded(name) for name in needed(stage).ignore}
    unknown = {
        file: [
            (place, name)
            for place, name in enumerate(report.header)
            if place >= at + report.grouped
            and report.order[place] > report.order[0]
            and folded(name) not in ignored
        ]
        for file, report in reports.items()
    }
    found: dict[int, str] = {}
    if any(unknown.values()):
        whole = batch["fault"].is_null().to_pylist()
        rows = zip(batch["file"].to_pylist(), batch["cells"].to_pylist(), whole, strict=True)
        for row, (file, cells, is_whole) in enumerate(rows):
            for place, name in unknown[file] if is_whole else ():
                if stage.lot_name(cells[place].strip()):
                    found[row] = (
                        f"column {name} has '{cells[place].strip()}', which may be a lot: name the "
                        "column in lots or in ignore"
                    )
    broken = np.zeros(len(batch), bool)
    broken[list(found)] = True
    return Rule("lot", broken, found.__getitem__)


def _filled_down(texts: pa.Array, files: pa.Array) -> pa.Array:
    """Give a blank cell the text above it in its file, as in merged cells.

    Below a malformed row, whose date is not known, it stays blank.
    """
    said = [UNKNOWN if text is None else text or None for text in texts.to_pylist()]
    filled = pd.Series(said, dtype=object).groupby(files.to_pylist(), sort=False).ffill()
    return pa.array(
        [
            None if text is None else "" if one is None or one == UNKNOWN else one
            for text, one in zip(texts.to_pylist(), filled.where(filled.notna(), None), strict=True)
        ],
        pa.string(),
    )


def _texts(cells: Sequence[str], separator: str | None) -> list[str]:
    """Return the texts that may name lots."""
    if separator:
        pattern = f"[{re.escape(separator)}]"
        cells = [text for cell in cells for text in re.split(pattern, cell)]
    return [text for cell in cells if (text := cell.strip())]


def _lots(
    texts: Sequence[Sequence[str] | None], lines: pa.Array | None, stage: Stage
) -> list[list[str] | None]:
    """Return the sorted lots of each row. A text that does not name a lot is kept unchanged."""
    of_rows = [None] * len(texts) if lines is None else lines.to_pylist()
    return [
        some if some is None else sorted({stage.lot_name(text, line) or text for text in some})
        for some, line in zip(texts, of_rows, strict=True)
    ]


def _rules(
    fault: pa.Array,
    date_cells: pa.Array,
    day: pa.Array,
    lots: Sequence[Sequence[str] | None],
    stage: Stage,
) -> list[Rule]:
    strange = [[lot for lot in some or () if not stage.is_lot(lot)] for some in lots]
    no_day = as_mask(pc.and_(fault.is_null(), day.is_null()))
    return [
        *line_rules(fault),
        Rule("date", no_day, lambda at: f"not a date: '{date_cells[at]}'"),
        Rule(
            "lot",
            np.array([len(some) > 0 for some in strange], bool),
            lambda at: f"not a lot: {', '.join(strange[at])}",
        ),
    ]
