"""Open a landed file as delimited text: unpack it, and turn other formats into UTF-8 text.

Plain text is given as it is. Everything else is turned into text in a temporary file: archives of
gzip and zip, UTF-16 and UTF-32, sheets of Excel, Parquet. A damaged one is a `FormatError`.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import io
import lzma
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from python_calamine import CalamineError, CalamineWorkbook

from lakehouse.errors import PlatelakeError

IN_MEMORY = 16 << 20
"""Text up to this many bytes is not written to a temporary file."""
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks; that of UTF-32 begins as that of UTF-16 does, so it comes first."""
GZIP, ZIP, PARQUET = b"\x1f\x8b", b"PK\x03\x04", b"PAR1"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""First bytes of an old Excel file, .xls."""
BLOCK = 1 << 20
NESTED = 3
"""An archive may hold an archive, but not many in each other."""
DAMAGED = (
    *(OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile),
    *(NotImplementedError, ValueError, IndexError, OverflowError),
)
"""What libraries raise for damaged bytes, which are on this machine by then."""


class FormatError(PlatelakeError):
    """A file cannot be turned into text; `rule` is the quarantine's, `sha256` the file's."""

    def __init__(self, rule: str, reason: str, sha256: str = "") -> None:
        super().__init__(reason)
        self.rule, self.sha256 = rule, sha256


class Form(NamedTuple):
    """What a stage says about the form of its text files."""

    delimiter: str
    encodings: tuple[str, ...]
    sheet: str | None
    max_bytes: int
    decimal: str = "."


class Opened(NamedTuple):
    """A file as text. `sha256` is that of the landed bytes, if they are not the text itself."""

    stream: IO[bytes]
    sha256: str | None


def opened(stream: IO[bytes], form: Form, depth: int = 0) -> Opened:
    r"""Open a file of any known format as delimited text.

    Args:
        stream: The landed file, which can be read again from its beginning.
        form: Delimiter of the text, encodings to try, sheet, and the most bytes of text.
        depth: How many archives this file was in.

    Returns:
        The text from its beginning, and the hash of the landed bytes if the text differs from them.

    Raises:
        FormatError: The file is damaged, or holds not exactly one table.

    Example:
        >>> form = Form(",", ("utf-8",), None, 1 << 20)
        >>> opened(io.BytesIO("Lot\n17\n".encode("utf-16")), form).stream.read()
        b'Lot\n17\n'
    """
    start = stream.read(8)
    stream.seek(0)
    convert = _converter(start, form)
    if convert is None:
        return Opened(stream, None)
    landed: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - closed below
    text: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - the caller reads it
    sha256 = _fetch(stream, landed)
    try:
        if depth == NESTED:
            raise FormatError("archive", "archives in archives; deliver one file in each")
        convert(landed, text, form)
        text.seek(0)
        inner = opened(text, form, depth + 1)  # An archive may hold UTF-16.
    except FormatError as error:
        text.close()
        error.sha256 = sha256
        raise
    except DAMAGED as error:
        text.close()
        raise FormatError("damaged", f"the file is damaged: {error}", sha256) from error
    finally:
        landed.close()
    return Opened(inner.stream, sha256)


Converter = Callable[[IO[bytes], IO[bytes], Form], None]


def _converter(start: bytes, form: Form) -> Converter | None:
    """Return what turns a file with these first bytes into text; None for plain text."""
    if start.startswith(GZIP):
        return _unpack_gzip
    if start.startswith(ZIP):
        return _unpack_zip
    if start.startswith(OLE):
        return _write_sheet
    if start.startswith(PARQUET):
        return _write_parquet
    encoding = next((name for mark, name in MARKS.items() if start.startswith(mark)), None)
    wide = [name for name in form.encodings if codecs.lookup(name).name[:6] in ("utf-16", "utf-32")]
    if encoding is None and wide and b"\0" in start:
        encoding = wide[0]
    return None if encoding is None else _decoder(encoding)


def _fetch(stream: IO[bytes], landed: IO[bytes]) -> str:
    """Copy the landed file to this machine, and return its hash."""
    digest = hashlib.sha256()
    while chunk := stream.read(BLOCK):
        digest.update(chunk)
        landed.write(chunk)
    landed.seek(0)
    return digest.hexdigest()


def _copy(source: IO[bytes] | gzip.GzipFile, text: IO[bytes], form: Form) -> None:
    """Copy at most the allowed bytes and one more, so that `inspect` refuses a larger text."""
    left = form.max_bytes + 1
    while left > 0 and (chunk := source.read(min(BLOCK, left))):
        text.write(chunk)
        left -= len(chunk)


def _unpack_gzip(stream: IO[bytes], text: IO[bytes], form: Form) -> None:
    with gzip.open(stream) as content:
        _copy(content, text, form)


def _unpack_zip(stream: IO[bytes], text: IO[bytes], form: Form) -> None:
    with zipfile.ZipFile(stream) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        if any(name in ("xl/workbook.xml", "xl/workbook.bin", "content.xml") for name in names):
            stream.seek(0)
            return _write_sheet(stream, text, form)
        files = [name for name in names if not name.startswith("__MACOSX/")]
        if len(files) != 1:
            raise FormatError(
                "archive", f"the archive has {len(files)} files; deliver one file in each"
            )
        if archive.getinfo(files[0]).flag_bits & 1:
            raise FormatError("archive", "the archive needs a password; deliver it without one")
        with archive.open(files[0]) as content:
            return _copy(content, text, form)


def _decoder(encoding: str) -> Converter:
    def decode(stream: IO[bytes], text: IO[bytes], form: Form) -> None:
        """Write the text in UTF-8; half a character costs its line, not the file."""
        decoder = codecs.getincrementaldecoder(encoding)("replace")
        left = form.max_bytes + 1
        while left > 0:
            chunk = stream.read(BLOCK)
            some = decoder.decode(chunk, final=not chunk).removeprefix("\ufeff")
            written = some.replace("\ufffd", "\0").encode()
            text.write(written[:left])
            left -= len(written)
            if not chunk:
                break

    return decode


def _write_sheet(stream: IO[bytes], text: IO[bytes], form: Form) -> None:
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
        raise FormatError(
            "sheet", f"the sheets {', '.join(filled)} have cells; say which by `sheet`"
        )
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


def _write_parquet(stream: IO[bytes], text: IO[bytes], form: Form) -> None:
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
