"""What is held back of an error list: no lot that it may name is ever good."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.derive.doubts import summarise_doubts
from lakehouse.stage import Stage
from lakehouse.tables.doubted_days import DOUBTED_DAYS
from lakehouse.tables.lots import LOTS
from lakehouse.tables.quarantine import QUARANTINE
from tests.conftest import Chain
from tests.digest import digest, versions
from tests.plant import sensor_lines, write_errors, write_sensor

TORN = ["8,7"]
CASES = {
    # The file's rows (date and lots, or a torn line alone), and day and lots of each doubt.
    "sound": ([["6", "1"], ["7", ""]], []),
    "a lot that is none": ([["6", "1", "x"], ["7", ""]], [(6, ["1"])]),
    "the date below is blank, as merged cells": ([["6", "1"], ["", "2"], ["", "3"]], [(6, [])] * 2),
    "blank above": ([["", "2"], ["7", "1"]], [(7, [])]),
    "between two": ([["6", ""], ["?", "2"], ["9", ""]], [(6, []), (7, []), (8, []), (9, [])]),
    "between two, the later first": ([["8", ""], ["?", "2"], ["7", ""]], [(7, []), (8, [])]),
    "out of order": ([["7", ""], ["9", ""], ["?", "2"], ["8", ""]], [(7, []), (8, []), (9, [])]),
    "torn": ([["6", ""], TORN, ["7", ""]], [(6, []), (7, [])]),
    "a bad row's date is a date": ([["6", "x"], ["", "2"], ["9", ""]], [
        (6, []), (6, []), (7, []), (8, []), (9, []),
    ]),
    "nothing is said": ([["6", "1"], ["", ""], ["?", ""]], []),
    "the header again": ([["6", ""], ["Date", "LoT"], ["7", ""]], []),
    "a date that cannot be read": ([["6", ""], ["7", ""], ["8", ""], ["06.09.2021", "2"]], [
        (day, []) for day in range(6, 16)
    ]),
    "a date in another form": ([["6", ""], ["another form*", "2"]], [(20, [])]),
    "torn at the end": ([["6", ""], TORN], [(day, []) for day in range(6, 14)]),
    "torn at the end, the latest first": ([["9", ""], ["8", ""], TORN], [
        (day, []) for day in range(1, 9)
    ]),
    "no date at all": ([["", "1"], ["?", "2"]], []),
}  # fmt: skip


SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("line", pa.int64()),
        ("rule", pa.string()),
        ("day", pa.date32()),
        ("lots", pa.list_(pa.string())),
        ("names_lots", pa.bool_()),
        ("date_is_blank", pa.bool_()),
        ("perhaps", pa.list_(pa.date32())),
    ]
)


def checked(line: int, row: list[str]) -> tuple[Any, ...]:
    """A row of the case, checked as `sources.error_lists` does."""
    if row is TORN:
        return "a", line, "torn_row", None, None, True, True, []
    day = date(2021, 9, int(row[0])) if row[0].isdigit() else None
    lots = sorted({lot for lot in row[1:] if lot})
    bad = None if all(lot.isdigit() for lot in lots) else "lot"
    rule = "date" if day is None else bad
    perhaps = [date(2021, 9, 20)] if row[0].endswith("*") else []
    named = bool(lots) and row[0] != "Date"
    return "a", line, rule, day, lots, named, row[0] == "", perhaps


def checked_rows(rows: list[tuple[Any, ...]]) -> pa.Table:
    named = [dict(zip(SCHEMA.names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(named, SCHEMA)


@pytest.mark.parametrize("name", CASES)
def test_which_days_a_held_back_row_may_mean(stage: Stage, name: str) -> None:
    rows, expected = CASES[name]
    given = [checked(line, row) for line, row in enumerate(rows, 2)]
    other = ("other", 2, None, date(2021, 9, 30), [], False, False, [])
    found = summarise_doubts(checked_rows([*reversed(given), other]), stage)
    assert [(row["day"].day, row["lots"]) for row in found] == expected
    assert {row["file"] for row in found} <= {"a"}
    places = [(row["line"], row["day"]) for row in found]
    assert places == sorted(places)


def test_each_file_is_on_its_own(stage: Stage) -> None:
    rows = [
        ("b", 2, None, date(2021, 9, 6), [], False, False, []),
        ("b", 3, "date", None, ["1"], True, True, []),
        ("a", 2, "torn_row", None, None, True, True, []),
        ("a", 3, None, date(2021, 9, 8), [], False, False, []),
    ]
    found = summarise_doubts(checked_rows(rows), stage)
    assert found == [
        *(DOUBTED_DAYS.row(date(2021, 9, day), [], "a", 2) for day in range(1, 9)),
        DOUBTED_DAYS.row(date(2021, 9, 6), [], "b", 3),
    ]


def test_a_superseded_row_is_no_doubt(stage: Stage) -> None:
    rows = [("a", 2, "superseded", date(2021, 9, 6), ["1"], True, False, [])]
    named = {("a", date(2021, 9, 6)): {"1", "2"}}
    assert summarise_doubts(checked_rows(rows), stage, named) == []
    assert summarise_doubts(SCHEMA.empty_table(), stage) == []


def test_a_superseded_row_is_a_doubt_if_its_correction_lacks_a_lot(stage: Stage) -> None:
    """It may be a list of an earlier shift, under another name, and no correction at all."""
    rows = [("a", 2, "superseded", date(2021, 9, 6), ["1"], True, False, [])]
    found = summarise_doubts(checked_rows(rows), stage, {("a", date(2021, 9, 6)): {"2"}})
    assert found == [DOUBTED_DAYS.row(date(2021, 9, 6), [], "a", 2)]


def labels(chain: Chain) -> dict[int, str]:
    """Of each day, the labels of its lots 1, 2 and 3 by their first letters."""
    rows = sorted(chain.lake().rows(LOTS), key=lambda row: (row["day"], row["lot"]))
    days = sorted({row["day"].day for row in rows})
    return {day: "".join(r["label"][0] for r in rows if r["day"].day == day) for day in days}


def write_list(chain: Chain, *rows: str, name: str = "Error Lot list.csv") -> Path:
    file = chain.landing / name
    file.write_text("\n".join(["Index,Date,LoT", *rows, ""]))
    return file


JOBS = ("ingest_readings", "ingest_error_lists", "label")


def test_one_story(chain: Chain, stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    for day in (6, 7, 8):
        write_sensor(chain.landing, date(2021, 9, day), sensor_lines((1, 2, 3), 1, day / 2))
    rows = ["0,2021-09-06,1", "1,,2", "2,2021-09-07,3", "3,2021-09-08,"]
    write_list(chain, *rows)
    found = chain(*JOBS)
    assert labels(chain) == {6: "fuu", 7: "uuf", 8: "ggg"}
    assert (found["lots_unknown"], found["quarantined"]) == (4, 1)
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line[:1] == "{"]
    (warning,) = [one for one in said if one["level"] == "warning"]
    assert warning["days"] == ["2021-09-06", "2021-09-07"]
    assert warning["file"] == "Error Lot list.csv"
    before = versions(chain.lake(), stage)
    chain(*JOBS)
    assert versions(chain.lake(), stage) == before

    # A lake of a version that knew no doubts reads the list again.
    first = digest(chain.lake(), LOTS)
    (chain.lake_folder / "chromate" / DOUBTED_DAYS.name).rename(chain.lake_folder / "gone")
    chain(*JOBS)
    assert digest(chain.lake(), LOTS) == first
    assert len(chain.lake().rows(DOUBTED_DAYS)) == 2

    # A second list judges two of the days; then the first is held back as a whole.
    write_errors(chain.landing, {"2021-09-07": [], "2021-09-08": []}, "Error Lot list b.csv")
    write_list(chain, *rows[:1], rows[2], rows[3])
    chain(*JOBS)
    assert labels(chain) == {6: "fgg", 7: "ggf", 8: "ggg"}
    assert chain.lake().rows(DOUBTED_DAYS) == []
    sound = write_list(chain, *rows[:1], rows[2], rows[3]).read_bytes()
    for text in ("Index,Day,LoT\n0,2021-09-06,1\n", "", "\0"):
        write_list(chain).write_text(text)
        chain(*JOBS)
        assert labels(chain) == {6: "uuu", 7: "uuu", 8: "uuu"}
        assert len(chain.lake().rows(QUARANTINE)) == 1

    # Taken back: only the second list counts. Delivered sound again: as before.
    write_list(chain)
    chain(*JOBS)
    assert labels(chain) == {6: "uuu", 7: "ggg", 8: "ggg"}
    write_list(chain).write_bytes(sound)
    chain(*JOBS)
    assert labels(chain) == {6: "fgg", 7: "ggf", 8: "ggg"}


def test_a_correction_settles_the_doubts_of_its_copies(chain: Chain) -> None:
    write_sensor(chain.landing, date(2021, 9, 6), sensor_lines((1, 2, 3), 1))
    write_list(chain, "0,2021-09-06,x", name="Error Lot list backup.csv")
    write_list(chain, "0,2021-09-06,x")
    chain(*JOBS)
    assert labels(chain) == {6: "uuu"}
    write_list(chain, "0,2021-09-06,2")
    chain(*JOBS)
    assert labels(chain) == {6: "gfg"}


def test_the_days_of_a_list_that_never_could_be_read(chain: Chain) -> None:
    """Days that it names are unknown, though another list covers them; others are not."""
    for day in (6, 7, 8):
        write_sensor(chain.landing, date(2021, 9, day), sensor_lines((1, 2, 3), 1))
    write_list(chain, "0,2021-09-06,1", "1,2021-09-07,", "2,2021-09-08,")
    write_list(chain, name="Error Lot list b.csv").write_text(
        "Datum;Los\n7.9.2021;2\n;\n8.9.2021;\n"
    )
    chain(*JOBS)
    assert labels(chain) == {6: "fgg", 7: "uuu", 8: "uuu"}
    # A line without a date may mean any day; no date in the form of a day is of no day.
    write_list(chain, name="Error Lot list b.csv").write_text("Datum;Los\n7.9.2021;2\nTuesday;3\n")
    chain(*JOBS)
    assert labels(chain) == {6: "fgg", 7: "uuu", 8: "uuu"}
    write_list(chain, "1,2021-09-07,2", name="Error Lot list b.csv")
    chain(*JOBS)
    assert labels(chain) == {6: "fgg", 7: "gfg", 8: "ggg"}


def test_a_list_whose_dates_cannot_be_read_any_more(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    """The days that it judged are open; one that never had a readable date is said."""
    write_sensor(chain.landing, date(2021, 9, 6), sensor_lines((1, 2, 3), 1))
    write_list(chain, "0,2021-09-06,1")
    write_list(chain, "0,2021-09-06,2", name="Error Lot list b.csv")
    chain(*JOBS)
    assert labels(chain) == {6: "ffg"}
    write_list(chain, "0,09/06/2021,2", name="Error Lot list b.csv")
    write_list(chain, "0,someday,3", name="Error Lot list c.csv")
    capsys.readouterr()
    chain(*JOBS)
    assert labels(chain) == {6: "fuu"}
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line[:1] == "{"]
    unknown = [one["file"] for one in said if "none of its days is known" in one["event"]]
    assert unknown == ["Error Lot list c.csv"]
