"""Read the rows of small files that look alike together: most of the work is for each call.

`cells.read_cells` reads any file. This reads many at once, where all are plain text below one
header; where it cannot vouch for that, it says so, and each file is read by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.errors import PlatelakeError
from lakehouse.files.cells import CHANGED, batch_of, headers_of, kept_lines, lines_of, without_mark
from lakehouse.files.headers import Section
from lakehouse.files.layout import FileReport, Layout
from lakehouse.files.opened import is_plain

T = TypeVar("T")

SMALL = 64 << 10
"""Bytes of a file that is read with others."""
TOGETHER = 4 << 20
"""Bytes of files that are read at once."""
STATELESS = ("utf-8", "cp949")
"""Encodings in which the end of a line is one byte, and no line changes how the next is read."""


class Small(NamedTuple):
    """A file's name and bytes, and what was found in it."""

    file: str
    content: bytes
    report: FileReport


def in_runs(files: Iterable[tuple[T, int, FileReport]], layout: Layout) -> Iterator[list[T]]:
    """Yield runs of files that may be read together; a file that may not is a run alone.

    Args:
        files: Files with their bytes' count and report.
        layout: The layout that found the reports.
    """
    run, shape, total = list[T](), None, 0
    for file, size, report in files:
        own = _shape(report) if size <= SMALL and _may_join(report, layout) else None
        if run and (own is None or own != shape or total + size > TOGETHER):
            yield run
            run, total = [], 0
        run.append(file)
        shape, total = own, total + size
    if run:
        yield run


def _may_join(report: FileReport, layout: Layout) -> bool:
    return report.encoding in STATELESS and not (report.end_line or layout.is_long)


def _shape(report: FileReport) -> tuple[object, ...]:
    order, header = tuple(report.order), tuple(report.header)
    return report.encoding, report.delimiter, report.first_line, order, header


def read_together(files: Sequence[Small], layout: Layout) -> pa.RecordBatch | None:
    """Read the rows of files of one run.

    Args:
        files: The files of a run, as `in_runs` gives them.
        layout: The layout that found the reports.

    Returns:
        One batch as `read_cells` gives it, with the column `file` before the others. None if a
        file must be read by itself: it is not plain text, or it may have a further header.

    Raises:
        PlatelakeError: The content of a file is not the one that was inspected.
    """
    for file, content, found in files:
        if hashlib.sha256(content).hexdigest() != found.sha256:
            raise PlatelakeError(f"{file}: {CHANGED}")
        if not is_plain(content[:8], layout.form):
            return None
    report = files[0].report
    contents = [without_mark(one.content, report.encoding) for one in files]
    lines, _ = lines_of(b"\n".join(contents), report.encoding, 0)
    counts = [one.content.count(b"\n") + 1 for one in files]
    at = lines["line"].to_numpy()
    starts = np.concatenate([[0], np.cumsum(counts)])
    owner = np.searchsorted(starts, at, side="right") - 1
    numbers = pa.array(at - starts[owner] + 1)
    names = pa.array([one.file for one in files], pa.string()).take(pa.array(owner))
    lines = pa.RecordBatch.from_arrays(
        [numbers, lines["text"], lines["torn"], names], [*lines.schema.names, "file"]
    )
    lines = lines.filter(pc.greater_equal(numbers, report.first_line))
    if headers_of(report, layout).has_further(lines["text"]):
        return None
    kept = kept_lines(lines["text"], layout)
    if kept is not None:
        lines = lines.filter(kept)
    width = sum(place >= 0 for place in report.order)
    batch = batch_of(lines, report, layout.quote, Section(0, len(lines), report.order, width, ""))
    return pa.RecordBatch.from_arrays(
        [lines["file"], *batch.columns], ["file", *batch.schema.names]
    )
