"""The rules that a reading must keep, whatever other rows there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.errors import UsageError
from lakehouse.files.rules import Mask, Rule, as_mask, line_rules
from lakehouse.files.values import AHEAD, EARLIEST, MOMENT
from lakehouse.stage import Stage
from lakehouse.stage_sections import Readings, Variable

SHOWN = 80
"""How many characters of a cell a reason shows."""


def needed(stage: Stage) -> Readings:
    """Return what the stage says about its sensor files; raises UsageError if it has none."""
    if stage.readings is None:
        raise UsageError(f"stage {stage.name} has no [readings], so no sensor files")
    return stage.readings


def reading_rules(
    fault: pa.Array,
    cells: Mapping[str, pa.Array],
    typed: Mapping[str, pa.Array],
    missing: Mapping[str, Mask],
    stage: Stage,
) -> list[Rule]:
    """Return the rules of a reading, in their order, for its cells and its typed columns.

    `missing` says of each variable which cells say that there is no value.
    """
    source = needed(stage)
    whole = as_mask(fault.is_null())
    no_lot, no_day, no_time = (
        whole & as_mask(typed[name].is_null()) for name in ("lot", "day", "measured_at")
    )
    unset = _implausible(typed["measured_at"])
    found = [
        *line_rules(fault),
        Rule("lot", no_lot, _not_a("lot", cells["lot"])),
        *_time_rules(no_day, no_time, cells, source),
        Rule("implausible_time", unset, _unset(typed["measured_at"])),
    ]
    for v in source.variables:
        values = typed[v.name]
        unread = whole & as_mask(values.is_null()) & ~missing[v.name]
        outside = as_mask(pc.or_(pc.less(values, v.minimum), pc.greater(values, v.maximum)))
        found += [
            Rule("number", unread, _not_a(f"{v.name} number", cells[v.name])),
            Rule("physical_range", outside, _outside(v, values)),
        ]
    empty = whole & np.logical_and.reduce(list(missing.values()))
    return [*found, Rule("no_value", empty, lambda _: "no variable has a value")]


def _time_rules(
    no_day: Mask, no_time: Mask, cells: Mapping[str, pa.Array], source: Readings
) -> list[Rule]:
    if source.timestamp:
        names = [name for name in cells if name.startswith("timestamp ")]
        said = pc.binary_join_element_wise(*(cells[name] for name in names), " ")
        form = source.timestamp.format
        return [Rule("time", no_time, _not_a(f"time as {form} wants it", said))]
    date_cells = cells.get("date", pa.repeat("its file's", len(no_day)))
    return [
        Rule("date", no_day, _not_a("date", date_cells)),
        Rule("time", ~no_day & no_time, _not_a(f"{source.clock} time", cells["time"])),
    ]


def _implausible(moment: pa.Array) -> Mask:
    """Return which moments no clock that is set shows."""
    latest = pa.scalar(datetime.now(UTC) + AHEAD, MOMENT)
    return as_mask(pc.or_(pc.less(moment, pa.scalar(EARLIEST, MOMENT)), pc.greater(moment, latest)))


def _unset(moment: pa.Array) -> Callable[[int], str]:
    return lambda at: (
        f"the time {moment[at].as_py():%Y-%m-%d %H:%M:%S} UTC is before {EARLIEST.year} or in the "
        "future; was the clock set?"
    )


def is_missing(cells: pa.Array, words: Sequence[str]) -> Mask:
    """Return which cells say that there is no value: the column is not there, or such a word is."""
    if not words:
        return as_mask(cells.is_null())
    return as_mask(cells.is_null()) | as_mask(
        pc.is_in(pc.utf8_trim_whitespace(cells), pa.array(words, pa.string()))
    )


def _not_a(what: str, texts: pa.Array) -> Callable[[int], str]:
    def said(at: int) -> str:
        text = texts[at].as_py()
        return f"no {what}" if text is None else f"not a {what}: '{text[:SHOWN]}'"

    return said


def _outside(variable: Variable, values: pa.Array) -> Callable[[int], str]:
    limits = f"{variable.minimum:g} to {variable.maximum:g} {variable.unit}"
    return lambda at: f"{variable.name} {values[at].as_py()} is outside {limits}"
