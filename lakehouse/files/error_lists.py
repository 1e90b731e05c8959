"""Error lists: their layout, their typed rows, and the rules that a row must keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.files.delimited import FileReport, Layout
from lakehouse.files.readings import as_dates, cells_at, lot_name, lot_pattern
from lakehouse.files.rules import CHECKED, Rule, as_mask, find_broken, line_rules
from lakehouse.settings import Settings
from lakehouse.stage import Stage

LOTS = pa.list_(pa.string())


def layout(stage: Stage, settings: Settings) -> Layout:
    """Return the layout of the stage's error lists."""
    source = stage.error_lists
    return Layout(
        source.delimiter,
        tuple(source.encodings),
        {"date": tuple(source.date)},
        group=tuple(source.lots),
        max_line_bytes=settings.max_line_bytes,
        max_file_bytes=settings.max_file_bytes,
        ignored=tuple(source.ignore),
    )


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
    fault, dates = batch["fault"], cells_at(batch, 0)
    trimmed = pc.ascii_trim(dates, " ")
    day = as_dates(trimmed, stage.error_lists.date_format)
    lots = [
        None if faulty else _lots(cells[1 : 1 + reports[file].grouped])
        for file, cells, faulty in zip(
            batch["file"].to_pylist(),
            batch["cells"].to_pylist(),
            as_mask(fault.is_valid()),
            strict=True,
        )
    ]
    headings = [name for name in stage.error_lists.date if not name.isdigit()]
    names_lots = [
        some is None or (some != [] and text not in headings)
        for some, text in zip(lots, trimmed.to_pylist(), strict=True)
    ]
    rule, reason = find_broken(_rules(fault, dates, day, lots, stage), len(batch))
    is_blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(dates), ""), True)
    typed = [day, pa.array(lots, LOTS), pa.array(names_lots, pa.bool_()), is_blank]
    return pa.RecordBatch.from_arrays(
        [batch["file"], batch["line"], batch["cells"], rule, reason, *typed],
        schema=row_schema(stage),
    )


def _lots(cells: Sequence[str]) -> list[str]:
    return sorted({lot_name(text.strip(" ")) for text in cells} - {""})


def _rules(
    fault: pa.Array,
    dates: pa.Array,
    day: pa.Array,
    lots: Sequence[Sequence[str] | None],
    stage: Stage,
) -> list[Rule]:
    pattern = lot_pattern(stage)
    strange = [[lot for lot in some or () if not pattern.fullmatch(lot)] for some in lots]
    no_day = as_mask(pc.and_(fault.is_null(), day.is_null()))
    return [
        *line_rules(fault),
        Rule("date", no_day, lambda at: f"not a date: '{dates[at]}'"),
        Rule(
            "lot",
            np.array([len(some) > 0 for some in strange], bool),
            lambda at: f"not a lot: {', '.join(strange[at])}",
        ),
    ]
