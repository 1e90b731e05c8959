"""Lots of quarantined readings: the result in such a row counts nowhere else."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.delta.lake import Lake
from lakehouse.ingest.events import in_files
from lakehouse.stage import Stage
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings


def quarantined_lots(lake: Lake, stage: Stage) -> frozenset[tuple[date, str]]:
    """Return day and lot of the readings that are quarantined; none if the stage has no `result`.

    A row whose day or lot cannot be read may be of any lot that its file has around that line.
    Rows that a correction replaced do not count.
    """
    if stage.readings is None or stage.readings.result is None:
        return frozenset()
    of_rows = (pc.field("kind") == "readings") & (pc.field("line") > 0)
    where = of_rows & (pc.field("rule") != "superseded")
    held = lake.load(QUARANTINE, where=where, columns=("day", "lot", "file", "line"))
    named = pc.and_(held["day"].is_valid(), held["lot"].is_valid())
    found = _lots(held.filter(named))
    unnamed = held.filter(pc.invert(named))
    files = pc.unique(unnamed["file"]).to_pylist()
    if files:
        columns = ("day", "lot", "file", "line")
        stored = lake.load(readings(stage), where=in_files(files), columns=columns)
        for file in files:
            of_file = pc.field("file") == file
            found |= lots_around(stored.filter(of_file), unnamed.filter(of_file)["line"])
    return frozenset(found)


def lots_around(stored: pa.Table, lines: pa.ChunkedArray) -> set[tuple[date, str]]:
    """Return the lots that the row in one of the lines may be of.

    Args:
        stored: day, lot and line of the stored readings of one file.
        lines: Numbers of the lines that cannot be read.

    Returns:
        Day and lot of the row before such a line, of the row behind it, and of every lot with rows
        on both sides.

    Example:
        >>> days = [date(2021, 9, 6)] * 3
        >>> stored = pa.table({"day": days, "lot": ["17", "18", "19"], "line": [2, 4, 5]})
        >>> sorted(lot for _, lot in lots_around(stored, pa.chunked_array([[3]])))
        ['17', '18']
    """
    if not stored.num_rows or not len(lines):
        return set()
    ends = stored.group_by(["day", "lot"]).aggregate([("line", "min"), ("line", "max")])
    known, torn = np.sort(stored["line"].to_numpy()), np.sort(lines.to_numpy())
    at = np.searchsorted(known, torn)
    before = np.where(at > 0, known[at - 1], -1)
    behind = np.where(at < len(known), known[np.minimum(at, len(known) - 1)], known[-1] + 1)
    first = np.searchsorted(behind, ends["line_min"].to_numpy())
    last = before[np.minimum(first, len(before) - 1)]
    is_around = (first < len(before)) & (last <= ends["line_max"].to_numpy())
    return _lots(ends.filter(pa.array(is_around)))


def _lots(rows: pa.Table) -> set[tuple[date, str]]:
    pairs = rows.group_by(["day", "lot"]).aggregate([]).to_pylist()
    return {(row["day"], row["lot"]) for row in pairs}
