"""Files with a row a variable: gathered to readings, and no row is lost."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lakehouse.errors import PlatelakeError
from lakehouse.files.long_format import gathered
from lakehouse.files.readings import read_file
from lakehouse.settings import Settings
from lakehouse.stage import Stage

STAGE = """
name = "any_plant"
title = "Any plant"
[readings]
files = "*"
timestamp = {{ column = "Time" }}
{readings}
[[readings.variables]]
name = "ph"
column = ["pH", "acidity"]
unit = "pH"
minimum = 0
maximum = 14
[[readings.variables]]
name = "temp"
column = "Temp"
unit = "C"
minimum = 0
maximum = 99
"""
BY_COLUMN = 'lot = "Lot"\nlong = { variable = "Tag", value = "Value", ignore = ["Pump*"] }'
BY_TAG = 'long = { variable = "Tag", value = "Value", lot = "Batch" }'
Reading = tuple[str, str | None, float | None, float | None]


def stage(readings: str = BY_COLUMN) -> Stage:
    return Stage.model_validate(tomllib.loads(STAGE.format(readings=readings)))


def read(text: str, readings: str = BY_COLUMN) -> list[dict[str, Any]]:
    report, rows = read_file(io.BytesIO(text.encode()), "a.csv", stage(readings), Settings())
    assert report.rule is None, report.reason
    found: list[dict[str, Any]] = rows.to_pylist()
    return found


def stored(rows: Sequence[dict[str, Any]]) -> list[Reading]:
    return [
        (f"{row['measured_at']:%M:%S}", row["lot"], row["ph"], row["temp"])
        for row in rows
        if row["rule"] is None
    ]


def held(rows: Sequence[dict[str, Any]]) -> dict[int, str]:
    return {row["line"]: row["rule"] for row in rows if row["rule"]}


def text(*rows: str, header: str = "Time,Lot,Tag,Value") -> str:
    return "\n".join([header, *(f"2021-09-06 08:00:{row}" for row in rows)]) + "\n"


def test_rows_of_one_moment_are_one_reading() -> None:
    found = read(text("00,17,pH,7.1", "00,17,Temp,40", "01,17,TEMP,41", "01,18,acidity,7.2"))
    assert held(found) == {}
    assert stored(found) == [
        ("00:00", "17", 7.1, 40),
        ("00:01", "17", None, 41),
        ("00:01", "18", 7.2, None),
    ]
    assert [row["line"] for row in found] == [2, 4, 5]


def test_a_file_that_has_one_variable_after_the_other() -> None:
    found = read(text("00,17,pH,7.1", "01,17,pH,7.2", "00,17,Temp,40", "01,17,Temp,41"))
    assert stored(found) == [("00:00", "17", 7.1, 40), ("00:01", "17", 7.2, 41)]


def test_rows_that_belong_to_no_reading() -> None:
    rows = ["00,17,pH,7.1", "00,17,Flow,9", "00,17,Pump 1,1", "00,17,pH,7.3", "00", "0x,17,pH,7"]
    assert held(read(text(*rows))) == {
        3: "unknown_variable",
        5: "repeated_value",
        6: "torn_row",
        7: "time",
    }


def test_a_bad_value_holds_its_reading_back_with_all_its_values() -> None:
    (row,) = read(text("00,17,pH,acid", "00,17,Temp,40"))
    assert (row["rule"], row["reason"]) == ("number", "not a ph number: 'acid'")
    assert row["cells"] == ["17", "2021-09-06 08:00:00", "pH; Temp", "acid; 40"]


def test_quality_of_a_value() -> None:
    said = 'lot = "Lot"\nlong = { variable = "Tag", value = "Value", '
    said += 'quality = { column = "Q", good = ["192"] } }'
    rows = ["00,17,pH,7.1,192", "00,17,Temp,40,0"]
    found = read(text(*rows, header="Time,Lot,Tag,Value,Q"), said)
    assert stored(found) == [("00:00", "17", 7.1, None)] and held(found) == {3: "bad_quality"}


def test_several_values_of_one_moment_in_their_order() -> None:
    rows = ["00,17,pH,7.1", "00,17,pH,7.2", "00,17,Temp,40", "00,17,Temp,41"]
    found = read(text(*rows), f"{BY_COLUMN}\nsequence = true")
    assert [(row["sequence"], row["ph"], row["temp"]) for row in found] == [
        (0, 7.1, 40),
        (1, 7.2, 41),
    ]


HEADER = "Time,Tag,Value"


def test_a_lot_that_is_a_variable_counts_to_the_next() -> None:
    rows = ["00,pH,7.0", "01,pH,7.1", "02,pH,7.2", "03,pH,7.3", "01,Batch,17", "03,Batch,18"]
    found = read(text(*rows, header=HEADER), BY_TAG)
    assert [(row["lot"], row["rule"]) for row in found] == [
        (None, "lot"),
        ("17", None),
        ("17", None),
        ("18", None),
    ]


@pytest.mark.parametrize(
    "row", ["02,Batch", "02,Bat,ch,18", "xx,Batch,18", "02,,18", "02,Batch,", "01,Batch,19"]
)
def test_a_row_that_may_name_the_next_lot(row: str) -> None:
    rows = ["00,Batch,17", "00,pH,7.0", "01,Batch,17", row, "03,pH,7.3", "04,Batch,19", "05,pH,7.4"]
    found = read(text(*rows, header=HEADER), BY_TAG)
    assert stored(found) == [("00:00", "17", 7.0, None), ("00:05", "19", 7.4, None)]


def test_the_hour_that_comes_twice() -> None:
    plant = stage().model_copy(update={"time_zone": "Europe/Berlin"})
    hours = ["01:59", "02:30", "02:45", "02:30", "02:45", "03:00"]
    rows = [f"2021-10-31 {hour}:00,17,{tag},7" for tag in ("pH", "Temp") for hour in hours]
    content = "\n".join(["Time,Lot,Tag,Value", *rows]) + "\n"
    _, found = read_file(io.BytesIO(content.encode()), "a.csv", plant, Settings())
    utc = [f"{row['measured_at']:%H:%M}" for row in found.to_pylist()]
    assert utc == ["23:59", "00:30", "00:45", "01:30", "01:45", "02:00"]
    assert found["rule"].null_count == 6 and found["temp"].null_count == 0


ROWS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["17", "18", "", "x"]),
        st.sampled_from(["pH", "ph", "Temp", "Flow", "Pump 2", ""]),
        st.sampled_from(["7", "8", "-", "99"]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.randoms())
def test_each_row_goes_to_one_place_in_any_order(
    rows: list[tuple[int, str, str, str]], draw: Any
) -> None:
    lines = [f"0{at},{lot},{tag},{value}" for at, lot, tag, value in rows]
    found = read(text(*lines))
    tags = [tag for row in found for tag in row["cells"][2].split("; ")]
    assert sorted(tags) == sorted(tag for _, _, tag, _ in rows if tag != "Pump 2")
    once = {(row[0], row[1], row[2].lower()): row for row in rows}
    if len(once) == len(rows):  # Of a repeated value, the first is stored.
        draw.shuffle(lines)
        assert sorted(map(repr, stored(read(text(*lines))))) == sorted(map(repr, stored(found)))


def test_a_row_that_was_counted_and_is_not_there_stops_the_run() -> None:
    batch = pa.record_batch({"file": ["a.csv"], "line": [2], "cells": [["x"]], "fault": ["cut"]})
    source = stage().readings
    assert source is not None
    with pytest.raises(PlatelakeError, match="1 rows where 2 were counted"):
        gathered(batch, {}, pa.nulls(1), source, {"a.csv": 2})


def test_a_lot_is_a_column_or_a_variable() -> None:
    for said in (BY_TAG + '\nlot = "Lot"', 'long = { variable = "Tag", value = "Value" }'):
        with pytest.raises(ValidationError, match="give lot"):
            stage(said)
