"""Open a landed file as delimited text: unpack it, and turn other formats into UTF-8 text.

Plain text is given as it is. Everything else is turned into text in a temporary file: archives of
gzip and zip, UTF-16 and UTF-32, sheets of Excel, Parquet. A damaged one is a `FormatError`.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import lzma
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, NamedTuple

from lakehouse.files.sheets import ZIP, write_parquet, write_sheet
from lakehouse.files.text_form import Form, FormatError

IN_MEMORY = 16 << 20
"""Text up to this many bytes is not written to a temporary file."""
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks; that of UTF-32 begins as that of UTF-16 does, so it comes first."""
GZIP, PARQUET = b"\x1f\x8b", b"PAR1"
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
        >>> import io
        >>> form = Form(",", ("utf-8",), None, 1 << 20)
        >>> opened(io.BytesIO("Lot\n17\n".encode("utf-16")), form).stream.read()[3:]
        b'Lot\n17\n'
    """
    start = stream.read(8)
    stream.seek(0)
    convert, then = _converter(start, form), form
    if convert is None and form.below is not None:
        convert, then = keep_below, form._replace(below=None)
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
        inner = opened(text, then, depth + 1)  # An archive may hold UTF-16, and a table a title.
        if inner.stream is not text:
            text.close()
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


def is_plain(start: bytes, form: Form) -> bool:
    """Return whether a file with these first 8 bytes is text already, all of which counts."""
    return form.below is None and _converter(start, form) is None


Converter = Callable[[IO[bytes], IO[bytes], Form], None]


def _converter(start: bytes, form: Form) -> Converter | None:
    """Return what turns a file with these first bytes into text; None for plain text."""
    if start.startswith(GZIP):
        return _unpack_gzip
    if start.startswith(ZIP):
        return _unpack_zip
    if start.startswith(OLE):
        return write_sheet
    if start.startswith(PARQUET):
        return write_parquet
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
            return write_sheet(stream, text, form)
        files = [name for name in names if not name.startswith("__MACOSX/")]
        if len(files) != 1:
            raise FormatError(
                "archive", f"the archive has {len(files)} files; deliver one file in each"
            )
        if archive.getinfo(files[0]).flag_bits & 1:
            raise FormatError("archive", "the archive needs a password; deliver it without one")
        with archive.open(files[0]) as content:
            return _copy(content, text, form)


def keep_below(stream: IO[bytes], text: IO[bytes], form: Form) -> None:
    """Make the lines down to the table's title blank, so that the others keep their numbers."""
    assert form.below is not None
    is_title, tried = re.compile(form.below).search, ("utf-8", *form.encodings)
    titles = []
    for line, row in enumerate(stream, 1):
        said = row.rstrip(b"\r\n").removeprefix(codecs.BOM_UTF8)
        if any(is_title(said.decode(name, "backslashreplace")) for name in tried):
            titles.append(line)
    if len(titles) != 1:
        found = f"lines {titles[0]} and {titles[1]} look" if titles else "no line looks"
        raise FormatError("table", f"{found} like {form.below}, the title of the table")
    stream.seek(0)
    mark = codecs.BOM_UTF8 if stream.read(3) == codecs.BOM_UTF8 else b""
    stream.seek(0)
    for line, row in enumerate(stream, 1):
        if line > titles[0] and row.strip():
            text.write(mark + row)
            mark = b""
        else:
            text.write(b"\n")


def _decoder(encoding: str) -> Converter:
    def decode(stream: IO[bytes], text: IO[bytes], form: Form) -> None:
        """Write the text in UTF-8; half a character costs its line, not the file."""
        text.write(codecs.BOM_UTF8)  # Whatever encodings the stage names.
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
