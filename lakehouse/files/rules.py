"""How rules work on rows: which rows pass, and which are quarantined with the reasons.

The rules themselves stand in `reading_rules`, `error_lists` and `together`.

Checked rows have the columns of `CHECKED`, then typed ones. A valid row has no `rule`. Another row
has the first rule that it breaks as `rule`, and all broken rules in words as `reason`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lakehouse.files.headers import SECOND_HEADER

CHECKED = pa.schema(
    [
        ("file", pa.string()),
        ("line", pa.int64()),
        ("cells", pa.list_(pa.string())),
        ("rule", pa.string()),
        ("reason", pa.string()),
    ]
)
LINE_RULES = TORN_ROW, BELOW_HEADER = "torn_row", "second_header"
"""Rules for a line that is not read as cells: the whole line is its only cell."""
UNKNOWN_VARIABLE, REPEATED_VALUE = "unknown variable", "repeated value"
BAD_QUALITY = "not of good quality"
"""Start of the fault of a row of a long file that belongs to no reading."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Rule:
    """A rule's name, the rows that break it, and the reason for the row at a place."""

    name: str
    broken: Mask
    reason: Callable[[int], str]


def line_rules(faults: pa.Array) -> list[Rule]:
    """Return the rules for rows that are no reading by themselves; others have no fault.

    They are lines that are not read as cells, and rows of long files.
    """

    def fault(at: int) -> str:
        return str(faults[at])

    def begins(words: str) -> Mask:
        return as_mask(pc.starts_with(faults, words))

    found = [
        Rule(BELOW_HEADER, begins(SECOND_HEADER), fault),
        Rule("unknown_variable", begins(UNKNOWN_VARIABLE), fault),
        Rule("repeated_value", begins(REPEATED_VALUE), fault),
        Rule("bad_quality", begins(BAD_QUALITY), fault),
    ]
    torn = np.logical_and.reduce([~rule.broken for rule in found])
    return [Rule(TORN_ROW, as_mask(faults.is_valid()) & torn, fault), *found]


def as_mask(values: pa.Array) -> Mask:
    """Return a mask of the true values; null is false."""
    mask: Mask = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return mask


def find_broken(rules: Iterable[Rule], count: int) -> tuple[pa.Array, pa.Array]:
    """Return the columns `rule` and `reason` of `count` rows, from the rules in their order."""
    first: dict[int, str] = {}
    reasons: dict[int, list[str]] = {}
    for rule in rules:
        for at in np.flatnonzero(rule.broken).tolist():
            first.setdefault(at, rule.name)
            reasons.setdefault(at, []).append(rule.reason(at))
    said = {at: "; ".join(some) for at, some in reasons.items()}
    return at_places(first, count), at_places(said, count)


def filter_passed(rows: pa.Table) -> pa.Table:
    """Keep the rows that break no rule."""
    if rows["rule"].null_count == rows.num_rows:
        return rows
    return rows.filter(rows["rule"].is_null())


def filter_held_back(rows: pa.Table) -> pa.Table:
    """Keep the rows that break a rule."""
    if rows["rule"].null_count == rows.num_rows:
        return rows.slice(0, 0)
    return rows.filter(rows["rule"].is_valid())


def raw_json(held_back: pa.Table, headers: Mapping[str, Sequence[str]]) -> pa.Array:
    """Return each row as delivered: JSON of column to cell, or of `line` to its text.

    `headers` has the names of each file's columns, in the order of the cells.
    """
    texts = []
    for row in held_back.select(["file", "cells", "rule"]).to_pylist():
        names = ["line"] if row["rule"] in LINE_RULES else headers[row["file"]]
        named = zip(names, row["cells"], strict=True)
        said = {name: cell for name, cell in named if cell is not None}
        texts.append(json.dumps(said, ensure_ascii=False, separators=(",", ":")))
    return pa.array(texts, pa.string())


def at_places(texts: Mapping[int, str], count: int) -> pa.Array:
    """Return a column of `count` rows with these texts at their places and null elsewhere."""
    if not texts:
        return pa.nulls(count, pa.string())
    at = np.full(count, -1)
    at[list(texts)] = np.arange(len(texts))
    return pa.array(texts.values(), pa.string()).take(pa.array(at, mask=at < 0))
