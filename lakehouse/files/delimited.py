"""Read delimited text: first the file as a whole, then its rows as cells, in bounded memory.

A file is read twice. `inspect` finds its hash, encoding, header and faults of the whole file before
any row is used. `read_cells` then gives its rows block by block. A row is one line: if quoted line
breaks were allowed, one stray quote would swallow the rows after it.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.errors import PlatelakeError
from lakehouse.files.headers import Headers, shown, split_cells

BLOCK = 4 << 20
BLANK = " \t\r\n\v\f"
"""Characters of a blank line: the white space of `bytes.strip`, so that both passes agree."""

CHANGED = "the file changed while it was read; run again once it is complete"


@dataclass(frozen=True)
class Layout:
    """The columns and limits of one kind of file.

    `fields` are the needed columns, each with the header names it may have. `group` are name
    patterns (* for anything) of columns that belong together; at least one must exist. `ignored`
    are known columns that are not read; other columns are accepted and noted. With `has_numbers`,
    every row has a digit, so a line without one may be a header.
    """

    delimiter: str
    encodings: tuple[str, ...]
    fields: dict[str, tuple[str, ...]]
    group: tuple[str, ...] = ()
    max_line_bytes: int = 1 << 20
    max_file_bytes: int = 1 << 30
    ignored: tuple[str, ...] = ()
    has_numbers: bool = False


@dataclass
class FileReport:
    """What `inspect` finds about a file as a whole.

    `header` names the columns: needed fields first, in the layout's order, then the group's, then
    the others. `order` gives the place of each in the file, from 0. If there is a `rule`, the file
    must not be read, and `reason` says why.
    """

    sha256: str = ""
    encoding: str = ""
    header: list[str] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    grouped: int = 0
    rows: int = 0
    rule: str | None = None
    reason: str | None = None
    note: str | None = None

    def fault(self, rule: str, reason: str) -> None:
        """Keep the first fault found."""
        if self.rule is None:
            self.rule, self.reason = rule, reason


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
    report = FileReport()
    digest = hashlib.sha256()
    decoders = {name: codecs.getincrementaldecoder(name)("strict") for name in layout.encodings}
    start, rows, rest, size = b"", 0, b"", 0
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
        size += len(chunk)
        if size > layout.max_file_bytes:
            report.fault(
                "file_too_large",
                f"larger than {layout.max_file_bytes} bytes (max_file_bytes); divide the file",
            )
        if report.rule:
            continue
        if size == len(chunk):
            _look_at_start(chunk, report)
        if b"\0" in chunk:
            at = size - len(chunk) + chunk.index(0)
            report.fault("nul_bytes", f"NUL byte at {at}; not text, or UTF-16: save it as UTF-8")
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        if max(len(rest), max(map(len, lines), default=0)) > layout.max_line_bytes:
            report.fault("line_too_long", f"a line is longer than {layout.max_line_bytes} bytes")
            rest = b""
        filled = [line for line in lines if line.strip()]
        start = start or next(iter(filled), b"")
        rows += len(filled)
        _drop_failed(decoders, chunk)
    start = start or rest
    _drop_failed(decoders, b"", final=True)
    report.sha256 = digest.hexdigest()
    rows += bool(rest.strip())
    report.rows = max(rows - 1, 0)
    undecoded = dict.fromkeys(_marked(decoders, start), 0)
    if not undecoded and not report.rule:
        undecoded = _count_undecoded(stream, layout.encodings)
    _check_file(report, layout, start, _best_encoding(undecoded, start, rows), size)
    return report


def _look_at_start(chunk: bytes, report: FileReport) -> None:
    if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        report.fault("utf_16", "the file is UTF-16; save it as UTF-8")


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
            if not _decodes(whole, name):
                undecoded[name] += sum(not _decodes(line, name) for line in whole.split(b"\n"))
    return {name: count + (not _decodes(rest, name)) for name, count in undecoded.items()}


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _best_encoding(undecoded: dict[str, int], start: bytes, rows: int) -> str | None:
    """Return the encoding with the fewest lines that are not text in it, the first of equals.

    None if these are half of the lines or more, or the header. A byte order mark decides.
    """
    names = [name for name in undecoded if _decodes(start, name)]
    names = _marked(names, start) or names
    best = min(names, key=lambda name: undecoded[name], default=None)
    return best if best and undecoded[best] * 2 < max(rows, 1) else None


def _marked(names: Iterable[str], start: bytes) -> list[str]:
    """Return the encodings that a byte order mark allows: UTF-8 if there is one, else all."""
    has_mark = start.startswith(codecs.BOM_UTF8)
    return [n for n in names if not has_mark or codecs.lookup(n).name.startswith("utf-8")]


def _check_file(
    report: FileReport, layout: Layout, start: bytes, encoding: str | None, size: int
) -> None:
    if report.rows == 0 and not start.removeprefix(codecs.BOM_UTF8).strip():
        found = "only blank lines" if size else "no bytes"
        report.fault("empty_file", f"the file has {found}")
    elif encoding is None:
        tried = ", ".join(layout.encodings)
        report.fault("encoding", f"header or most lines are not text in any of {tried}")
    if b"\r" in start.rstrip(b"\r"):
        report.fault("line_ends", "lines end in CR alone; save the file with LF or CRLF")
    if report.rule or encoding is None:
        return
    report.encoding = encoding
    text = start.decode(encoding).removeprefix("\ufeff").rstrip("\r")
    names = [name.strip() for name in split_cells(text, layout.delimiter)]
    _arrange(report, layout, [name or f"column {at}" for at, name in enumerate(names, 1)])
    if report.rule is None and report.rows == 0:
        report.fault("header_only", "the file has a header and no row")


def _arrange(report: FileReport, layout: Layout, names: list[str]) -> None:
    """Find the needed columns in the header."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        report.fault("header", f"column {shown(twice)} stands twice in the header")
        return
    at = {name: place for place, name in enumerate(names)}
    found = [next((at[n] for n in some if n in at), None) for some in layout.fields.values()]
    order = [place for place in found if place is not None]
    pattern = re.compile("|".join(map(_regex, layout.group)) or r"(?!)", re.DOTALL)
    needed, ignored = set(order), set(layout.ignored)
    group = [
        place
        for place, name in enumerate(names)
        if place not in needed and name not in ignored and pattern.fullmatch(name)
    ]
    missing = [
        " or ".join(some)
        for some, place in zip(layout.fields.values(), found, strict=True)
        if place is None
    ]
    missing += [" or ".join(layout.group)] if layout.group and not group else []
    if missing:
        _explain_missing(report, layout, names, missing)
        return
    needed.update(group)
    others = [place for place in range(len(names)) if place not in needed]
    report.order, report.grouped = order + group + others, len(group)
    report.header = [names[place] for place in report.order]
    extra = [names[place] for place in others if names[place] not in ignored]
    notes = ["columns in another order"] if order + group != sorted(needed) else []
    notes += [f"extra columns: {shown(extra)}"] if extra else []
    report.note = "; ".join(notes) or None


def _regex(pattern: str) -> str:
    return ".*".join(map(re.escape, pattern.split("*")))


def _explain_missing(
    report: FileReport, layout: Layout, names: list[str], missing: list[str]
) -> None:
    if len(names) == 1:
        for other in (",", ";", "\t", "|"):
            if other != layout.delimiter and other in names[0]:
                report.fault(
                    "delimiter",
                    f"cells are parted by {other!r}, not by {layout.delimiter!r}",
                )
    reason = f"no column {'; no column '.join(missing)}; found: {shown(names)}"
    report.fault("missing_column", reason)


def read_cells(stream: IO[bytes], report: FileReport, layout: Layout) -> Iterator[pa.RecordBatch]:
    r"""Read the rows below the header.

    If a further header has the same columns, the rows below it are read in its order; if it has
    other columns, they are faulty.

    Args:
        stream: The file's bytes, at their beginning.
        report: What `inspect` found about this file; it has no `rule`.
        layout: The layout that `inspect` used.

    Yields:
        Batches of about 4 MiB of text, with the columns `line` (the header's is 1), `cells` (texts
        in the order of `report.header`) and `fault` (null for a valid row). A row with a fault has
        its whole line as its only cell.

    Raises:
        PlatelakeError: At the end, if the content is not the one that was inspected.

    Example:
        >>> import io
        >>> layout = Layout(",", ("utf-8",), {"lot": ("Lot",), "ph": ("pH",)})
        >>> stream = io.BytesIO(b"pH,Lot\n2.1,17\n2.2\n")
        >>> report = inspect(stream, layout)
        >>> _ = stream.seek(0)
        >>> first, second = pa.Table.from_batches(read_cells(stream, report, layout)).to_pylist()
        >>> first
        {'line': 2, 'cells': ['17', '2.1'], 'fault': None}
        >>> second
        {'line': 3, 'cells': ['2.2'], 'fault': '1 cells where the header has 2'}
    """
    digest = hashlib.sha256()
    needed = [name for some in layout.fields.values() for name in some]
    places = report.order[: len(layout.fields)] if layout.has_numbers else []
    headers = Headers(report.header, report.order, needed, layout.ignored, layout.delimiter, places)
    line, header_seen, rest = 1, False, b""
    while True:
        chunk = stream.read(BLOCK)
        digest.update(chunk)
        whole, cut, rest = (rest + chunk).rpartition(b"\n")
        if not chunk:
            whole, rest = rest, b""
        if len(rest) > layout.max_line_bytes:
            raise PlatelakeError(CHANGED)
        if chunk and not cut:
            continue
        lines, count = _lines(whole, report.encoding, line)
        if not header_seen and len(lines):
            lines, header_seen = lines.slice(1), True
        for start, end, order, fault in headers.sections(lines["line"], lines["text"]):
            rows = lines.slice(start, end - start)
            yield _batch(rows, report, layout.delimiter, order, fault)
        line += count
        if not chunk:
            break
    if digest.hexdigest() != report.sha256:
        raise PlatelakeError(CHANGED)


def with_file(batch: pa.RecordBatch, file: str) -> pa.RecordBatch:
    """Add the file's name to the batch as its first column."""
    names = pa.repeat(pa.scalar(file, pa.string()), len(batch))
    return pa.RecordBatch.from_arrays([names, *batch.columns], names=["file", *batch.schema.names])


def _lines(content: bytes, encoding: str, first: int) -> tuple[pa.RecordBatch, int]:
    """Return the lines that are not blank, with number, text and `torn`; and the count of all.

    A malformed (`torn`) line is not text in that encoding; its bad bytes are escaped.
    """
    torn: list[int] = []
    try:
        texts = pc.split_pattern(pa.array([content.decode(encoding)]), "\n").flatten()
    except UnicodeDecodeError:
        parts = content.split(b"\n")
        torn = [at for at, part in enumerate(parts) if not _decodes(part, encoding)]
        texts = pa.array([part.decode(encoding, "backslashreplace") for part in parts])
    count = len(texts)
    is_torn = np.zeros(count, bool)
    is_torn[torn] = True
    lines = pa.RecordBatch.from_arrays(
        [pa.array(np.arange(first, first + count)), pc.utf8_rtrim(texts, "\r"), pa.array(is_torn)],
        names=["line", "text", "torn"],
    )
    return lines.filter(pc.not_equal(pc.utf8_trim(texts, BLANK), "")), count


def _batch(
    rows: pa.RecordBatch, report: FileReport, delimiter: str, order: list[int], fault: str
) -> pa.RecordBatch:
    """Split the lines into cells. If `fault` is given, all rows have it."""
    texts, is_torn = rows["text"], rows["torn"]
    if pc.any(pc.match_substring(texts, '"')).as_py():
        cells = pa.array(
            [split_cells(text, delimiter) for text in texts.to_pylist()], pa.list_(pa.string())
        )
    else:
        cells = pc.split_pattern(texts, delimiter)
    width = len(report.header)
    lengths = pc.list_value_length(cells)
    whole = pc.and_not(pc.equal(lengths, width), pa.scalar(True) if fault else is_torn)
    if order != sorted(order):
        cells = _reordered(cells, whole, order)
    reasons = pa.nulls(len(rows), pa.string())
    if not pc.all(whole).as_py():
        alone = np.arange(len(texts) + 1, dtype=np.int32)
        cells = pc.if_else(whole, cells, pa.ListArray.from_arrays(pa.array(alone), texts))
        reasons = pc.if_else(whole, reasons, _reasons(lengths, is_torn, report, fault))
    return pa.RecordBatch.from_arrays(
        [rows["line"], cells, reasons], names=["line", "cells", "fault"]
    )


def _reasons(lengths: pa.Array, is_torn: pa.Array, report: FileReport, fault: str) -> pa.Array:
    """Return, for each row, why its cells are not complete."""
    if fault:
        return pa.repeat(fault, len(lengths))
    widths = pc.binary_join_element_wise(
        pc.cast(lengths, pa.string()), f"cells where the header has {len(report.header)}", " "
    )
    return pc.if_else(is_torn, f"bytes that are no text in {report.encoding}", widths)


def _reordered(cells: pa.Array, whole: pa.Array, order: list[int]) -> pa.Array:
    """Put the cells of complete rows into another order; other rows stay as they are."""
    offsets = cells.offsets.to_numpy()
    starts = offsets[:-1][whole.to_numpy(zero_copy_only=False)][:, np.newaxis]
    at = np.arange(len(cells.values))
    at[starts + np.arange(len(order))] = starts + order
    return pa.ListArray.from_arrays(cells.offsets, cells.values.take(pa.array(at)))
