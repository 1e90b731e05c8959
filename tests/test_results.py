"""Labels that stand in the sensor file: `result` of a stage, by words and by a number."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs.backfill import run_backfill
from lakehouse.derive.labels import summarise_results
from lakehouse.errors import UsageError
from lakehouse.ingest.result_doubts import lots_around
from lakehouse.tables import MIRRORED
from lakehouse.tables.label_report import LABEL_REPORT
from lakehouse.tables.lot_features import lot_features
from lakehouse.tables.readings import readings
from tests.digest import digests, versions
from tests.test_silent_faults import DATES, Plant

DAY = date(2021, 9, 6)
WORDS = 'result = { column = "Result", failed = ["NG", "불량"], good = ["OK"] }'
RATE = 'result = { column = "Result", above = 0.02 }'
HEADER = "Date,Time,Lot,pH,Temp,Result\n"


def log(*rows: tuple[object, ...], day: date = DAY) -> str:
    """A sensor file with a row a minute, of these lots and results."""
    return HEADER + "".join(
        f"{day},08:{at:02}:00,{lot},7,40,{result}\n" for at, (lot, result) in enumerate(rows)
    )


def plant(folder: Path, result: str = WORDS) -> Plant:
    return Plant(folder, f"{DATES}\n{result}")


def report(of: Plant) -> dict[str, Any]:
    [row] = of.context.lake.rows(LABEL_REPORT)
    return row


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATELAKE_SETTLE_SECONDS", "0")


CELLS = {
    "words": (WORDS, " ng |불량|OK|ｏｋ|N.G||-", "failed failed good good unread None None"),
    "failed words only": (WORDS.replace(', good = ["OK"]', ""), "NG|OK", "failed None"),
    "numbers as words": (
        'result = { column = "Result", failed = "1", good = "0" }',
        "1|1.0|0.0|2",
        "failed failed good unread",
    ),
    "a word in both": (
        'result = { column = "Result", failed = "NG", good = ["OK", "ng"] }',
        "NG|OK",
        "failed good",
    ),
    "a rate": (RATE, "0.02|0.021|0|2 %|NaN||-", "good failed good unread unread None None"),
}


@pytest.mark.parametrize("name", CELLS)
def test_what_a_cell_says_of_its_lot(tmp_path: Path, name: str) -> None:
    result, cells, expected = CELLS[name]
    rows = plant(tmp_path, f"missing = ['-']\n{result}").rows(
        log(*((17, cell) for cell in cells.split("|")))
    )
    assert " ".join(str(row["result"]) for row in rows) == expected
    assert {row["rule"] for row in rows} == {None}


def test_a_file_without_the_column_is_quarantined(tmp_path: Path) -> None:
    [row] = plant(tmp_path).rows(log((17, "OK")).replace("Result", "Outcome"))
    assert row == {"rule": "missing_column"}


WRONG = {
    'result = { column = "Result" }': "either failed words, or above",
    'result = { column = "Result", failed = "NG", above = 1 }': "either failed words, or above",
    'result = { column = "Result", above = 1, good = "OK" }': "good goes with failed words",
    'result = { column = "pH", above = 1 }': "column pH has two meanings",
    f"{WORDS}\nkey = {{ result = 'Head' }}": "a name is used twice",
    f"{WORDS}\nlong = {{ variable = 'Tag', value = 'Value' }}": "long files have no such column",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_result_that_a_stage_cannot_mean(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=WRONG[text]):
        _ = plant(tmp_path, text).stage


def test_the_rows_of_a_lot_together() -> None:
    said: dict[str, list[str | None]] = {
        "1": ["good", "failed", "unread"],
        "2": ["good", None],
        "3": ["good", "unread"],
        "4": [None],
        "5": ["good"],
        "6": [None],
    }
    rows = [{"day": DAY, "lot": lot, "result": one} for lot, some in said.items() for one in some]
    found = summarise_results(pa.Table.from_pylist(rows), {(DAY, "5"), (DAY, "6"), (DAY, "99")})
    assert {lot: one for (_, lot), one in found.items()} == {
        "1": "failed",
        "2": "good",
        "3": "unread",
        "5": "unread",
        "6": "unread",
    }


AROUND = {
    "between two": ("17 17 _ 18 18", "17 18"),
    "within one": ("17 _ 17 18", "17"),
    "at the start": ("_ 17 18", "17"),
    "at the end": ("17 18 _", "18"),
    "two lines in turn": ("17 18 19 _ 18 17", "17 18 19"),
    "several": ("17 _ 18 18 19 _ _ 20", "17 18 19 20"),
    "none": ("17 18", ""),
    "nothing stored": ("_ _", ""),
}


@pytest.mark.parametrize("name", AROUND)
def test_lots_that_a_row_without_a_lot_may_be_of(name: str) -> None:
    lots, expected = AROUND[name]
    rows = list(enumerate(lots.split(), 2))
    stored = pa.table(
        {
            "day": pa.array([DAY for _, lot in rows if lot != "_"], pa.date32()),
            "lot": pa.array([lot for _, lot in rows if lot != "_"], pa.string()),
            "line": pa.array([line for line, lot in rows if lot != "_"], pa.int64()),
        }
    )
    torn = pa.chunked_array([pa.array([line for line, lot in rows if lot == "_"], pa.int64())])
    assert " ".join(sorted(lot for _, lot in lots_around(stored, torn))) == expected


@pytest.mark.heavy
def test_results_without_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of = plant(tmp_path)
    rows = log((17, ""), (17, "NG"), (17, "OK"), (18, ""), (18, "ok"), (19, "N.G"), (19, "OK"))
    labels = of.labels({"sensor/a.csv": rows + f"{DAY},09:00:00,20,7,40,\n"})
    assert labels == {"17": "failed", "18": "good", "19": "unknown", "20": "unknown"}
    assert (report(of)["disagreeing_lots"], report(of)["unread_lots"]) == ([], ["19"])
    assert "results in the sensor file cannot be read" in capsys.readouterr().err
    before = versions(of.context.lake, of.stage)
    of.run({})
    assert versions(of.context.lake, of.stage) == before


@pytest.mark.heavy
def test_a_rate_that_the_list_contradicts_is_a_failed_lot_that_the_report_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = plant(tmp_path, RATE)
    files = {
        "sensor/a.csv": log((17, 0.01), (18, 0.03), (19, 0.0), (20, 0.5), (21, ""), (22, "?")),
        "list.csv": "Date,LoT,LoT2,LoT3\n2021-09-06,17,20,22\n",
    }
    labels = of.labels(files)
    failed = dict.fromkeys(("17", "18", "20", "22"), "failed")
    assert labels == failed | {"19": "good", "21": "good"}
    assert (report(of)["disagreeing_lots"], report(of)["unread_lots"]) == (["17", "18"], ["22"])
    assert "list and sensor file disagree: the lots count as failed" in capsys.readouterr().err


@pytest.mark.heavy
def test_a_list_that_cannot_be_read_leaves_no_lot_good_by_its_result(tmp_path: Path) -> None:
    of = plant(tmp_path)
    sensor = {"sensor/a.csv": log((17, "OK"), (18, "NG"))}
    assert of.labels(sensor) == {"17": "good", "18": "failed"}
    assert of.labels({"list.csv": "Date;LoT\n2021-09-06;17\n"})["17"] == "unknown"
    row_lost = {"list.csv": "Date,LoT\n2021-09-06,x\n"}
    assert of.labels(row_lost) == {"17": "unknown", "18": "failed"}
    assert of.labels({"list.csv": "Date,LoT\n2021-09-06,\n"}) == {"17": "good", "18": "failed"}
    assert report(of)["disagreeing_lots"] == ["18"]


@pytest.mark.heavy
def test_a_quarantined_row_may_say_failed(tmp_path: Path) -> None:
    of = plant(tmp_path)
    rows = [(lot, "OK") for lot in (17, 18, 19, 20) for _ in range(9)]
    text = log(*rows).splitlines()
    text[3] = text[3].replace(",7,40,OK", ",-9999,40,NG")  # Of 17, out of range.
    text[23] = "torn"  # Of 19.
    labels = of.labels({"sensor/a.csv": "\n".join(text) + "\n"})
    assert of.rules() == ["physical_range", "torn_row"]
    assert labels == {"17": "unknown", "18": "good", "19": "unknown", "20": "good"}
    assert report(of)["unread_lots"] == ["17", "19"]
    mended = of.labels({"sensor/a.csv": log(*rows)})
    assert set(mended.values()) == {"good"} and report(of)["unread_lots"] == []


@pytest.mark.heavy
def test_a_result_that_a_stage_gets_later_and_loses_again(tmp_path: Path) -> None:
    """Without it, every table is as it was before; with it, no variable and no copy has it."""
    of = plant(tmp_path, "")
    files = {"sensor/a.csv": log((17, "OK"), (18, "NG")), "list.csv": "Date,LoT\n2021-09-06,17\n"}
    assert of.labels(files) == {"17": "failed", "18": "good"}
    assert report(of)["disagreeing_lots"] is report(of)["unread_lots"] is None
    without = of.stage
    assert "result" not in readings(without).names
    before = digests(of.context.lake, without)
    of = plant(tmp_path)
    run_backfill(replace(of.run({}).options, first_day=DAY, last_day=DAY))
    assert report(of)["disagreeing_lots"] == ["17", "18"]
    assert of.labels({}) == {"17": "failed", "18": "failed"}
    assert lot_features(of.stage) == lot_features(without)
    assert all("result" not in table.names for table in MIRRORED)
    same = {"lot_features", "variable_days", "bands"}
    now = digests(of.context.lake, of.stage)
    assert {name: now[name] for name in same} == {name: before[name] for name in same}
    of = plant(tmp_path, "")
    assert of.labels({}) == {"17": "failed", "18": "good"}
    after = digests(of.context.lake, without)
    assert {name for name in before if after[name] != before[name]} <= {"label_changes", "files"}
