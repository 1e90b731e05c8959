"""Error lists in the shapes that a plant writes them: which lots they name, and what is said."""

import json
from datetime import date
from typing import Any

import pytest

from lakehouse.files import error_lists
from lakehouse.files.cells import with_file
from lakehouse.files.layout import FileReport
from lakehouse.stage import Stage
from lakehouse.tables.error_lists import ERROR_LISTS
from lakehouse.tables.quarantine import QUARANTINE
from tests.conftest import Chain
from tests.lakehouse.files.test_readings import batch_of

SHAPES = {
    # header: a row of the list behind its day's place, and the lots that it names
    "0,1,2": ("{day},1.0,2.0", ["1", "2"]),
    "0,1,2,3": ("{day},,,3.0", ["3"]),
    "0,1,2,3,4": ("{day},4,4.0,2,4", ["2", "4"]),  # twice the same lot in one row: once
    "Index,Date,LoT": ("7,{day},5", ["5"]),
    "Index,Date,LoT,LoT2": ("7,{day},5,6", ["5", "6"]),
    "Index,Date,LoT,NG": ("7,{day},,6", ["6"]),
    "Unnamed: 0,Date,LoT": ("7,{day},5", ["5"]),
    ",0,1,2": ("7,{day},,", []),
    "Date,LoT,,": ("{day},,8,", ["8"]),
}


@pytest.fixture(scope="module")
def ingested(module_chain: Chain) -> Chain:
    (module_chain.landing / "sensor").mkdir()
    for number, (header, (row, _)) in enumerate(SHAPES.items()):
        text = f"{header}\n{row.format(day=date(2021, 9, 1 + number))}\n"
        (module_chain.landing / f"Error Lot list {number}.csv").write_text(text)
    said = "Index,Date,LoT,Remark\n1,2021-10-01,1,scratch\n"
    (module_chain.landing / "Error Lot list said.csv").write_text(said)
    module_chain("ingest_error_lists")
    return module_chain


@pytest.mark.parametrize(("number", "header"), list(enumerate(SHAPES)))
def test_every_column_of_lots_counts(ingested: Chain, number: int, header: str) -> None:
    rows = ingested.lake().rows(ERROR_LISTS, "file", "day", "lots")
    found = [(row["day"], row["lots"]) for row in rows if row["file"].endswith(f" {number}.csv")]
    assert found == [(date(2021, 9, 1 + number), SHAPES[header][1])]


def test_a_column_that_is_not_of_lots_holds_its_rows_back(ingested: Chain) -> None:
    """Its day is then unknown, not good."""
    (entry,) = ingested.lake().rows(QUARANTINE)
    assert (entry["file"], entry["line"], entry["rule"]) == ("Error Lot list said.csv", 2, "lot")
    assert entry["reason"] == "not a lot: scratch"


def test_columns_that_are_not_read_are_said(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    (chain.landing / "sensor").mkdir()
    name = "sensor/kemp-abh-sensor-2021.09.06.csv"
    header = "Index,Lot,Time,pH,Temp,Voltage,Operator"
    (chain.landing / name).write_text(f"{header}\n1,1,오후 4:05:00.0,2.0,40.1,16,Kim\n")
    capsys.readouterr()
    chain("ingest_readings")
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line[:1] == "{"]
    notes = [event for event in events if event["level"] == "warning"]
    assert [(event["file"], event["note"]) for event in notes] == [
        (name, "extra columns: Operator")
    ]


LONG = "x" * 100
DAY = date(2021, 9, 1)
ROWS: list[tuple[list[str], str | None, dict[str, Any]]] = [
    # cells, fault, what is read of them
    (["2021-09-01", "2", "10.0", " 2 ", "", "out"], None, {"day": DAY, "lots": ["10", "2"]}),
    ([" 2021-9-1 ", "", " ", "", "x"], None, {"day": DAY, "lots": [], "names_lots": False}),
    (["2021-09-01", "3", "", "", "x"], None, {"day": DAY, "lots": ["3"]}),
    (
        ["2021-09-01", "\U0001f600", "\uffff", "7", "x"],
        None,
        {
            "day": DAY,
            "lots": ["7", "\uffff", "\U0001f600"],
            "rule": "lot",
            "reason": "not a lot: \uffff, \U0001f600",
        },
    ),
    (
        [" Date ", "LoT", "LoT2", "", "x"],
        None,
        {
            "lots": ["LoT", "LoT2"],
            "names_lots": False,
            "rule": "date",
            "reason": "not a date: ' Date '; not a lot: LoT, LoT2",
        },
    ),
    (
        [LONG, "1", "", "", "x"],
        None,
        {"lots": ["1"], "rule": "date", "reason": f"not a date: '{LONG}'"},
    ),
    (["", "", "", "", "x"], None, {"lots": [], "names_lots": False, "rule": "date"}),
    (["0", "1", "", "", "x"], None, {"lots": ["1"], "rule": "date"}),
    (["2021-09-01,1"], "2 cells", {"rule": "torn_row", "reason": "2 cells"}),
    (["x"], "below another header, in line 1", {"rule": "second_header"}),
]


def test_rows(stage: Stage) -> None:
    batch = batch_of([cells for cells, _, _ in ROWS], [fault for _, fault, _ in ROWS])
    for rows in (batch, batch.slice(3)):
        found = error_lists.typed_rows(
            with_file(rows, "list"), {"list": FileReport(grouped=3)}, stage
        )
        found.validate(full=True)
        assert found.schema == error_lists.row_schema(stage)
        expected = ROWS[len(ROWS) - len(rows) :]
        for row, (cells, _, said) in zip(found.to_pylist(), expected, strict=True):
            assert (row["file"], row["cells"]) == ("list", cells)
            nothing = {"day": None, "lots": None, "names_lots": True, "rule": None}
            read = {name: row[name] for name in {**nothing, **said}}
            assert read == {**nothing, **said}, cells
            assert (row["rule"] is None) == (row["reason"] is None)
