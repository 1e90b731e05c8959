"""Bad sensor files and error lists: one landing zone with every kind, ingested once."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lakehouse.errors import PlatelakeError, QualityGateError
from lakehouse.stage import Stage, load_stage
from lakehouse.tables.error_lists import ERROR_LISTS
from lakehouse.tables.files import FILES
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings
from tests.conftest import Chain
from tests.plant import HEADER, sensor_lines, sensor_name, write_errors, write_sensor

GOOD = sensor_lines()
BAD_ROWS = {
    # line in the file: the line, the rule, and what the reason must say
    2: ("1,1,오후 4:05:00.0,2.0,40.1", "torn_row", "5 cells where the header has 6"),
    3: ("2,1,오후 4:05:05.0,2.0,40.1,16,9", "torn_row", "7 cells"),
    4: ("3,1,오후 4:05:10.0,acid,40.1,16", "number", "not a ph number: 'acid'"),
    5: ("4,1,오후 4:05:15.0,2.0,NaN,16", "number", "not a temperature number: 'NaN'"),
    6: ("5,1,오후 4:05:20.0,2.0,,16", "number", "not a temperature number: ''"),
    7: ("6,1,오후 4:05:25.0,2.0,40,1e999", "number", "not a voltage number: '1e999'"),
    8: ("7,1,오후 4:05:30.0,14.5,40,16", "physical_range", "ph 14.5 is outside 0 to 14 pH"),
    9: ("8,1,오후 4:05:35.0,2.0,-1,16", "physical_range", "temperature -1.0 is outside"),
    10: ("9,,오후 4:05:40.0,2.0,40,16", "lot", "not a lot: ''"),
    11: ("10,L-7,오후 4:05:45.0,2.0,40,16", "lot", "not a lot: 'L-7'"),
    12: ("11,1,오후 13:05:50.0,2.0,40,16", "time", "not a 12h time: '오후 13:05:50.0'"),
    13: ("12,1,4:05:55,2.0,40,16", "time", "not a 12h time"),
    14: ('13,1,"오후 4:06:00.0,2.0,40,16', "torn_row", "1 cells"),
    15: ("14,1,오후 4:06:05.0,15,x,16", "physical_range", "ph 15.0 is outside 0 to 14 pH; not a t"),
}
LATER_BAD_ROWS = {
    # What Java takes for a number, and a letter that was cut; \\udcNN is the byte NN.
    20: ("19,1,오후 4:07:00.0,2.0f,40,16", "number", "not a ph number: '2.0f'"),
    21: ("20,1,오후 4:07:05.0,2.0,40.1d,16", "number", "not a temperature number: '40.1d'"),
    22: ("21,1,오후 4:07:10.0,2.0,40,0x1p1", "number", "not a voltage number: '0x1p1'"),
    23: ("22,1,오\udced\udc9b", "torn_row", "bytes that are no text in utf-8"),
}
SOUND_ROWS = {
    16: "15,1,오후 4:06:10.0,2.01,40,16",
    17: "16,1,오후 4:06:10.0,2.02,40,16",  # the same moment again: the first is kept
    18: "17,20.0,오전 12:00:00.0,0,0,0",
    19: "18,1,오후 12:00:00.5,14,100,50",
    24: "23,1,오후 4:08:00.0,+2.5e0,40.,.5",
}
ALL_BAD_ROWS = BAD_ROWS | LATER_BAD_ROWS
REORDERED = ["Voltage,pH,Lot,Time,Temp,Operator"] + [
    f"16,2.0,1,오후 4:05:{5 * n:02d}.0,40.1,Kim" for n in range(3)
]
WHOLE_FILES = {
    "empty_file": b"",
    "header_only": HEADER.encode() + b"\r\n",
    "nul_bytes": "\r\n".join(GOOD).encode().replace(b"1", b"\0"),
    "damaged": b"\x1f\x8b" + "\r\n".join(GOOD).encode(),
    "encoding": "\r\n".join(GOOD).encode().replace(b",40", b",\xff40"),
    "delimiter": "\r\n".join(GOOD).replace(",", ";").encode(),
    "missing_column": "\r\n".join(line.rpartition(",")[0] for line in GOOD).encode(),
    "header": "\r\n".join(GOOD).replace("Temp", "pH").encode(),
    "line_too_long": "\r\n".join(GOOD).encode() + b"\r\n" + b"7" * 3_000_000,
}
DAYS = {rule: date(2021, 9, 10 + n) for n, rule in enumerate(WHOLE_FILES)}


@pytest.fixture(scope="module")
def ingested(module_chain: Chain) -> Chain:
    landing = module_chain.landing
    write_sensor(landing, date(2021, 9, 1))
    rows = {**{line: row for line, (row, _, _) in ALL_BAD_ROWS.items()}, **SOUND_ROWS}
    lines = [HEADER, *(rows[line] for line in sorted(rows))]
    content = "\r\n".join(lines).encode("utf-8", "surrogateescape")
    write_sensor(landing, date(2021, 9, 2)).write_bytes(content)
    write_sensor(landing, date(2021, 9, 3), REORDERED)
    renamed = [line.replace("Temp", "Temperature") for line in GOOD]
    write_sensor(landing, date(2021, 9, 4), renamed)
    for rule, content in WHOLE_FILES.items():
        write_sensor(landing, DAYS[rule]).write_bytes(content)
    undated = landing / "sensor" / "no-date.csv"
    undated.write_text("\n".join(GOOD))
    cp949 = write_sensor(landing, date(2021, 9, 5))
    cp949.write_bytes("\n".join(sensor_lines(level=3.0)).encode("cp949"))
    write_errors(landing, {"2021-09-01": ["1.0"], "someday": ["1"], "2021-09-02": ["x"]})
    (landing / "Error Lot list torn.csv").write_text("0,1,2\n2021-09-03,1\n2021-09-05,,\n")
    with pytest.raises(QualityGateError, match="19 of 23 quarantined"):  # All is stored before.
        module_chain("ingest_readings", "ingest_error_lists")
    return module_chain


def entries(chain: Chain, file: str) -> dict[int, dict[str, Any]]:
    found = [row for row in chain.lake().rows(QUARANTINE) if row["file"].endswith(file)]
    return {row["line"]: row for row in found}


def state(chain: Chain, file: str) -> dict[str, Any]:
    (row,) = [row for row in chain.lake().rows(FILES) if row["file"].endswith(file)]
    return row


@pytest.mark.parametrize(("line", "case"), ALL_BAD_ROWS.items())
def test_a_bad_row_is_held_back_with_rule_line_and_raw_row(
    ingested: Chain, line: int, case: tuple[str, str, str]
) -> None:
    _, rule, reason = case
    entry = entries(ingested, sensor_name(date(2021, 9, 2)))[line]
    assert entry["rule"] == rule
    assert reason in entry["reason"]
    if rule == "torn_row":
        assert "line" in entry["raw"]
    else:
        assert '"pH":' in entry["raw"] and '"Index":' in entry["raw"]


def test_of_a_key_that_comes_twice_the_first_row_is_stored(ingested: Chain) -> None:
    entry = entries(ingested, sensor_name(date(2021, 9, 2)))[17]
    assert entry["rule"] == "duplicate_key"
    assert "as line 16 of sensor/" in entry["reason"]


def test_the_good_rows_of_a_bad_file_are_stored(ingested: Chain) -> None:

    rows = ingested.lake().rows(readings(load_stage("chromate")))
    found = {
        row["line"]: (row["lot"], row["measured_at"].isoformat(), row["ph"])
        for row in rows
        if row["day"] == date(2021, 9, 2)
    }
    assert found == {
        16: ("1", "2021-09-02T07:06:10+00:00", 2.01),
        18: ("20", "2021-09-01T15:00:00+00:00", 0.0),  # 오전 12 is midnight in Seoul
        19: ("1", "2021-09-02T03:00:00.500000+00:00", 14.0),  # 오후 12 is noon
        24: ("1", "2021-09-02T07:08:00+00:00", 2.5),
    }


@pytest.mark.parametrize("rule", WHOLE_FILES)
def test_a_bad_file_is_held_back_whole(ingested: Chain, rule: str) -> None:
    file = sensor_name(DAYS[rule])
    assert {line: row["rule"] for line, row in entries(ingested, file).items()} == {0: rule}
    assert state(ingested, file)["status"] == "quarantined"


def test_a_renamed_column_holds_its_file_back(ingested: Chain) -> None:
    (entry,) = entries(ingested, sensor_name(date(2021, 9, 4))).values()
    assert entry["rule"] == "missing_column"
    assert "no column Temp" in entry["reason"] and "Temperature" in entry["reason"]


def test_a_sensor_file_without_a_date_in_its_name_is_held_back(ingested: Chain) -> None:
    assert entries(ingested, "no-date.csv")[0]["rule"] == "no_date"


def test_reordered_and_extra_columns_are_accepted_and_noted(ingested: Chain) -> None:
    found = state(ingested, sensor_name(date(2021, 9, 3)))
    assert (found["status"], found["rows_stored"]) == ("loaded", 3)
    assert found["note"] == "extra columns: Operator"


def test_cp949_and_line_feeds_are_read(ingested: Chain) -> None:
    assert state(ingested, sensor_name(date(2021, 9, 5)))["rows_stored"] == 6


def test_nothing_else_is_affected(ingested: Chain) -> None:
    found = state(ingested, sensor_name(date(2021, 9, 1)))
    assert (found["rows_read"], found["rows_stored"], found["note"]) == (6, 6, None)


def test_bad_rows_of_an_error_list_are_held_back(ingested: Chain) -> None:
    rules = {line: row["rule"] for line, row in entries(ingested, "Error Lot list.csv").items()}
    assert rules == {3: "date", 4: "lot"}
    torn = {line: row["rule"] for line, row in entries(ingested, "list torn.csv").items()}
    assert torn == {2: "torn_row"}
    stored = {(r["day"], tuple(r["lots"])) for r in ingested.lake().rows(ERROR_LISTS)}
    assert stored == {(date(2021, 9, 1), ("1",)), (date(2021, 9, 5), ())}


def test_a_hundred_megabyte_line_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    import tracemalloc

    from lakehouse.files.delimited import inspect
    from lakehouse.files.layout import Layout

    file = tmp_path / "long.csv"
    with file.open("wb") as stream:
        stream.write(HEADER.encode() + b"\n")
        for _ in range(100):
            stream.write(b"7" * (1 << 20))
    layout = Layout(",", ("utf-8", "cp949"), {"lot": ("Lot",)})
    tracemalloc.start()
    with file.open("rb") as stream:
        report = inspect(stream, layout)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.rule == "line_too_long"
    assert peak < 16 << 20


def test_a_day_with_more_readings_than_it_may_have_ends_the_run(
    chain: Chain, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a row of it is stored; readings that are there count too."""
    day = date(2021, 9, 1)
    write_sensor(chain.landing, day, sensor_lines(lots=(1,)))
    chain.work("ingest_readings")
    count = chain.lake().count(readings(stage))
    file = write_sensor(chain.landing, day, sensor_lines(lots=(2,)))
    file.rename(file.with_name(f"more-{file.name}"))
    write_sensor(chain.landing, day, sensor_lines(lots=(1,)))
    monkeypatch.setenv("PLATELAKE_MAX_DAY_ROWS", str(2 * count - 1))
    said = f"2021-09-01 would have {2 * count} readings; a day may have {2 * count - 1}"
    with pytest.raises(PlatelakeError, match=said):
        chain.work("ingest_readings")
    assert chain.lake().count(readings(stage)) == count
    monkeypatch.setenv("PLATELAKE_MAX_DAY_ROWS", str(2 * count))
    chain.work("ingest_readings")
    assert chain.lake().count(readings(stage)) == 2 * count
