"""Error lists: their layout, their typed rows, and the rules that a row must keep."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.errors import UsageError
from lakehouse.files.layout import FileReport, Layout
from lakehouse.files.readings import cells_at, check_line, lines_of
from lakehouse.files.rules import CHECKED, Rule, as_mask, find_broken, line_rules
from lakehouse.files.values import dates
from lakehouse.settings import Settings
from lakehouse.stage import ErrorLists, Stage

LOTS = pa.list_(pa.string())


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
    """
    typed = [("day", pa.date32()), ("lots", LOTS)]
    typed += [("names_lots", pa.bool_()), ("date_is_blank", pa.bool_())]
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
    day = dates(trimmed, source.date_format, with_time=True)
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
    rule, reason = find_broken(_rules(fault, date_cells, day, lots, stage), len(batch))
    is_blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(trimmed), ""), True)
    typed = [day, pa.array(lots, LOTS), pa.array(names_lots, pa.bool_()), is_blank]
    return pa.RecordBatch.from_arrays(
        [batch["file"], batch["line"], batch["cells"], rule, reason, *typed],
        schema=row_schema(stage),
    )


def _filled_down(texts: pa.Array, files: pa.Array) -> pa.Array:
    """Give a blank cell the text above it in its file, as in merged cells."""
    said = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    return pa.array(
        pd.Series(said.to_pylist(), dtype=object).groupby(files.to_pylist(), sort=False).ffill(),
        pa.string(),
        from_pandas=True,
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
    """Return the sorted lots of each row; a text that is no lot stays as it is."""
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
