"""What is held back of an error list: no lot that it may name is ever good."""

import json
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lakehouse import quality
from lakehouse.sources import error_lists
from lakehouse.stage import Stage
from lakehouse.tables.doubted_days import DOUBTED_DAYS
from lakehouse.tables.lots import LOTS
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.transforms.doubts import summarise_doubts
from tests.conftest import Chain
from tests.digest import digest, versions
from tests.plant import sensor_lines, write_errors, write_sensor

pytestmark = pytest.mark.heavy

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
    "no date at all": ([["", "1"], ["?", "2"]], []),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_which_days_a_held_back_row_may_mean(spark: SparkSession, stage: Stage, name: str) -> None:
    rows, expected = CASES[name]
    cells = [
        (row[0], "torn")
        if row is TORN
        else ([f"2021-09-0{row[0]}" if row[0].isdigit() else row[0], *row[1:]], None)
        for row in rows
    ]
    frame = spark.createDataFrame(
        [
            ("a", line, [one] if isinstance(one, str) else one, fault, len(one) - 1)
            for line, (one, fault) in enumerate(cells, 2)
        ]
        + [("other", 2, ["2021-09-30", ""], None, 1)],
        "file string, line bigint, cells array<string>, fault string, grouped int",
    )
    typed = error_lists.with_typed(frame, stage)
    judged = quality.with_broken(typed, error_lists.rules(stage))
    found = summarise_doubts(judged, stage).orderBy("line", "day").collect()
    assert [(row["day"].day, row["lots"]) for row in found] == expected
    assert {row["file"] for row in found} <= {"a"}


def test_a_superseded_row_is_no_doubt(spark: SparkSession, stage: Stage) -> None:
    frame = spark.createDataFrame(
        [("a", 2, ["2021-09-06", "1"], None, 1)],
        "file string, line bigint, cells array<string>, fault string, grouped int",
    )
    typed = error_lists.with_typed(frame, stage)
    judged = quality.with_broken(typed, error_lists.rules(stage))
    days = judged.select("file", "day", F.lit("b").alias("by"))
    judged = quality.with_superseded_broken(judged, days)
    assert summarise_doubts(judged, stage).collect() == []


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
