"""Rules on rows that need other rows: what is marked, and with which words."""

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lakehouse.files import rules, together

DAY, NEXT = date(2021, 9, 6), date(2021, 9, 7)
SCHEMA = pa.schema([*rules.CHECKED, ("day", pa.date32()), ("lot", pa.string())])
KEY = ("day", "lot")


def table(*rows: tuple[Any, ...]) -> pa.Table:
    """Checked rows of file, line, day, lot and, if it is broken, the rule."""
    return pa.Table.from_pylist(
        [
            {
                "file": file,
                "line": line,
                "cells": ["x", "y"],
                "rule": rule[0] if rule else None,
                "reason": "known" if rule else None,
                "day": day,
                "lot": lot,
            }
            for file, line, day, lot, *rule in rows
        ],
        SCHEMA,
    )


def marks(rows: pa.Table) -> list[tuple[str | None, str | None]]:
    rows.validate(full=True)
    assert rows.schema == SCHEMA
    return list(zip(rows["rule"].to_pylist(), rows["reason"].to_pylist(), strict=True))


def test_rules_are_said_in_their_order() -> None:
    some = [
        rules.Rule("one", np.array([False, True, True]), lambda at: f"one {at}"),
        rules.Rule("two", np.array([False, True, False]), lambda at: f"two {at}"),
    ]
    rule, reason = rules.find_broken(some, 3)
    assert rule.to_pylist() == [None, "one", "one"]
    assert reason.to_pylist() == [None, "one 1; two 1", "one 2"]
    assert rules.find_broken([], 2)[0].to_pylist() == [None, None]


def test_of_a_key_the_first_by_file_and_line_stays() -> None:
    rows = table(
        ("b", 2, DAY, "1"),
        ("a", 10, DAY, "1"),
        ("a", 9, DAY, "1"),
        ("a", 3, DAY, "1", "number"),
        ("a", 4, NEXT, "1"),
        ("a", 5, None, None, "date"),
        ("a", 6, None, None, "date"),
    )
    again = ("duplicate_key", "the same day, lot as line 9 of a")
    known = ("date", "known")
    assert marks(together.with_duplicates(rows, KEY)) == [
        again, again, (None, None), ("number", "known"), (None, None), known, known,
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [table(), table(("a", 2, DAY, "1"), ("a", 3, DAY, "2"))])
def test_where_nothing_is_marked_the_table_stays(rows: pa.Table) -> None:
    assert together.with_duplicates(rows, KEY) is rows
    assert together.with_superseded(rows, {}) is rows
    assert together.with_superseded(rows, {("b", DAY): "a"}) is rows
    assert together.with_stored(rows, table().drop_columns("rule"), KEY) is rows


def test_a_key_that_is_stored_already() -> None:
    rows = table(("b", 2, DAY, "1"), ("b", 3, NEXT, "1"), ("b", 4, DAY, "1", "number"))
    stored = table(("a", 7, DAY, "1"), ("a", 8, DAY, "2")).select(["lot", "line", "file", "day"])
    said = ("duplicate_key", "the same day, lot as line 7 of a")
    expected = [said, (None, None), ("number", "known")]
    assert marks(together.with_stored(rows, stored, KEY)) == expected
    in_chunks = pa.concat_tables([rows.slice(0, 1), rows.slice(1)])
    assert marks(together.with_stored(in_chunks, stored, KEY)) == expected


def test_a_day_that_another_file_holds_now() -> None:
    rows = table(("a", 2, DAY, "1"), ("a", 3, NEXT, "1"), ("a", 4, DAY, "1", "lot"))
    said = "2021-09-06 was corrected: it is in b, which brought this content before"
    assert marks(together.with_superseded(rows, {("a", DAY): "b", ("c", NEXT): "b"})) == [
        ("superseded", said),
        (None, None),
        ("lot", "known"),
    ]


def test_passed_and_held_back() -> None:
    rows = table(("a", 2, DAY, "1"), ("a", 3, DAY, "1", "lot"))
    assert rules.filter_passed(rows)["line"].to_pylist() == [2]
    assert rules.filter_held_back(rows)["line"].to_pylist() == [3]


def test_raw_rows_are_json_of_the_header_or_of_the_line() -> None:
    rows = table(("a", 2, DAY, "1", "lot"), ("b", 2, DAY, "1", "lot"))
    lines = [("a", 3, "torn_row", '오"\t'), ("a", 4, "second_header", "")]
    faulty = pa.Table.from_pylist(
        [{"file": f, "line": n, "rule": rule, "cells": [text]} for f, n, rule, text in lines],
        SCHEMA,
    )
    held_back = pa.concat_tables([rows, faulty])
    assert rules.raw_json(held_back, {"a": ["로트", "z"], "b": ["z", "q"]}).to_pylist() == [
        '{"로트":"x","z":"y"}',
        '{"z":"x","q":"y"}',
        '{"line":"오\\"\\t"}',
        '{"line":""}',
    ]
    assert rules.raw_json(table(), {}).to_pylist() == []
