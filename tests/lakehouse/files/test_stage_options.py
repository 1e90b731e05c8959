"""What a stage can say of its sensor files: each form with a small file that it reads."""

from __future__ import annotations

import gzip
import io
import tomllib
import unicodedata

import pytest

from lakehouse.files.readings import read_file
from lakehouse.settings import Settings
from lakehouse.stage import Stage

APART = 'time = "Time"\ndate = { column = "Date" }'
HEADER, ROW = "Date,Time,Lot,pH,Temp\n", "2021-09-06,08:00:00,17,7.1,40\n"
FILE = HEADER + ROW
STAGE = """
name = "any_plant"
title = "Any plant"
lot_pattern = "0*([0-9A-Z]+)"
[readings]
files = "*"
lot = "Lot"
{options}
[[readings.variables]]
name = "ph"
column = "pH"
unit = "pH"
minimum = -99
maximum = 9999
[[readings.variables]]
name = "temp"
column = "Temp"
unit = "C"
minimum = -99
maximum = 9999
"""


def read(content: str | bytes, options: str) -> list[str]:
    """Day and time by the plant's clock, lot and values of each row; or the rule that it breaks."""
    stage = Stage.model_validate(tomllib.loads(STAGE.format(options=options)))
    stream = io.BytesIO(content if isinstance(content, bytes) else content.encode())
    report, rows = read_file(stream, "a.csv", stage, Settings())
    if report.rule:
        return [report.rule]
    return [
        row["rule"]
        or f"{row['measured_at'].astimezone(stage.zone):%d %H:%M} {row['lot']} "
        f"{row['ph']} {row['temp']}"
        for row in rows.to_pylist()
    ]


FIRST = "06 08:00 17 7.1 40.0"
NAMES = 'header = ["Date", "Time", "Lot", "pH", "Temp"]'


@pytest.mark.parametrize(
    ("content", "options"),
    [
        pytest.param(f"sep=;\n{FILE.replace(',', ';')}", "", id="sep"),
        pytest.param(f"sep=\t\n{FILE.replace(',', chr(9))}", "", id="sep, a tab"),
        pytest.param(f"Machine A\nx,y\n\n{FILE}", "find_header = true", id="preamble"),
        pytest.param(f"# a\n{FILE}# b\n", "ignore_lines = ['^#']", id="comments"),
        pytest.param(f"{HEADER},,,pH,C\n{ROW}", "skip_after_header = 1", id="units"),
        pytest.param(f"{FILE}Sum: 1\n", "ignore_lines = ['^Sum']", id="summary"),
        pytest.param(FILE.replace("17", "'17'"), 'quote = "\'"', id="quote"),
        pytest.param(FILE.encode("utf-16"), "", id="UTF-16"),
        pytest.param(" date , TIME,lOt,PH,  temp\n" + ROW, "", id="capitals and blanks"),
        pytest.param(FILE.replace("pH", "pH\u00a0"), "", id="a blank of Windows"),
        pytest.param(
            HEADER.replace("\n", ",U,U\n") + ROW.replace("\n", ",a,b\n"), "ignore = 'U'", id="twice"
        ),
        pytest.param(FILE.replace("17", "0017"), "", id="leading zeros"),
        pytest.param(ROW, NAMES, id="no header"),
        pytest.param(f"\ufeff{ROW}", NAMES, id="no header, mark"),
        pytest.param(ROW.encode("utf-16"), NAMES, id="no header, UTF-16"),
        pytest.param(f"\ufeff# 4\n{ROW}", f"{NAMES}\nignore_lines = ['^#']", id="mark, comment"),
        pytest.param(f"# PLC 4\n{ROW}", f"{NAMES}\nignore_lines = ['^#']", id="no header, comment"),
        pytest.param(f"sep=;\n{ROW.replace(',', ';')}", NAMES, id="no header, sep"),
    ],
)
def test_the_text_of_a_file(content: str | bytes, options: str) -> None:
    assert read(content, f"{APART}\n{options}") == [FIRST]


def test_a_file_without_a_header_that_gets_one_is_read_by_it() -> None:
    """After an update of the logger, say. A row with a cell more or fewer is quarantined."""
    options = f"{APART}\n{NAMES}"
    assert read(f"{ROW},1,1\n{ROW[:-4]}\n", options) == [FIRST, "torn_row", "torn_row"]
    other = "Lot,pH,Temp,Date,Time\n18,7.2,41,2021-09-06,08:01:00\n"
    assert read(ROW + other, options) == [FIRST, "lot", "06 08:01 18 7.2 41.0"]
    strange = other.replace("Temp", "Flow")
    assert read(ROW + strange, options) == [FIRST, "second_header", "second_header"]
    assert read(ROW.replace(",40", ""), f"{APART}\n{NAMES}") == ["torn_row"]
    assert read(ROW, f"{APART}\nheader = ['Date', 'Time', 'Lot', 'pH']") == ["missing_column"]


@pytest.mark.parametrize(("content", "advised"), [(ROW, True), (HEADER.lower()[5:] + ROW, False)])
def test_a_file_without_a_header_gets_advice(content: str, advised: bool) -> None:
    stage = Stage.model_validate(tomllib.loads(STAGE.format(options=APART)))
    report, _ = read_file(io.BytesIO(content.encode()), "a.csv", stage, Settings())
    assert report.rule == "missing_column" and report.reason
    assert report.reason.endswith("name the columns by header") == advised


@pytest.mark.parametrize(
    ("ph", "temp", "options", "expected"),
    [
        ("1.007,1", "40,5", "decimal = ','\nthousands = '.'", "1007.1 40.5"),
        ("1 007,1", "\u221240,5", "decimal = ','\nthousands = ' '", "1007.1 -40.5"),
        ("1'007.1", "1\u2019040", 'thousands = "\'"', "1007.1 1040.0"),
        ("n/a", "40", "missing = ['-', 'n/a']", "None 40.0"),
    ],
)
def test_numbers(ph: str, temp: str, options: str, expected: str) -> None:
    text = FILE.replace(",", ";").replace("7.1", ph).replace("40", temp)
    found = read(text, f"{APART}\ndelimiter = ';'\n{options}")
    assert found == [f"06 08:00 17 {expected}"]


@pytest.mark.parametrize(
    ("form", "stamp"),
    [
        ("iso", "2021-09-05T23:00:00Z"),
        ("iso", "2021-09-06 01:00:00.5+0200"),
        ("iso", "2021-09-06T08:00"),
        ("%d-%b-%Y %H:%M:%S", "06-SEP-2021 08:00:00"),
        ("%B %d, %Y %I:%M %p", "September 6, 2021 8:00 a.m."),
        ("%a %d.%m.%y %H.%M", "Mon 06.09.21 08.00"),
        ("%Y %j %H:%M", "2021 249 08:00"),
        ("%Y-%m-%d %H:%M:%S %Z", "2021-09-05 23:00:00 UTC"),
        ("%Y-%m-%dT%H:%M:%S.%f%z", "2021-09-06T08:00:00.5+0900"),
        ("%Y%m%d%H%M%S%f", "20210906080000123"),
        ("%Y년 %m월 %d일 %p %I:%M", "2021년 9월 6일 오전 8:00"),
        ("epoch", "1630882800"),
        ("epoch_ms", "1630882800123"),
        ("epoch_us", "1630882800123000"),
        ("excel", "44445.33334"),
        ("excel", "44445,33334"),
        ("siemens", "44445333334,3"),
    ],
)
def test_moments(form: str, stamp: str) -> None:
    options = f'timestamp = {{ column = "S", format = "{form}" }}\ndelimiter = ";"\ndecimal = ","'
    assert read(f"S;Lot;pH;Temp\n{stamp};17;7,1;40\n", options) == [FIRST]


@pytest.mark.parametrize("form", ["%Y-%j %H:%M", "%d-%b-%Y %H:%M"])
@pytest.mark.parametrize(
    "stamp", ["2021-366 08:00", "2021-0 08:00", "31-Feb-2021 08:00", "06-09-21"]
)
def test_moments_that_are_none(form: str, stamp: str) -> None:
    options = f'timestamp = {{ column = "S", format = "{form}" }}'
    assert read(f"S,Lot,pH,Temp\n{stamp},17,7.1,40\n", options) == ["time"]


@pytest.mark.parametrize(
    "time",
    [
        "오후 4:05:00",
        "4:05:00 오후",
        "午後4:05",
        "下午 04:05:00.0",
        "4:05 PM",
        "pm 4:05",
        "4:05 p.m.",
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_clocks(time: str, form: str) -> None:
    text = unicodedata.normalize(form, FILE.replace("08:00:00", time))
    found = read(text, f'{APART}\nclock = "12h"')
    assert found == ["06 16:05 17 7.1 40.0"]


def test_headings_of_other_languages_in_any_encoding() -> None:
    text = "日付,時刻,LOT,pH,Temp\n" + ROW.replace("08:00:00", "午前 8:00:00")
    options = 'time = "時刻"\nclock = "12h"\ndate = { column = "日付" }\n'
    for encoding in ("utf-8", "shift_jis", "utf-16"):
        assert read(text.encode(encoding), f'{options}encodings = ["utf-8", "shift_jis"]') == [
            FIRST
        ]
    assert read(unicodedata.normalize("NFD", text), options) == [FIRST]


@pytest.mark.parametrize("encodings", [["cp949"], ["shift_jis"], ["utf-16-le"], ["utf-8"]])
def test_a_mark_says_more_than_the_stage(encodings: list[str]) -> None:
    text = FILE.replace("Lot", "LOT").replace("pH", "가,pH").replace("17,", "17,가,")
    options = f"{APART}\nignore = '가'\nencodings = {encodings}"
    assert read(text.encode("utf-16"), options) == [FIRST]
    assert read(gzip.compress(text.encode("utf-16")), options) == [FIRST]
    below = f"{options}\ntable = {{ below = '^.Data.$' }}"
    assert read(f"[Data]\n{text}".encode("utf-16"), below) == [FIRST]


def test_utf_16_without_a_mark_that_the_stage_names() -> None:
    assert read(FILE.encode("utf-16-le"), f'{APART}\nencodings = ["utf-16-le"]') == [FIRST]
