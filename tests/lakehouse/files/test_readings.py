"""A sensor file's rows: what is read of hostile cells, and which rules they break."""

import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.files import readings, rules
from lakehouse.files.cells import with_file
from lakehouse.settings import load_settings
from lakehouse.stage import Stage, load_stage
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings as readings_table
from tests.conftest import Chain
from tests.lakehouse.ingest.test_bad_rows import ALL_BAD_ROWS, SOUND_ROWS
from tests.plant import HEADER

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "electroplating.toml"
FILE = "a-2021.09.06.csv"
KST = "2021-09-06T{}+09:00"
LONG = "9" * 90

LOTS = {
    "1": "1", "20.0": "20", "07": "07", " 3 ": "3", "1.00": "1", "5.": "5", LONG: LONG,
    "": None, "L-1": None, "1.5": None, "٣": None, "3\t": None, "\0": None,
}  # fmt: skip
DATES = {
    "2021-09-06": date(2021, 9, 6), "2021-9-6": date(2021, 9, 6), "2020-02-29": date(2020, 2, 29),
    " 2021-09-06 ": date(2021, 9, 6),
    "2021-02-29": None, "21-09-06": None, "2021/09/06": None, "": None, "2021-13-01": None,
    "2021-09-061": None, "02021-09-06": None, "٢٠٢١-09-06": None, "0000-01-01": None,
    "2021-09-06\t": None,
}  # fmt: skip
TIMES_12H = {
    "오후 4:05:00.0": "16:05:00", "오전 12:00:00": "00:00:00", "오후4:05:07": "16:05:07",
    "오후 12:59:59.999999": "12:59:59.999999", "PM 1:2:3": "13:02:03", "am 1:02:03.5": "01:02:03.5",
    "오전 1:00": "01:00:00", "\tpm\v4:05\f": "16:05:00",
    "오후 4:05:59.99999949": "16:05:59.999999", "오후 4:05:58.9999995": "16:05:59",
    "오후 4:05:59.99999951": None, "오후 13:00:00": None, "4:05:07": None, "오후 0:10:10": None,
    "오후 4:05:60.0": None, "오후 4:60:00": None, "오후 ٤:05:07": None, "오전오후 1:00": None,
    "": None, "오후": None, "오후 4:05:.5": None, "오후 4:05:06.": None, "오후 4:05:06:07": None,
}  # fmt: skip
TIMES_24H = {
    "16:27:17": "16:27:17", "16:05:00.25": "16:05:00.25", "0:0:0": "00:00:00", "16:27": "16:27:00",
    "  7:08:09  ": "07:08:09", "12:00:00.123456789": "12:00:00.123457",
    "23:59:59.9999999": None, "1:60:00": None, "1:00:60": None, "noon": None,
    "": None, "오후 4:05:00": None,
}  # fmt: skip
NUMBERS = {
    "2.0": 2.0, "0": 0.0, "1e1": 10.0, "1E-3": 0.001, "+2.5e0": 2.5, ".5": 0.5, "40.": 40.0,
    " 7 ": 7.0, "\t7\v": 7.0, "1e-400": 0.0, "0.30000000000000004": 0.30000000000000004,
    "2.0f": None, "0x1p1": None, "1e999": None, "NaN": None, "inf": None, "": None, "acid": None,
    "1,5": None, "1_0": None, "٣": None, "--1": None, "1e": None, ".": None, LONG * 9: None,
    "\0": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def example() -> Stage:
    return load_stage(None, EXAMPLE)


def batch_of(rows: Sequence[Sequence[str]], faults: Sequence[str | None] = ()) -> pa.RecordBatch:
    """Rows of cells as `read_cells` gives them; the first is in line 2."""
    return pa.record_batch(
        [
            pa.array(range(2, len(rows) + 2), pa.int64()),
            pa.array(rows, pa.list_(pa.string())),
            pa.array(faults or [None] * len(rows), pa.string()),
        ],
        ["line", "cells", "fault"],
    )


def typed(batch: pa.RecordBatch, stage: Stage) -> list[dict[str, Any]]:
    found = readings.typed_rows(with_file(batch, FILE), {}, stage)
    found.validate(full=True)
    assert found.schema == readings.row_schema(stage)
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows


def one(stage: Stage, place: int, cell: str) -> dict[str, Any]:
    """A row that is sound but for that cell."""
    cells = ["1", "오후 4:05:00.0", "2.0", "40", "16"]
    if stage.readings.clock == "24h":
        cells = ["1", "16:05:00", "2021-09-06", "40", "16"]
    cells[place] = cell
    (row,) = typed(batch_of([cells]), stage)
    return row


def moment(time: str) -> datetime:
    return datetime.fromisoformat(KST.format(time)).astimezone(UTC)


@pytest.mark.parametrize(("cell", "lot"), LOTS.items())
def test_lot(stage: Stage, cell: str, lot: str | None) -> None:
    row = one(stage, 0, cell)
    if lot:
        assert (row["lot"], row["rule"], row["reason"]) == (lot, None, None)
    else:
        assert (row["rule"], row["reason"]) == ("lot", f"not a lot: '{cell}'")


@pytest.mark.parametrize(("cell", "day"), DATES.items())
def test_date(example: Stage, cell: str, day: date | None) -> None:
    row = one(example, 2, cell)
    said = (None, None) if day else ("date", f"not a date: '{cell}'")
    assert (row["day"], row["rule"], row["reason"]) == (day, *said)
    assert (row["measured_at"] is None) == (day is None)


@pytest.mark.parametrize(
    ("clock", "cell", "time"),
    [("12h", *case) for case in TIMES_12H.items()] + [("24h", *case) for case in TIMES_24H.items()],
)
def test_time(stage: Stage, example: Stage, clock: str, cell: str, time: str | None) -> None:
    row = one(stage if clock == "12h" else example, 1, cell)
    said = (None, None) if time else ("time", f"not a {clock} time: '{cell}'")
    assert (row["measured_at"], row["rule"], row["reason"]) == (time and moment(time), *said)


@pytest.mark.parametrize(("cell", "value"), NUMBERS.items())
def test_number(stage: Stage, cell: str, value: float | None) -> None:
    row = one(stage, 3, cell)
    reason = f"not a temperature number: '{cell[:80]}'"
    said = (None, None) if value is not None else ("number", reason)
    assert (row["temperature"], row["rule"], row["reason"]) == (value, *said)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("0", None),
        ("14", None),
        ("14.0001", "ph 14.0001 is outside 0 to 14 pH"),
        ("-1e-7", "ph -1e-07 is outside 0 to 14 pH"),
        ("1e16", "ph 1e+16 is outside 0 to 14 pH"),
    ],
)
def test_physical_range(stage: Stage, cell: str, said: str | None) -> None:
    row = one(stage, 2, cell)
    assert (row["ph"], row["reason"]) == (float(cell), said)
    assert row["rule"] == (said and "physical_range")


@pytest.mark.parametrize(
    ("zone", "day", "time", "expected"),
    [
        ("America/New_York", "2021-03-14", "2:30", "2021-03-14T07:30:00"),  # No clock showed it.
        ("America/New_York", "2021-03-14", "3:00", "2021-03-14T07:00:00"),
        ("America/New_York", "2021-11-07", "1:30", "2021-11-07T05:30:00"),  # Twice: the first.
        ("America/New_York", "2021-11-07", "2:00", "2021-11-07T07:00:00"),
        ("Asia/Seoul", "1969-12-31", "23:59:59.5", "1969-12-31T14:59:59.500000"),
        ("Asia/Seoul", "0001-01-01", "0:00", None),  # Not a year of UTC.
        ("America/New_York", "9999-12-31", "23:59", None),
    ],
)
def test_time_zone(example: Stage, zone: str, day: str, time: str, expected: str | None) -> None:
    stage = example.model_copy(update={"time_zone": zone})
    (row,) = typed(batch_of([["1", time, day, "40", "16"]]), stage)
    found = row["measured_at"]
    assert (found and found.replace(tzinfo=None).isoformat()) == expected
    untrue = "implausible_time" if expected and expected < "1990" else None
    assert row["rule"] == (untrue if expected else "time")


def test_24_00_is_the_midnight_at_the_end_of_its_day(example: Stage) -> None:
    (row,) = typed(batch_of([["1", "24:00:00", "2021-09-06", "40", "16"]]), example)
    assert row["measured_at"] == datetime.fromisoformat("2021-09-07T00:00:00+09:00")
    assert (row["day"], row["rule"]) == (date(2021, 9, 6), None)


@pytest.mark.parametrize("day", ["1970-01-01", "1980-01-06", "2998-01-01"])
def test_a_clock_that_was_not_set_is_not_believed(example: Stage, day: str) -> None:
    (row,) = typed(batch_of([["1", "10:00", day, "40", "16"]]), example)
    assert row["rule"] == "implausible_time"
    assert "was the clock set?" in row["reason"]


def test_every_broken_rule_is_said_and_the_rest_is_typed(stage: Stage) -> None:
    cells = ["L", "noon", "15", "x", "16"]
    (row,) = typed(batch_of([cells]), stage)
    assert (row["rule"], row["reason"]) == (
        "lot",
        "not a lot: 'L'; not a 12h time: 'noon'; ph 15.0 is outside 0 to 14 pH; "
        "not a temperature number: 'x'",
    )
    assert (row["day"], row["lot"], row["measured_at"]) == (date(2021, 9, 6), None, None)
    assert (row["ph"], row["temperature"], row["voltage"]) == (15.0, None, 16.0)
    assert (row["file"], row["line"], row["cells"]) == (FILE, 2, cells)


def test_a_row_with_a_fault_has_no_value(stage: Stage) -> None:
    faults = ["3 cells where the header has 6", "below another header, in line 1"]
    rows = typed(batch_of([["a"], ["b"]], faults), stage)
    assert [row["rule"] for row in rows] == ["torn_row", "second_header"]
    assert [row["reason"] for row in rows] == faults
    for row in rows:
        assert not any(row[name] for name in ("day", "lot", "measured_at", "ph"))


def test_no_row(stage: Stage) -> None:
    assert typed(batch_of([]), stage) == []


ANY = st.text(max_size=12) | st.text("0123456789.:-+eE \t\v오전후AMpm", max_size=12)


def cell_of(known: dict[str, Any]) -> st.SearchStrategy[str]:
    return st.sampled_from([text for text, value in known.items() if value]) | (
        st.sampled_from(list(known)) | ANY
    )


def rows_of(times: dict[str, Any], *others: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Cells and fault of rows."""
    whole = st.tuples(*map(cell_of, (LOTS, times, *others))).map(list)
    torn = st.tuples(st.lists(ANY, min_size=1, max_size=1), st.just("1 cells") | ANY)
    row = st.tuples(whole, st.none())
    return st.lists(row | row | row | torn, min_size=1, max_size=12)


def check_alone_as_together(rows: Sequence[tuple[list[str], str | None]], stage: Stage) -> None:
    batch = batch_of([cells for cells, _ in rows], [fault for _, fault in rows])
    together = typed(batch, stage)
    assert together == [typed(batch.slice(at, 1), stage)[0] for at in range(len(rows))]
    for row, (cells, fault) in zip(together, rows, strict=True):
        assert row["cells"] == cells
        assert (row["rule"] is None) == (row["reason"] is None)
        assert (row["rule"] in rules.LINE_RULES) == (fault is not None)
        if row["rule"] is None:
            assert None not in [row[name] for name in row if name not in ("rule", "reason")]


@settings(deadline=None)
@given(rows_of(TIMES_12H, NUMBERS, NUMBERS, NUMBERS))
def test_a_row_is_read_alone_as_together(rows: Any) -> None:
    check_alone_as_together(rows, load_stage("chromate"))


@settings(deadline=None)
@given(rows_of(TIMES_24H, DATES, NUMBERS, NUMBERS))
def test_a_row_with_a_date_is_read_alone_as_together(rows: Any) -> None:
    check_alone_as_together(rows, load_stage(None, EXAMPLE))


def test_a_file_with_a_fault_has_no_row(stage: Stage) -> None:
    report, rows = readings.read_file(io.BytesIO(b""), FILE, stage, load_settings())
    assert report.rule == "empty_file"
    assert (rows.num_rows, rows.schema) == (0, readings.row_schema(stage))


def test_rows_below_a_further_header(stage: Stage, chain: Chain) -> None:
    """The lake and the app read them alike: by that header, or not at all."""
    row = "1,1,오후 4:05:{:02d}.0,{},{},16"
    text = "\n".join(
        [
            "Index,Lot,Time,pH,Temp,Voltage",
            row.format(0, 7.0, 40),
            "Index,Lot,Time,Temp,pH,Voltage",
            row.format(1, 12.5, 7.3),
            "Index,Lot,Time,Temp,Flow,Voltage",
            row.format(2, 12.5, 7.3),
        ]
    ).encode()
    name = "kemp-abh-sensor-2021.09.06.csv"
    _, rows = readings.read_file(io.BytesIO(text), name, stage, load_settings())
    columns = ["line", "ph", "temperature", "voltage"]
    sound = [(2, 7.0, 40, 16), (4, 7.3, 12.5, 16)]
    passed = rules.filter_passed(rows).select(columns).to_pylist()
    assert [tuple(row.values()) for row in passed] == sound
    held_back = rules.filter_held_back(rows).select(["line", "rule", "reason"]).to_pylist()
    assert [row["rule"] for row in held_back] == ["lot", "second_header", "second_header"]
    (chain.landing / "sensor").mkdir()
    (chain.landing / "sensor" / name).write_bytes(text)
    chain("ingest_readings")
    lake = chain.lake()
    stored = lake.rows(readings_table(stage), *columns)
    assert sorted(tuple(row.values()) for row in stored) == sound
    theirs = sorted(lake.rows(QUARANTINE, *held_back[0]), key=lambda row: row["line"])
    assert theirs == held_back


def test_every_known_bad_row(stage: Stage) -> None:
    header = "Index,Lot,Time,pH,Temp,Voltage"
    texts = {n: text for n, (text, _, _) in ALL_BAD_ROWS.items()} | SOUND_ROWS
    text = "\r\n".join([header, *(texts[n] for n in sorted(texts))])
    content = text.encode("utf-8", "surrogateescape")
    _, rows = readings.read_file(io.BytesIO(content), FILE, stage, load_settings())
    found = {row["line"]: row for row in rows.to_pylist()}
    for line, (_, rule, said) in ALL_BAD_ROWS.items():
        assert found[line]["rule"] == rule and said in found[line]["reason"]
    sound = {line for line, row in found.items() if row["rule"] is None}
    assert sound == set(SOUND_ROWS) - {17}
    assert found[17]["rule"] == "duplicate_key"
    assert found[17]["reason"] == f"the same day, lot, measured_at as line 16 of {FILE}"


def test_rows_below_a_header_in_capitals_are_read_by_it(stage: Stage) -> None:
    row = "1,1,오후 4:05:{:02d}.0,{},{},16"
    header = "INDEX,LOT,TIME,TEMP,PH,VOLTAGE"
    lines = [HEADER, row.format(0, 7.3, 12.5), header, row.format(2, 12.5, 7.3)]
    content = "\n".join(lines).encode()
    _, rows = readings.read_file(io.BytesIO(content), FILE, stage, load_settings())
    assert HEADER.split(",")[3:5] == ["pH", "Temp"]
    assert (
        rules.filter_passed(rows).select(["ph", "temperature"]).to_pylist()
        == [{"ph": 7.3, "temperature": 12.5}] * 2
    )


@pytest.mark.parametrize(
    "header",
    [
        "Nr,Charge,Zeit,Temp.,pH-Wert,Spannung",
        "번호,로트,시각,온도,산도,전압",
    ],
)
def test_rows_below_a_header_of_other_words_are_held_back(stage: Stage, header: str) -> None:
    """A row without any digit, though its columns are as many, is a header; a remark is not."""
    row = "1,1,오후 4:05:{:02d}.0,7.3,12.5,16"
    lines = [HEADER, row.format(0), "stopped,,,,,", row.format(1), header, row.format(2)]
    _, rows = readings.read_file(
        io.BytesIO("\n".join(lines).encode()), FILE, stage, load_settings()
    )
    assert rules.filter_passed(rows)["line"].to_pylist() == [2, 4]
    held_back = rules.filter_held_back(rows)
    assert held_back["line"].to_pylist() == [3, 5, 6]
    assert held_back["rule"].to_pylist()[-1] == "second_header"


def stage_of(**readings: Any) -> Stage:
    """A stage of one variable; the arguments replace or add keys of its readings."""
    ph = {"name": "ph", "column": "pH", "unit": "pH", "minimum": 0, "maximum": 2000}
    source = {"files": "*.csv", "lot": "Lot", "time": "Time", "date": {"column": "Date"}}
    source |= {"variables": [ph]} | readings
    given = {key: value for key, value in source.items() if value is not None}
    return Stage.model_validate(
        {"name": "s", "title": "S", "lot_pattern": "0*([0-9A-Z]+)", "readings": given}
    )


def read(stage: Stage, *lines: str, name: str = "a.csv") -> list[dict[str, Any]]:
    """The checked rows of a file of these lines."""
    content = "\n".join(lines).encode()
    report, rows = readings.read_file(io.BytesIO(content), name, stage, load_settings())
    assert report.rule is None, report.reason
    assert rows.num_rows == report.rows
    return rows.to_pylist()


def stamped(form: str, **more: Any) -> Stage:
    stamp = {"column": "Stamp", "format": form}
    return stage_of(time=None, date=None, timestamp=stamp, delimiter=";", **more)


@pytest.mark.parametrize(
    ("form", "cell", "utc"),
    [
        ("iso", "2021-09-06 08:00:00", "2021-09-05T23:00:00"),
        ("iso", "2021-09-06T08:00:00.25Z", "2021-09-06T08:00:00.250000"),
        ("iso", "2021-09-06T08:00:00+02:00", "2021-09-06T06:00:00"),
        ("iso", "2021-09-06T24:00", "2021-09-06T15:00:00"),
        ("iso", "2021-09-06", None),
        ("iso", "2021-02-30 08:00:00", None),
        ("%d.%m.%Y %H:%M:%S", "6.9.2021 8:00:03", "2021-09-05T23:00:03"),
        ("%Y%m%d%H%M%S", "20210906080003", "2021-09-05T23:00:03"),
        ("%Y/%m/%d %I:%M:%S.%f %p", "2021/09/06 12:00:03.5 오전", "2021-09-05T15:00:03.500000"),
        ("%Y/%m/%d %p %I:%M", "2021/09/06 下午 1:05", "2021-09-06T04:05:00"),
        ("%y-%m-%d %H:%M %z", "21-09-06 08:00 -0330", "2021-09-06T11:30:00"),
        ("epoch", "1630918800.25", "2021-09-06T09:00:00.250000"),
        ("epoch_ms", "1630918800250", "2021-09-06T09:00:00.250000"),
        ("epoch_us", "1630918800000250", "2021-09-06T09:00:00.000250"),
        ("excel", "44445.333333333336", "2021-09-05T23:00:00"),
        ("siemens", "44445333333.3333", "2021-09-05T23:00:00"),
        ("epoch", "1e300", None),
        ("excel", "noon", None),
    ],
)
def test_forms_of_a_moment(form: str, cell: str, utc: str | None) -> None:
    (row,) = read(stamped(form), "Lot;Stamp;pH", f"17;{cell};7")
    found = row["measured_at"]
    assert (found and found.replace(tzinfo=None).isoformat()) == utc
    assert row["rule"] == (None if utc else "time")
    if found:
        assert row["day"] == found.astimezone(ZoneInfo("Asia/Seoul")).date()


def test_date_and_time_in_columns_of_their_own_make_a_moment() -> None:
    stamp = {"columns": ["Date", "Time"], "format": "%d.%m.%Y %H:%M"}
    stage = stage_of(time=None, date=None, timestamp=stamp)
    (row,) = read(stage, "Lot,Date,Time,pH", "17,6.9.2021,8:00,7")
    assert row["measured_at"] == datetime(2021, 9, 5, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("notation", "cell", "value"),
    [
        ({"decimal": ",", "thousands": "."}, "1.040,5", 1040.5),
        ({"decimal": ",", "thousands": "."}, "1.040", 1040.0),
        ({"decimal": ",", "thousands": "."}, "10.40", None),
        ({"decimal": ",", "thousands": "."}, "1.0132", None),
        ({"decimal": ",", "thousands": "."}, "1.040.5", None),
        ({"thousands": ","}, "1,0132", None),
        ({"decimal": ",", "thousands": "."}, "7.1", None),
        ({"decimal": ","}, "7,1", 7.1),
        ({"decimal": ","}, "1.040", None),
        ({"thousands": ","}, "1,040.5", 1040.5),
        ({"thousands": " "}, "1\u00a0040.5", 1040.5),
        ({"thousands": "'"}, "1'040", 1040.0),
        ({}, "1,040", None),
        ({}, "\u22120.0", 0.0),
        ({}, "1.040", 1.04),
    ],
)
def test_notations_of_numbers(notation: dict[str, str], cell: str, value: float | None) -> None:
    stage = stage_of(delimiter=";", **notation)
    (row,) = read(stage, "Lot;Date;Time;pH", f"17;2021-09-06;08:00;{cell}")
    assert (row["ph"], row["rule"]) == (value, None if value is not None else "number")


def test_a_number_is_unclear_in_a_file_with_decimal_commas() -> None:
    lines = ["Lot;Date;Time;pH", "17;2021-09-06;08:00;7,1", "17;2021-09-06;08:01;1.040"]
    lines.append("17;2021-09-06;08:02;1.04")
    assert [row["ph"] for row in read(stage_of(delimiter=";"), *lines)] == [None, None, 1.04]


def test_words_for_a_missing_value_and_columns_that_may_be_missing() -> None:
    base = {"unit": "", "minimum": 0, "maximum": 99}
    variables = [
        {"name": "ph", "column": "pH", **base},
        {"name": "flow", "column": "Flow", "optional": True, **base},
    ]
    stage = stage_of(variables=variables, missing=["", "-", "N/A"])
    head = "Lot,Date,Time,pH"
    rows = read(stage, head + ",Flow", "1,2021-09-06,8:00,7,-", "1,2021-09-06,8:01,N/A,3")
    assert [(row["ph"], row["flow"], row["rule"]) for row in rows] == [
        (7, None, None),
        (None, 3, None),
    ]
    (row,) = read(stage, head, "1,2021-09-06,8:00,7")
    assert (row["ph"], row["flow"], row["rule"]) == (7, None, None)
    (row,) = read(stage, head, "1,2021-09-06,8:00,-")
    assert (row["rule"], row["reason"]) == ("no_value", "no variable has a value")


def test_readings_of_one_moment_are_told_apart() -> None:
    lines = ["Lot,Date,Time,Head,pH", *(f"1,2021-09-06,8:00,{head},7" for head in "ABA")]
    assert [row["rule"] for row in read(stage_of(), *lines)] == [None] + ["duplicate_key"] * 2
    by_head = read(stage_of(key={"head": "Head"}), *lines)
    assert [(row["head"], row["rule"]) for row in by_head] == [
        ("A", None), ("B", None), ("A", "duplicate_key"),
    ]  # fmt: skip
    numbered = read(stage_of(sequence=True), *lines)
    assert [(row["sequence"], row["rule"]) for row in numbered] == [(0, None), (1, None), (2, None)]
    both = readings_table(stage_of(key={"head": "Head"}, sequence=True))
    assert both.key == ("day", "lot", "head", "sequence", "measured_at")


def test_the_line_is_a_part_of_the_lot() -> None:
    by_path = stage_of(line={"file_name": "line-([0-9])/"})
    row = "0017,2021-09-06,8:00,7"
    (found,) = read(by_path, "Lot,Date,Time,pH", row, name="line-2/a.csv")
    assert found["lot"] == "2:17"
    by_column = stage_of(line={"column": "Line"})
    rows = read(by_column, "Lot,Date,Time,pH,Line", row + ",B", row + ",")
    assert [(one["lot"], one["rule"]) for one in rows] == [("B:17", None), (None, "lot")]
    assert by_path.is_lot("2:17") and not by_path.is_lot("2:x!")


def test_a_group_of_the_pattern_is_the_lot() -> None:
    (row,) = read(stage_of(), "Lot,Date,Time,pH", "000A7,2021-09-06,8:00,7")
    assert row["lot"] == "A7"


def test_the_hour_that_winter_time_repeats_is_kept_apart() -> None:
    stage = stage_of().model_copy(update={"time_zone": "Europe/Berlin"})
    times = ["1:59:00", "2:00:00", "2:59:00", "2:00:00", "2:59:00", "3:00:00"]
    rows = read(stage, "Lot,Date,Time,pH", *(f"1,2021-10-31,{time},7" for time in times))
    assert [row["rule"] for row in rows] == [None] * 6
    utc = [f"{row['measured_at']:%H:%M}" for row in rows]
    assert utc == ["23:59", "00:00", "00:59", "01:00", "01:59", "02:00"]
    stamps = read(
        stamped("iso").model_copy(update={"time_zone": "Europe/Berlin"}),
        "Lot;Stamp;pH",
        *(f"1;2021-10-31 0{time};7" for time in times),
    )
    assert [row["measured_at"] for row in stamps] == [row["measured_at"] for row in rows]
