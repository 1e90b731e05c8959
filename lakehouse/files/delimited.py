"""Inspect delimited text: find its hash, encoding, header and faults before any row is used.

`lakehouse.files.cells` then reads its rows. A row is one line: if quoted line breaks were allowed,
one stray quote would swallow the rows after it.
"""

from __future__ import annotations

import codecs
import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from lakehouse.files.columns import find_header
from lakehouse.files.layout import FileReport, Layout
from lakehouse.files.opened import opened
from lakehouse.files.text_form import FormatError

BLANK = " \t\r\n\v\f"
"""Characters of a blank line: the white space of `bytes.strip`, so that both passes agree."""
HEAD_LINES, HEAD_BYTES = 100, 256 << 10
"""A header is looked for in this many lines that are not blank, and this many bytes."""
SECTION = re.compile(rb"^\s*\[[^\]]*\]\s*$")
"""Title of a section, as in [Data]."""
SEPARATOR = re.compile(r"^sep=(.)$", re.IGNORECASE)
"""Excel's first line that names the delimiter."""


def inspect(stream: IO[bytes], layout: Layout) -> FileReport:
    r"""Inspect a file as a whole, before any row is read.

    A second pass over the file is needed only if some line is not text in any of the encodings.

    Args:
        stream: The file's bytes, at their beginning; it can be read from there again.
        layout: The columns, encodings and limits of this kind of file.

    Returns:
        The hash, always. If the file is bad as a whole, the `rule` and `reason` of its first fault;
        otherwise its encoding, header and number of rows.

    Example:
        >>> import io
        >>> layout = Layout(",", ("utf-8",), {"lot": ("Lot",), "ph": ("pH",)})
        >>> report = inspect(io.BytesIO(b"pH,Lot\n2.1,17\n"), layout)
        >>> report.header, report.order, report.rows, report.rule
        (['Lot', 'pH'], [1, 0], 1, None)
        >>> inspect(io.BytesIO(b""), layout).reason
        'the file has no bytes'
    """
    try:
        text, sha256 = opened(stream, layout.form)
    except FormatError as error:
        return FileReport(error.sha256, rule=error.rule, reason=str(error))
    report = _inspect(text, layout, is_converted=sha256 is not None)
    if sha256:
        text.close()
    report.sha256 = sha256 or report.sha256
    return report


def _inspect(stream: IO[bytes], layout: Layout, is_converted: bool) -> FileReport:
    report = FileReport(delimiter=layout.delimiter)
    digest = hashlib.sha256()
    tried = dict.fromkeys(("utf-8", *layout.encodings))
    decoders = {name: codecs.getincrementaldecoder(name)("strict") for name in tried}
    seen = _Lines(layout)
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
        seen.size += len(chunk)
        if seen.size > layout.max_file_bytes:
            report.fault(
                "file_too_large",
                f"larger than {layout.max_file_bytes} bytes (max_file_bytes); divide the file",
            )
        if report.rule:
            continue
        if seen.add(chunk) > layout.max_line_bytes:
            report.fault("line_too_long", f"a line is longer than {layout.max_line_bytes} bytes")
        _drop_failed(decoders, chunk)
    seen.end()
    _drop_failed(decoders, b"", final=True)
    report.sha256, report.mixes_notations = digest.hexdigest(), seen.mixes_notations
    if seen.with_nul * 2 >= max(seen.rows, 1) or b"\0" in seen.start:
        reason = f"{seen.with_nul} of {seen.rows} lines have a NUL byte; this is not text"
        report.fault("nul_bytes", reason)
    has_mark = seen.start.startswith(codecs.BOM_UTF8)
    is_utf8 = has_mark and (is_converted or any(_is_utf8(name) for name in layout.encodings))
    allowed = ("utf-8",) if is_utf8 else layout.encodings
    undecoded = {name: 0 for name in allowed if name in decoders}
    if not undecoded and not report.rule:
        undecoded = _count_undecoded(stream, allowed)
    _check_file(report, layout, seen, _best_encoding(undecoded, seen.start, seen.rows))
    if layout.table and not report.rule:
        _end_table(stream, report, layout)
    if layout.ignore_lines and not report.rule:
        report.rows -= _count_ignored(stream, report, layout)
    return report


class _Lines:
    """Counts the lines of a file that comes in pieces, and keeps the first of them.

    `rows` are the lines that are not blank, `first` the first of these, with their numbers from 1.
    """

    def __init__(self, layout: Layout) -> None:
        self.first: list[tuple[int, bytes]] = []
        self.rows = self.with_nul = self.size = 0
        self.mixes_notations = False
        self._line, self._rest, self._kept = 1, b"", 0
        self._layout = layout
        self._other: re.Pattern[bytes] | None = None

    @property
    def start(self) -> bytes:
        """The first line that is not blank; empty if there is none."""
        return self.first[0][1] if self.first else b""

    def add(self, chunk: bytes) -> int:
        """Count the lines that end in the next piece; return the longest line's bytes so far."""
        text = self._rest + chunk
        lines = text.split(b"\n")
        self._rest = lines.pop()
        self._count(lines, b"\0" in text)
        self._look_for_numbers(text)
        return max(len(self._rest), max(map(len, lines), default=0))

    def end(self) -> None:
        """Count the last line, which no line break ends."""
        self._count([self._rest], b"\0" in self._rest)
        self._look_for_numbers(self._rest + b"\n")

    def _look_for_numbers(self, text: bytes) -> None:
        """See whether a cell is a number that only another notation than the stage's allows."""
        if self.mixes_notations or not self.first or not self._layout.has_numbers:
            return
        if self._other is None:
            said = SEPARATOR.match(
                self.start.removeprefix(codecs.BOM_UTF8).decode("latin-1").strip(" \r\n")
            )
            self._other = other_notation(self._layout, said[1] if said else self._layout.delimiter)
        self.mixes_notations = self._other.search(text) is not None

    def _count(self, lines: list[bytes], has_nul: bool) -> None:
        for at, text in enumerate(lines, self._line):
            if len(self.first) >= HEAD_LINES or self._kept > HEAD_BYTES:
                break
            if text.strip():
                self.first.append((at, text))
                self._kept += len(text)
        self._line += len(lines)
        self.rows += len([text for text in lines if text.strip()])
        if has_nul:
            self.with_nul += sum(b"\0" in text for text in lines)


def _count_ignored(stream: IO[bytes], report: FileReport, layout: Layout) -> int:
    """Count the lines below the header that the stage does not want read."""
    is_ignored, last = ignoring(layout), report.end_line or math.inf
    return sum(
        is_ignored(text.decode(report.encoding, "backslashreplace"))
        for line, text in _lines(stream)
        if report.first_line <= line < last
    )


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file with their numbers."""
    stream.seek(0)
    rest, line = b"", 1
    while chunk := stream.read(1 << 20):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from enumerate(lines, line)
        line += len(lines)
    yield line, rest


def _end_table(stream: IO[bytes], report: FileReport, layout: Layout) -> None:
    """Find where the table ends, below its first row: at a blank line or the title of a section.

    A line that has only delimiters is blank. Lines from there on are not read.
    """
    marks = (report.delimiter + layout.quote).encode() + b" \t"
    begun, rest, others = False, 0, 0
    for line, text in _lines(stream):
        if line < report.first_line:
            continue
        is_blank = text.strip().strip(marks) == b""
        if begun and not report.end_line and (is_blank or SECTION.match(text)):
            report.end_line = line
        begun = begun or not is_blank
        if report.end_line:
            rest += bool(text.strip())
            others += not is_blank
    if layout.table == "refuse" and others:
        report.fault("table", f"another table begins in or below line {report.end_line}")
    report.rows -= rest
    if others and report.rule is None:
        said = f"{others} lines below the table are not read"
        report.note = "; ".join(filter(None, (report.note, said)))


def ignoring(layout: Layout) -> Callable[[str], bool]:
    """Return what tells whether a line is not to be read; a blank line is not counted."""
    pattern = re.compile("|".join(f"(?:{one})" for one in layout.ignore_lines) or r"(?!)")
    return lambda text: text.strip(BLANK) != "" and pattern.search(text.rstrip("\r")) is not None


def other_notation(layout: Layout, delimiter: str) -> re.Pattern[bytes]:
    """Return a pattern of a cell that is a number, but not in the notation of the layout."""
    if layout.decimal == ",":
        number = rb"\d[\d,]*\.(?:\d{1,2}|\d{4,})"
    else:
        behind = rb"(?:\d{1,2}|\d{4,})" if layout.thousands == "," else rb"\d+"
        number = rb"(?:\d[\d.]*," + behind + rb"|\d{1,3}(?:\.\d{3}){2,})"
    sign = rb"\s*(?:[+-]|\xe2\x88\x92)?"
    quote, end = re.escape(layout.quote.encode()), re.escape(delimiter.encode())
    apart = quote if delimiter == "," and layout.decimal != "," else end + b"|" + quote
    cell = sign + number + rb"(?:[eE][+-]?\d+)?\s*"
    start = rb"(?:^|" + apart + b")" if apart != quote else quote
    return re.compile(start + cell + rb"(?=" + apart + rb"|[\r\n])", re.MULTILINE)


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name.startswith("utf-8")


def _drop_failed(
    decoders: dict[str, codecs.IncrementalDecoder], chunk: bytes, final: bool = False
) -> None:
    for name in list(decoders):
        try:
            decoders[name].decode(chunk, final)
        except UnicodeDecodeError:
            del decoders[name]


def _count_undecoded(stream: IO[bytes], encodings: Sequence[str]) -> dict[str, int]:
    """Count, for each encoding, the file's lines that are not text in it."""
    undecoded, rest = dict.fromkeys(encodings, 0), b""
    stream.seek(0)
    while chunk := stream.read(1 << 20):
        whole, cut, rest = (rest + chunk).rpartition(b"\n")
        for name in undecoded if cut else ():
            if not decodes(whole, name):
                undecoded[name] += sum(not decodes(line, name) for line in whole.split(b"\n"))
    return {name: count + (not decodes(rest, name)) for name, count in undecoded.items()}


def decodes(content: bytes, encoding: str) -> bool:
    """Return whether the bytes are text in that encoding."""
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _best_encoding(undecoded: dict[str, int], start: bytes, rows: int) -> str | None:
    """Return the encoding with the fewest lines that are not text in it, the first of equals.

    None if these are half of the lines or more, or the header.
    """
    names = [name for name in undecoded if decodes(start, name)]
    best = min(names, key=lambda name: undecoded[name], default=None)
    return best if best and undecoded[best] * 2 < max(rows, 1) else None


def _check_file(report: FileReport, layout: Layout, seen: _Lines, encoding: str | None) -> None:
    """Find the header in the file's first lines, and what is wrong with the file as a whole."""
    start = seen.start
    if not start.removeprefix(codecs.BOM_UTF8).strip() and seen.rows < 2:
        found = "only blank lines" if seen.size else "no bytes"
        report.fault("empty_file", f"the file has {found}")
    elif encoding is None:
        tried = ", ".join(layout.encodings)
        report.fault("encoding", f"header or most lines are not text in any of {tried}")
    if b"\r" in start.rstrip(b"\r"):
        report.fault("line_ends", "lines end in CR alone; save the file with LF or CRLF")
    if report.rule or encoding is None:
        return
    report.encoding = encoding
    texts = [
        (at, text.decode(encoding, "backslashreplace").rstrip("\r")) for at, text in seen.first
    ]
    texts[0] = (texts[0][0], texts[0][1].removeprefix("\ufeff"))
    if separator := SEPARATOR.match(texts[0][1].strip(" \r\n")):
        report.delimiter, texts = separator[1], texts[1:]
    is_ignored = ignoring(layout)
    at = next((at for at, (_, text) in enumerate(texts) if not is_ignored(text)), None)
    if at is None and (layout.header or not layout.find_header):
        found = "only lines that ignore_lines names" if texts else "no row"
        report.fault("empty_file", f"the file has {found}")
        return
    find_header(report, layout, texts, at or 0, seen.rows - len(seen.first) + len(texts))
