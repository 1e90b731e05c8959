"""Turn sheets of Excel and Parquet files into delimited text."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from python_calamine import CalamineError, CalamineWorkbook

from lakehouse.files.text_form import Form, FormatError, SheetsError

ZIP = b"PK\x03\x04"
"""First bytes of a zip, and so of an .xlsx."""


def write_sheet(stream: IO[bytes], text: IO[bytes], form: Form) -> None:
    """Write one sheet of an Excel file as text."""
    content = stream.read()
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        sheets = {name: _cells(book, name) for name in book.sheet_names}
    except CalamineError as error:
        raise FormatError("damaged", f"not a readable Excel file: {error}") from error
    filled = [name for name, rows in sheets.items() if rows]
    if form.sheet is not None and form.sheet not in sheets:
        raise FormatError("sheet", f"no sheet {form.sheet!r}; the file has {', '.join(sheets)}")
    if form.sheet is None and len(filled) > 1:
        raise SheetsError(filled)
    name = form.sheet or (filled or book.sheet_names)[0]
    rows = [[_cell(value, form.decimal) for value in row] for row in sheets[name]]
    for (line, column), said in errors_in(content, book.sheet_names.index(name)).items():
        if line < len(rows) and column < len(rows[line]):
            rows[line][column] = said
    _write_rows(rows, text, form)


def _cells(book: CalamineWorkbook, name: str) -> list[list[Any]]:
    rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
    return rows if any(value != "" for row in rows for value in row) else []


CELL = re.compile(rb'<c r="([A-Z]+)([0-9]+)"([^>]*)>(.*?)</c>', re.DOTALL)
RESULT = re.compile(rb"<v>(.*?)</v>", re.DOTALL)


def errors_in(content: bytes, sheet: int) -> dict[tuple[int, int], str]:
    """Return the cells of an .xlsx sheet that hold an error or a formula without a result.

    The reader gives these as empty cells. Keys are line and column from 0.
    """
    if not content.startswith(ZIP):
        return {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = _part_of(archive, sheet)
        if name not in archive.namelist():
            return {}
        found = {}
        for column, line, about, inside in CELL.findall(archive.read(name)):
            result = RESULT.search(inside)
            is_error = b't="e"' in about
            if is_error or (b"<f" in inside and result is None):
                said = result[1].decode() if result and is_error else "#FORMULA"
                at = 0
                for letter in column:
                    at = at * 26 + letter - ord("A") + 1
                found[int(line) - 1, at - 1] = said
        return found


def _part_of(archive: zipfile.ZipFile, sheet: int) -> str:
    """Return the name of the part of an .xlsx that holds the sheet at that place."""
    if "xl/_rels/workbook.xml.rels" not in archive.namelist():
        return ""
    ids = re.findall(rb'<sheet [^>]*r:id="([^"]+)"', archive.read("xl/workbook.xml"))
    targets = {}
    for one in re.findall(rb"<Relationship [^>]*>", archive.read("xl/_rels/workbook.xml.rels")):
        name, target = re.search(rb'Id="([^"]+)"', one), re.search(rb'Target="([^"]+)"', one)
        if name and target:
            targets[name[1]] = target[1].decode()
    if sheet >= len(ids) or ids[sheet] not in targets:
        return ""
    return f"xl/{targets[ids[sheet]]}".replace("xl//xl/", "xl/")


def write_parquet(stream: IO[bytes], text: IO[bytes], form: Form) -> None:
    """Write the columns of a Parquet file as text."""
    try:
        file = pq.ParquetFile(stream)
        names = file.schema_arrow.names
        _write_rows([names], text, form)
        for batch in file.iter_batches():
            columns = [column.to_pylist() for column in batch.columns]
            rows = zip(*columns, strict=True)
            _write_rows(([_cell(value, form.decimal) for value in row] for row in rows), text, form)
    except pa.ArrowException as error:
        raise FormatError("damaged", f"not a readable Parquet file: {error}") from error


def _write_rows(rows: Iterable[Iterable[str]], text: IO[bytes], form: Form) -> None:
    def lines() -> Iterator[str]:
        line = io.StringIO()
        writer = csv.writer(line, delimiter=form.delimiter, lineterminator="\n")
        for row in rows:
            writer.writerow([cell.replace("\r", " ").replace("\n", " ") for cell in row])
            yield line.getvalue()
            line.seek(0)
            line.truncate()

    if text.tell() == 0:
        text.write(codecs.BOM_UTF8)
    for some in lines():
        text.write(some.encode())
        if text.tell() > form.max_bytes:  # `inspect` refuses what is larger.
            return


def _cell(value: Any, decimal: str) -> str:
    """Return a cell as a person writes it; whole numbers without a decimal point."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, float | Decimal):
        return str(value).replace(".", decimal)
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, date):
        return f"{value.isoformat()} 00:00:00"
    if isinstance(value, time):
        return value.isoformat()
    return str(value)
