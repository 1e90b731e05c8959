"""Read the rows of delimited text as cells, block by block, after `delimited.inspect`."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lakehouse.errors import PlatelakeError
from lakehouse.files.columns import arrange_again
from lakehouse.files.delimited import BLANK, decodes, ignoring
from lakehouse.files.headers import Headers, Section, split_cells
from lakehouse.files.layout import FileReport, Layout
from lakehouse.files.opened import opened

BLOCK = 4 << 20
CHANGED = "the file changed while it was read; run again once it is complete"


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
        >>> from lakehouse.files.delimited import inspect
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
    text, sha256 = opened(stream, layout.form)
    try:
        yield from _read(text, report, layout, sha256)
    finally:
        if sha256:
            text.close()


def _read(
    text: IO[bytes], report: FileReport, layout: Layout, sha256: str | None
) -> Iterator[pa.RecordBatch]:
    digest = hashlib.sha256()
    headers = headers_of(report, layout)
    line, rest = 1, b""
    while True:
        chunk = text.read(BLOCK)
        digest.update(chunk)
        whole, cut, rest = (rest + chunk).rpartition(b"\n")
        if not chunk:
            whole, rest = rest, b""
        if len(rest) > layout.max_line_bytes:
            raise PlatelakeError(CHANGED)
        if chunk and not cut:
            continue
        lines, count = lines_of(
            whole if line > 1 else without_mark(whole, report.encoding), report.encoding, line
        )
        lines = _in_table(lines, report)
        for section in headers.sections(lines["line"], lines["text"]):
            rows = lines.slice(section.start, section.end - section.start)
            kept = kept_lines(rows["text"], layout)  # Only now: an ignored line may be a header.
            rows = rows if kept is None else rows.filter(kept)
            yield batch_of(rows, report, layout.quote, section)
        line += count
        if not chunk:
            break
    if (sha256 or digest.hexdigest()) != report.sha256:
        raise PlatelakeError(CHANGED)


def _in_table(lines: pa.RecordBatch, report: FileReport) -> pa.RecordBatch:
    """Keep the lines below the header that are in the table."""
    numbers = lines["line"]
    if len(numbers) and numbers[0].as_py() < report.first_line:
        lines = lines.filter(pc.greater_equal(numbers, report.first_line))
    if report.end_line:
        lines = lines.filter(pc.less(lines["line"], report.end_line))
    return lines


def headers_of(report: FileReport, layout: Layout) -> Headers:
    """Return what finds the headers of that file below its first."""
    needed = [name for some in layout.fields.values() for name in some]
    form = (report.delimiter, layout.quote)
    numbers = len(layout.fields) if layout.has_numbers else 0
    arrange = partial(arrange_again, report, layout) if layout.has_numbers else None
    return Headers(report.header, report.order, needed, layout.ignored, *form, numbers, arrange)


def kept_lines(texts: pa.Array, layout: Layout) -> pa.Array | None:
    """Return a mask of the lines that the stage does not ignore; None if it ignores none."""
    if not layout.ignore_lines:
        return None
    is_ignored = ignoring(layout)
    return pa.array([not is_ignored(text) for text in texts.to_pylist()], pa.bool_())


def whole(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield all rows in one batch; nothing if there are none."""
    if some := list(batches):
        yield pa.concat_batches(some)


def with_file(batch: pa.RecordBatch, file: str) -> pa.RecordBatch:
    """Add the file's name to the batch as its first column."""
    names = pa.repeat(pa.scalar(file, pa.string()), len(batch))
    return pa.RecordBatch.from_arrays([names, *batch.columns], names=["file", *batch.schema.names])


def without_mark(content: bytes, encoding: str) -> bytes:
    """Return the bytes of a file without the mark of UTF-8: the first line may be a row."""
    is_utf8 = codecs.lookup(encoding).name == "utf-8"
    return content.removeprefix(codecs.BOM_UTF8) if is_utf8 else content


def lines_of(content: bytes, encoding: str, first: int) -> tuple[pa.RecordBatch, int]:
    """Return the lines that are not blank, with number, text and `torn`; and the count of all.

    A malformed (`torn`) line is not text in that encoding, or has a NUL byte; its bad bytes are
    escaped.
    """
    torn: list[int] = []
    try:
        texts = pc.split_pattern(pa.array([content.decode(encoding)]), "\n").flatten()
    except UnicodeDecodeError:
        parts = content.split(b"\n")
        torn = [at for at, part in enumerate(parts) if not decodes(part, encoding)]
        texts = pa.array([part.decode(encoding, "backslashreplace") for part in parts])
    count = len(texts)
    is_torn = np.zeros(count, bool)
    is_torn[torn] = True
    if b"\0" in content:
        with_nul = pc.match_substring(texts, "\0")
        is_torn |= with_nul.to_numpy(zero_copy_only=False)
        texts = pc.replace_substring(texts, "\0", "\\x00")
    lines = pa.RecordBatch.from_arrays(
        [pa.array(np.arange(first, first + count)), pc.utf8_rtrim(texts, "\r"), pa.array(is_torn)],
        names=["line", "text", "torn"],
    )
    return lines.filter(pc.not_equal(pc.utf8_trim(texts, BLANK), "")), count


def batch_of(
    rows: pa.RecordBatch, report: FileReport, quote: str, section: Section
) -> pa.RecordBatch:
    """Split the lines into cells. If the section has a fault, all rows have it."""
    order, width, fault = section.order, section.width, section.fault
    texts, is_torn, delimiter = rows["text"], rows["torn"], report.delimiter
    if pc.any(pc.match_substring(texts, quote)).as_py():
        cells = pa.array(
            [split_cells(text, delimiter, quote) for text in texts.to_pylist()],
            pa.list_(pa.string()),
        )
    else:
        cells = pc.split_pattern(texts, delimiter)
    lengths = pc.list_value_length(cells)
    whole = pc.and_not(pc.equal(lengths, width), pa.scalar(True) if fault else is_torn)
    if order != list(range(width)):
        cells = _reordered(cells, whole, order)
    reasons = pa.nulls(len(rows), pa.string())
    if not pc.all(whole).as_py():
        alone = np.arange(len(texts) + 1, dtype=np.int32)
        cells = pc.if_else(whole, cells, pa.ListArray.from_arrays(pa.array(alone), texts))
        reasons = pc.if_else(whole, reasons, _reasons(lengths, is_torn, width, report, fault))
    return pa.RecordBatch.from_arrays(
        [rows["line"], cells, reasons], names=["line", "cells", "fault"]
    )


def _reasons(
    lengths: pa.Array, is_torn: pa.Array, width: int, report: FileReport, fault: str
) -> pa.Array:
    """Return, for each row, why its cells are not complete."""
    if fault:
        return pa.repeat(fault, len(lengths))
    widths = pc.binary_join_element_wise(
        pc.cast(lengths, pa.string()), f"cells where the header has {width}", " "
    )
    return pc.if_else(is_torn, f"bytes that are no text in {report.encoding}", widths)


def _reordered(cells: pa.Array, whole: pa.Array, order: Sequence[int]) -> pa.Array:
    """Put the cells of complete rows into that order; -1 gives null. Other rows get no cell."""
    is_whole: NDArray[np.bool_] = whole.to_numpy(zero_copy_only=False)
    starts = cells.offsets.to_numpy()[:-1][is_whole][:, np.newaxis]
    at = np.maximum(starts + np.array(order), 0).ravel()
    lacking = np.tile(np.array(order) < 0, len(starts))
    offsets = np.concatenate([[0], np.cumsum(is_whole * len(order))]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), cells.values.take(pa.array(at, mask=lacking))
    )
