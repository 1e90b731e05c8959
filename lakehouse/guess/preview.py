"""Show a file as a stage would store it, and what it would quarantine: rows and photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from PIL import Image

from lakehouse.errors import PhotoError, PlatelakeError
from lakehouse.files import error_lists, readings
from lakehouse.files.cells import read_cells, with_file
from lakehouse.files.delimited import inspect
from lakehouse.files.layout import FileReport
from lakehouse.files.photos import read_upright
from lakehouse.files.rules import filter_held_back, filter_passed
from lakehouse.landing.matching import kinds_of
from lakehouse.settings import Settings
from lakehouse.stage import Stage

BOOKKEEPING = ("file", "cells", "rule", "reason", "names_lots", "date_is_blank", "perhaps")
"""Columns that the ingest needs, and that tell a person nothing."""


class Preview(NamedTuple):
    """A file's report, its rows that would be stored, and those that would be quarantined."""

    report: FileReport
    stored: pa.Table
    held_back: pa.Table

    @property
    def reasons(self) -> Counter[str]:
        """How many rows break each rule."""
        return Counter(self.held_back["rule"].to_pylist())

    @property
    def columns(self) -> list[str]:
        """The columns that a person needs to see."""
        return [column for column in self.stored.column_names if column not in BOOKKEEPING]

    def first(self, count: int) -> list[list[str]]:
        """Return the cells of the first rows that would be stored, column by column."""
        rows = self.stored.slice(0, count).select(self.columns).to_pylist()
        return [[_text(row[column]) for column in self.columns] for row in rows]


class Shown(NamedTuple):
    """What a stage makes of a file.

    `kind` is readings, error_lists or photos; None if no glob of the stage names the file. A
    file that is refused as a whole has `rule` and `reason`; else a text file has its `rows` and a
    photo its `picture`, upright and in RGB.
    """

    name: str
    kind: str | None = None
    label: str | None = None
    rows: Preview | None = None
    picture: Image.Image | None = None
    rule: str = ""
    reason: str = ""


def show_file(path: Path, name: str, stage: Stage, settings: Settings) -> list[Shown]:
    """Return what a stage makes of a file, without any other file: once for each of its kinds.

    Nothing of a file that the stage ignores.

    Args:
        path: The file.
        name: Its path below the landing directory.
        stage: The stage.
        settings: Limits on bytes, lines and pixels.
    """
    try:
        kinds = kinds_of(stage, name)
    except PlatelakeError as error:
        return [Shown(name, "photos", rule="unreadable", reason=str(error))]
    if kinds is None:
        return []
    shown = [_show(path, name, kind, label, stage, settings) for kind, label in kinds.items()]
    return shown or [Shown(name)]


def _show(
    path: Path, name: str, kind: str, label: str | None, stage: Stage, settings: Settings
) -> Shown:
    try:
        if kind == "photos":
            picture = read_upright(path.read_bytes(), settings, stage.photo_bits)
            return Shown(name, kind, label, picture=picture)
        rows = preview(kind, path, name, stage, settings)
    except PhotoError as error:
        return Shown(name, kind, label, rule=error.rule, reason=str(error))
    except (OSError, PlatelakeError) as error:
        return Shown(name, kind, label, rule="unreadable", reason=str(error))
    rule, reason = rows.report.rule or "", rows.report.reason or ""
    return Shown(name, kind, None, rows, rule=rule, reason=reason)


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


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
