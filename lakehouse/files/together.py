"""Rules that rows break only together with others: duplicates, old copies, lots of two machines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.files.rules import at_places, filter_passed


def with_duplicates(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    """Mark all valid rows but the first of each key as `duplicate_key`.

    The first is the row with the lowest file name and line.

    Args:
        rows: Checked rows, which have the columns of `CHECKED` and the key.
        key: Columns that identify a row; the first is a day and the last a time.

    Returns:
        The rows in their order. A duplicate has the rule, and a reason with the first row's place.

    Example:
        >>> moment = pa.array([0, 0], pa.timestamp("us", "UTC"))
        >>> rows = pa.table({
        ...     "file": ["a.csv", "a.csv"], "line": [2, 3], "cells": [["7"], ["7"]],
        ...     "rule": pa.nulls(2, pa.string()), "reason": pa.nulls(2, pa.string()),
        ...     "day": [date(2021, 11, 1)] * 2, "measured_at": moment,
        ... })
        >>> with_duplicates(rows, ["day", "measured_at"])["reason"].to_pylist()
        [None, 'the same day, measured_at as line 2 of a.csv']
    """
    keys = filter_passed(rows.select([*key, "rule"])).select(list(key))
    if _rises(keys, key):
        return rows
    groups = keys.group_by(list(key)).aggregate([([], "count_all")])
    if groups.num_rows == keys.num_rows:
        return rows
    found = _sound(rows, *key)
    several = groups.filter(pc.greater(groups["count_all"], 1)).select(list(key))
    found = found.join(several, list(key), join_type="inner")
    found = found.sort_by([("file", "ascending"), ("line", "ascending")])
    first: dict[tuple[object, ...], tuple[str, int]] = {}
    reasons = {}
    for row in found.to_pylist():
        here = row["file"], row["line"]
        before = first.setdefault(tuple(row[name] for name in key), here)
        if before is not here:
            reasons[row["place"]] = _duplicate(key, *before)
    return _with_rule(rows, "duplicate_key", reasons)


def with_sequence(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    """Number the valid rows of one file that have the same key, from 0, in the order of lines."""
    found = _sound(rows, *key)
    ordered = found.sort_by([("file", "ascending"), ("line", "ascending")])
    numbered = ordered.select(["file", *key]).to_pandas().groupby(["file", *key]).cumcount()
    sequence = np.zeros(rows.num_rows, np.int64)
    sequence[ordered["place"].to_numpy()] = numbered.to_numpy()
    at = rows.schema.get_field_index("sequence")
    return rows.set_column(at, rows.schema.field(at), pa.array(sequence))


def _rises(keys: pa.Table, key: Sequence[str]) -> bool:
    """Return whether all keys surely differ: each day is in one piece and its times only rise.

    Most files are so, and this check takes a tenth of the time of a search. The key's first column
    is a day and its last a time.
    """
    if not keys.num_rows:
        return True
    day = keys[key[0]].cast(pa.int32()).to_numpy()
    starts = np.append(True, day[1:] != day[:-1])
    if np.count_nonzero(starts) != len(np.unique(day[starts])):
        return False
    moment = keys[key[-1]].cast(pa.int64()).to_numpy()
    return bool(((moment[1:] > moment[:-1]) | starts[1:]).all())


def with_stored(rows: pa.Table, stored: pa.Table, key: Sequence[str]) -> pa.Table:
    """Mark the valid rows whose key is in `stored` (key, file, line) already."""
    if not stored.num_rows:
        return rows
    types = pa.schema([rows.schema.field(name) for name in (*key, "file", "line")])
    there = stored.select(types.names).cast(types)
    # A join takes memory for each row of both sides; few or none have the same last key column.
    there = there.filter(pc.is_in(there[key[-1]], rows[key[-1]].combine_chunks()))
    there = there.rename_columns([*key, "in_file", "in_line"])
    found = _sound(rows, *key).join(there, list(key), join_type="inner")
    reasons = {
        row["place"]: _duplicate(key, row["in_file"], row["in_line"]) for row in found.to_pylist()
    }
    return _with_rule(rows, "duplicate_key", reasons)


FileDay = tuple[str, date]
MOSTLY = 0.5
"""Share of a copy's moments that its correction has if it corrects the whole day."""


def with_superseded(
    rows: pa.Table, by: Mapping[FileDay, str], moments: pa.Table | None = None
) -> pa.Table:
    """Mark the valid rows of a file's day if the file in `by` holds that day now.

    Args:
        rows: Checked rows.
        by: The corrected file of a copy's day.
        moments: file, day and measured_at of the corrected files' readings. If they have less than
            half of the copy's moments, only rows of the same moment are marked: the copy is a log
            that was renamed, and started again under its name.
    """
    if not by:
        return rows
    days = pa.Table.from_pylist(
        [{"file": file, "day": day, "by": now} for (file, day), now in by.items()],
        pa.schema([("file", pa.string()), ("day", pa.date32()), ("by", pa.string())]),
    )
    moment = [] if moments is None else ["measured_at"]
    found = _sound(rows, "day", *moment).join(days, ["file", "day"], join_type="inner")
    if moments is not None:
        found = _replaced(found, moments)
    reasons = {
        row["place"]: f"{row['day']} was corrected: it is in {row['by']}, "
        "which brought this content before"
        for row in found.to_pylist()
    }
    return _with_rule(rows, "superseded", reasons)


def _replaced(found: pa.Table, moments: pa.Table) -> pa.Table:
    """Keep the rows that the file in `by` replaces."""
    kind = found.schema.field("measured_at").type
    at = {
        "by": moments["file"],
        "day": moments["day"],
        "measured_at": moments["measured_at"].cast(kind),
    }
    key = ["by", "day", "measured_at"]
    there = pa.table(at).group_by(key).aggregate([([], "count_all")])
    joined = found.join(there, key, join_type="left outer")
    joined = joined.append_column("same", joined["count_all"].is_valid().cast(pa.float64()))
    shares = joined.group_by(["file", "day"]).aggregate([("same", "mean")])
    beside = joined.join(shares, ["file", "day"], join_type="inner")
    return beside.filter(
        pc.greater_equal(pc.max_element_wise(beside["same"], beside["same_mean"]), MOSTLY)
    )


def with_mixed_lots(rows: pa.Table, stored: pa.Table, lot: Sequence[str]) -> pa.Table:
    """Mark the valid rows of a lot that also is in another file of the same time.

    Two machines that count alike would make one lot of both. The rows of a stored file stay, then
    those of the first file by name.

    Args:
        rows: Checked rows with `measured_at`; duplicates are marked already.
        stored: Rows of other files, with the same columns.
        lot: Columns that identify a lot and, in it, what is measured side by side; day is first.
    """
    new = _sound(rows, *lot, "measured_at")
    if len({*pc.unique(new["file"]).to_pylist(), *pc.unique(stored["file"]).to_pylist()}) < 2:
        return rows
    spans = _spans(stored) | _spans(new)
    is_new = set(pc.unique(new["file"]).to_pylist())
    files: dict[tuple[object, ...], list[str]] = {}
    for part in (stored, new):
        for row in part.group_by([*lot, "file"]).aggregate([]).to_pylist():
            files.setdefault(tuple(row[name] for name in lot), []).append(row["file"])
    other: dict[tuple[object, ...], str] = {}
    for key, some in files.items():
        kept: list[str] = []
        for file in sorted(set(some), key=lambda file: (file in is_new, file)):
            at_once = [one for one in kept if _overlap(spans[one, key[0]], spans[file, key[0]])]
            if at_once and file in is_new:
                other[(file, *key)] = at_once[0]
            else:
                kept.append(file)
    if not other:
        return rows
    reasons = {}
    for row in _sound(rows, *lot).to_pylist():
        by = other.get((row["file"], *(row[name] for name in lot)))
        if by:
            reasons[row["place"]] = (
                f"lot {row['lot']} of {row['day']} is also in {by}, which has readings of the same "
                "time; if two lines count alike, say `line` in the stage file"
            )
    return _with_rule(rows, "mixed_lot", reasons)


Span = tuple[datetime, datetime]
"""First and last moment."""


def _spans(rows: pa.Table) -> dict[tuple[str, Any], Span]:
    """Return first and last moment of each file and day."""
    edges = [("measured_at", "min"), ("measured_at", "max")]
    found = rows.group_by(["file", "day"]).aggregate(edges).to_pylist()
    return {
        (row["file"], row["day"]): (row["measured_at_min"], row["measured_at_max"]) for row in found
    }


def _overlap(one: Span, other: Span) -> bool:
    """Return whether the two have more than a moment in common."""
    return one[0] < other[1] and other[0] < one[1]


def _sound(rows: pa.Table, *columns: str) -> pa.Table:
    """Return file, line and these columns of the valid rows, and their `place` among all rows."""
    found = rows.select(["file", "line", "rule", *columns])
    found = found.append_column("place", pa.array(np.arange(rows.num_rows)))
    return filter_passed(found).drop_columns("rule")


def _with_rule(rows: pa.Table, rule: str, reasons: Mapping[int, str]) -> pa.Table:
    """Set the rule and the reason at each of the places."""
    if not reasons:
        return rows
    said = at_places(reasons, rows.num_rows)
    columns = {
        "rule": pc.if_else(said.is_valid(), pa.scalar(rule), rows["rule"]),
        "reason": pc.coalesce(said, rows["reason"]),
    }
    for name, column in columns.items():
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
    return rows


CLASHES = ("duplicate_key", "mixed_lot")
"""Rules of rows that would be stored if another file did not have such rows."""
OTHER_FILE = re.compile(
    r"the same .* as line \d+ of (.*)|.* is also in (.*), which has readings of the same time.*",
    re.DOTALL,
)
"""Reasons of these rules."""


def _duplicate(key: Sequence[str], file: str, line: int) -> str:
    return f"the same {', '.join(key)} as line {line} of {file}"


def other_file(reason: str) -> str | None:
    """Return the file that a row clashes with, from its reason.

    >>> other_file(_duplicate(["day", "lot"], "a of b.csv", 7))
    'a of b.csv'
    """
    found = OTHER_FILE.fullmatch(reason)
    return found and (found[1] or found[2])
