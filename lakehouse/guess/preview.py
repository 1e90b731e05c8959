"""Show a file's rows as a stage would store them, and what it would quarantine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from lakehouse.files import error_lists, readings
from lakehouse.files.cells import read_cells, with_file
from lakehouse.files.delimited import inspect
from lakehouse.files.layout import FileReport
from lakehouse.files.rules import filter_held_back, filter_passed
from lakehouse.settings import Settings
from lakehouse.stage import Stage


class Preview(NamedTuple):
    """A file's report, its rows that would be stored, and those that would be quarantined."""

    report: FileReport
    stored: pa.Table
    held_back: pa.Table

    @property
    def reasons(self) -> Counter[str]:
        """How many rows break each rule."""
        return Counter(self.held_back["rule"].to_pylist())


def preview(kind: str, path: Path, name: str, stage: Stage, settings: Settings) -> Preview:
    """Read a text file as the ingest would, without any other file.

    Args:
        kind: readings or error_lists.
        path: The file.
        name: Its path below the landing directory, which may hold day and line.
        stage: The stage whose rules count.
        settings: Limits on bytes and lines.
    """
    with path.open("rb") as stream:
        if kind == "readings":
            report, rows = readings.read_file(stream, name, stage, settings)
            return Preview(report, filter_passed(rows), filter_held_back(rows))
        layout = error_lists.layout(stage, settings)
        report = inspect(stream, layout)
        error_lists.check_file(stage, name, report)
        schema = error_lists.row_schema(stage)
        if report.rule:
            return Preview(report, schema.empty_table(), schema.empty_table())
        stream.seek(0)

        def typed() -> Iterator[pa.RecordBatch]:
            for batch in read_cells(stream, report, layout):
                yield error_lists.typed_rows(with_file(batch, name), {name: report}, stage)

        rows = pa.Table.from_batches(typed(), schema)
    return Preview(report, filter_passed(rows), filter_held_back(rows))
