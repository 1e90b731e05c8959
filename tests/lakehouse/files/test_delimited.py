"""Delimited text: what whole-file faults are found, and which cells come out of which line."""

import codecs
import csv
import hashlib
import io
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.errors import PlatelakeError
from lakehouse.files import cells, delimited
from lakehouse.files.cells import read_cells
from lakehouse.files.delimited import inspect
from lakehouse.files.layout import FileReport, Layout

ENCODINGS = ("utf-8", "cp949")
SENSOR = Layout(
    ",",
    ENCODINGS,
    {"lot": ("Lot", "LoT"), "time": ("Time",), "ph": ("pH",)},
    ignored=("Index",),
)
LISTS = Layout(",", ENCODINGS, {"date": ("0", "Date")}, ("1", "2", "LoT*"), ignored=("Index",))
CHANGED = "the file changed while it was read; run again once it is complete"

Row = tuple[int, list[str], str | None]


def look(content: bytes, layout: Layout = SENSOR) -> FileReport:
    return inspect(io.BytesIO(content), layout)


def fault_of(content: bytes, layout: Layout = SENSOR) -> tuple[str | None, str | None]:
    report = look(content, layout)
    assert report.sha256 == hashlib.sha256(content).hexdigest()
    return report.rule, report.reason


def read(stream: Any, report: FileReport, layout: Layout) -> list[Row]:
    schema = pa.schema(
        [("line", pa.int64()), ("cells", pa.list_(pa.string())), ("fault", pa.string())]
    )
    batches = list(read_cells(stream, report, layout))
    assert [batch.schema for batch in batches] == [schema] * len(batches)
    return [(row["line"], row["cells"], row["fault"]) for b in batches for row in b.to_pylist()]


def rows(content: bytes, layout: Layout = SENSOR) -> list[Row]:
    report = look(content, layout)
    assert (report.rule, report.reason) == (None, None)
    found = read(io.BytesIO(content), report, layout)
    assert len(found) == report.rows
    return found


class Stream:
    """A file that gives its parts one by one, and no more at once than is asked for."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self.all = parts
        self.seek(0)

    def seek(self, place: int) -> None:
        assert place == 0
        self.parts, self.rest = iter(self.all), b""

    def read(self, size: int) -> bytes:
        part = self.rest or next(self.parts, b"")
        self.rest = part[size:]
        return part[:size]


def in_pieces(content: bytes, size: int) -> Stream:
    return Stream([content[at : at + size] for at in range(0, len(content), size)])


TEXT = "Lot,Time,pH\n1,오후 1:00:00.0,2.0\n1,오후 1:00:05.0,2.1\n"
SOUND = [
    (2, ["1", "오후 1:00:00.0", "2.0"], None),
    (3, ["1", "오후 1:00:05.0", "2.1"], None),
]


@pytest.mark.parametrize(
    ("content", "encoding", "expected"),
    [
        pytest.param(TEXT.encode(), "utf-8", SOUND, id="UTF-8"),
        pytest.param(TEXT.encode("utf-8-sig"), "utf-8", SOUND, id="UTF-8 with BOM"),
        pytest.param(TEXT.encode("cp949"), "cp949", SOUND, id="cp949"),
        pytest.param(TEXT.replace("\n", "\r\n").encode(), "utf-8", SOUND, id="CRLF"),
        pytest.param(TEXT.replace("0\n", "0\r\n").encode(), "utf-8", SOUND, id="LF and CRLF"),
        pytest.param(TEXT.replace("\n", "\r\r\n").encode(), "utf-8", SOUND, id="CR CR LF"),
        pytest.param(TEXT.strip().encode(), "utf-8", SOUND, id="no final newline"),
        pytest.param(
            TEXT.replace("\n", "\r\n").encode("utf-8-sig")[:-1], "utf-8", SOUND, id="cut CRLF"
        ),
        pytest.param((TEXT + "\n\r\n \t\n\x0b\x0c").encode(), "utf-8", SOUND, id="blank at end"),
        pytest.param(
            TEXT.replace("\n", "\n\n").encode(),
            "utf-8",
            [(3, *SOUND[0][1:]), (5, *SOUND[1][1:])],
            id="blank lines between",
        ),
        pytest.param(
            ("\r\n \n" + TEXT).encode(),
            "utf-8",
            [(4, *SOUND[0][1:]), (5, *SOUND[1][1:])],
            id="blank lines before the header",
        ),
        pytest.param(
            b'"Lot",Time,"pH"\n1,2,3\n',
            "utf-8",
            [(2, ["1", "2", "3"], None)],
            id="quoted header",
        ),
        pytest.param(
            b" Lot ,Time,pH\t\n 1 , ,\n", "utf-8", [(2, [" 1 ", " ", ""], None)], id="spaces stay"
        ),
        pytest.param(
            b'Lot,Time,pH\n"1","a ""b"", c",""\n2,5" pipe,3\n',
            "utf-8",
            [(2, ["1", 'a "b", c', ""], None), (3, ["2", '5" pipe', "3"], None)],
            id="quoted cells",
        ),
        pytest.param(
            "Lot,Time,pH\n1,a\u2028b\x85c,2\n".encode(),
            "utf-8",
            [(2, ["1", "a\u2028b\x85c", "2"], None)],
            id="only LF ends a line",
        ),
    ],
)
def test_rows_of_a_sound_file(content: bytes, encoding: str, expected: list[Row]) -> None:
    report = look(content)
    assert report == FileReport(
        sha256=hashlib.sha256(content).hexdigest(),
        encoding=encoding,
        header=["Lot", "Time", "pH"],
        order=[0, 1, 2],
        rows=len(expected),
        first_line=report.first_line,
    )
    assert read(io.BytesIO(content), report, SENSOR) == expected


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        pytest.param("1,2", "2 cells where the header has 3", id="too few cells"),
        pytest.param("1", "1 cells where the header has 3", id="one cell"),
        pytest.param("1,2,3,4", "4 cells where the header has 3", id="too many cells"),
        pytest.param('1,"2,3', "1 cells where the header has 3", id="stray quote opens"),
        pytest.param('"1,2,3', "1 cells where the header has 3", id="stray quote at the start"),
        pytest.param('1,"2"x,3', "1 cells where the header has 3", id="text behind a quote"),
        pytest.param('1,"2,3",4,5', "4 cells where the header has 3", id="quoted, too many"),
        pytest.param('1,2,3\r"4",5,6', "1 cells where the header has 3", id="lone CR and a quote"),
        pytest.param("1,2,3\r4,5,6", "5 cells where the header has 3", id="lone CR"),
    ],
)
def test_a_torn_row_is_one_cell_with_its_line_and_swallows_no_other(line: str, fault: str) -> None:
    content = f"Lot,Time,pH\na,b,c\n\n{line}\r\nd,e,f\n".encode()
    assert rows(content) == [
        (2, ["a", "b", "c"], None),
        (4, [line], fault),
        (5, ["d", "e", "f"], None),
    ]


def test_a_quoted_line_break_is_two_torn_rows() -> None:
    assert rows(b'Lot,Time,pH\n1,"a\nb",2\n3,4,5\n') == [
        (2, ['1,"a'], "1 cells where the header has 3"),
        (3, ['b",2'], "2 cells where the header has 3"),
        (4, ["3", "4", "5"], None),
    ]


NUL = "{} of {} lines have a NUL byte; this is not text"
OTHER = "below another header, in line 3, with other columns: "


@pytest.mark.parametrize("size", [99, 100, 101])
def test_a_file_may_be_as_large_as_the_layout_says(size: int) -> None:
    layout = replace(SENSOR, max_file_bytes=100)
    content = b"Lot,Time,pH\n1,2,3\n" + b"4,5,6\n" * 11
    found = look(content + b"7,8," + b"9" * (size - len(content) - 4), layout)
    assert found.rule == ("file_too_large" if size > 100 else None)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        # How the rows are read that stand below: as lot, time, pH; or what their fault is.
        pytest.param("Lot,Time,pH", ["a", "b", "c"], id="the same"),
        pytest.param("pH,Lot,Time", ["b", "c", "a"], id="another order"),
        pytest.param("\ufeffpH, Time ,Lot\r", ["c", "b", "a"], id="mark, spaces, CRLF"),
        pytest.param('"pH","Time","Lot"', ["c", "b", "a"], id="quoted"),
        pytest.param("Lot,Time,Temp", OTHER + "Lot, Time, Temp", id="another column"),
        pytest.param("Lot,Time,pH,Temp", OTHER + "Lot, Time, pH, Temp", id="one more"),
        pytest.param("Lot,Time", OTHER + "Lot, Time", id="one fewer"),
        pytest.param("LoT,TIME,ph", ["a", "b", "c"], id="other capitals"),
        pytest.param("Charge,Time,pH", OTHER + "Charge, Time, pH", id="another name of the lot"),
        pytest.param("Index,Lot,x", OTHER + "Index, Lot, x", id="one needed, one ignored"),
        pytest.param("Lot,lot,x", ["a", "b", "c"], id="one name alone is no header"),
        pytest.param("pHx,Lots,Times", ["a", "b", "c"], id="parts of names"),
        pytest.param("Time,Time,Time", OTHER + "Time, Time, Time", id="a name three times"),
    ],
)
@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_rows_below_a_further_header(
    header: str, expected: list[str] | str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = f"Lot,Time,pH\n1,2,3\n{header}\na,b,c\na\n".encode()
    monkeypatch.setattr(cells, "BLOCK", block)
    first, its_header, below, torn = rows(content)
    assert first == (2, ["1", "2", "3"], None)
    assert (its_header[0], below[0], torn[:2]) == (3, 4, (5, ["a"]))
    if isinstance(expected, str):
        assert its_header[2] == below[2] == torn[2] == expected
        assert (its_header[1], below[1]) == ([header], ["a,b,c"])
    else:
        assert below[1:] == (expected, None)
        assert torn[2] == "1 cells where the header has 3"
    back = content + b"pH,Lot,Time\nc,a,b\n"
    assert rows(back)[-1] == (7, ["a", "b", "c"], None)


def test_an_index_is_no_header_of_a_list() -> None:
    content = b",0,1,2\n0,2021-09-06,1,2\n1,0,1,2\n"
    assert [row[1] for row in rows(content, LISTS)] == [
        ["2021-09-06", "1", "2", "0"],
        ["0", "1", "2", "1"],
    ]


def test_a_list_goes_on_below_a_further_header() -> None:
    content = b"Index,Date,LoT\n0,2021-09-06,1\nLoT,Date,Index\n2,2021-09-07,1\n"
    found = [row[1] for row in rows(content, LISTS)]
    assert [found[0], found[2]] == [["2021-09-06", "1", "0"], ["2021-09-07", "2", "1"]]


NO_TEXT = ("encoding", "header or most lines are not text in any of utf-8, cp949")
NO_PH = "no column pH; found: Lot, Time"
BLANK = ("empty_file", "the file has only blank lines")
LINE_ENDS = ("line_ends", "lines end in CR alone; save the file with LF or CRLF")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", ("empty_file", "the file has no bytes"), id="empty"),
        pytest.param(b" \r\n\n\t", BLANK, id="blank lines"),
        pytest.param(codecs.BOM_UTF8, BLANK, id="BOM alone"),
        pytest.param(codecs.BOM_UTF8 + b"\r\n", BLANK, id="BOM and a line's end"),
        pytest.param(
            b"Lot,Time,pH\r\n",
            ("header_only", "the file has a header and no row"),
            id="header only",
        ),
        pytest.param(
            b"Lot,Time,pH",
            ("header_only", "the file has a header and no row"),
            id="header only, no newline",
        ),
        pytest.param(
            b"Lot,Time,pH\n\n  \n",
            ("header_only", "the file has a header and no row"),
            id="header and blank lines",
        ),
        pytest.param(
            b"Lot,Time,pH\n1,2,\0\n", ("nul_bytes", NUL.format(1, 2)), id="NUL in half of the lines"
        ),
        pytest.param(
            b"\0Lot,Time,pH\n1,2,3\n1,2,3\n",
            ("nul_bytes", NUL.format(1, 3)),
            id="NUL in the header",
        ),
        pytest.param(
            TEXT.encode("utf-16-le"), ("nul_bytes", NUL.format(4, 4)), id="UTF-16 LE without BOM"
        ),
        pytest.param(
            TEXT.encode("utf-16-be"), ("nul_bytes", NUL.format(3, 3)), id="UTF-16 BE without BOM"
        ),
        pytest.param(
            b"Lot,Time,pH\n1,\xff\xfe,2\n",
            NO_TEXT,
            id="no known encoding in half of the lines",
        ),
        pytest.param(
            "Lot,Time,pH,오".encode()[:-1] + b"\n1,2,3,4\n" * 9,
            NO_TEXT,
            id="cut within a letter",
        ),
        pytest.param(
            b"Lot;Time;pH\n1;2;3\n",
            ("delimiter", "the delimiter is ';', not ','"),
            id="semicolons",
        ),
        pytest.param(
            b"Lot\tTime\tpH\n1\t2\t3\n",
            ("delimiter", "the delimiter is '\\t', not ','"),
            id="tabs",
        ),
        pytest.param(
            b"Lot|Time|pH;x\n1|2|3\n",
            ("delimiter", "the delimiter is ';', not ','"),
            id="two strange delimiters",
        ),
        pytest.param(
            b"Lot,Time,pH2\n1,2,3\n",
            ("missing_column", NO_PH + ", pH2"),
            id="renamed column",
        ),
        pytest.param(b"Lot,Time\n1,2\n", ("missing_column", NO_PH), id="missing column"),
        pytest.param(
            b"Index,Time\n1,2\n",
            ("missing_column", "no column Lot or LoT; no column pH; found: Index, Time"),
            id="two missing columns",
        ),
        pytest.param(
            b"1,2,3\n4,5,6\n",
            (
                "missing_column",
                "no column Lot or LoT; no column Time; no column pH; found: 1, 2, 3; that looks "
                "like a row: if the files have no header, name the columns by header",
            ),
            id="no header",
        ),
        pytest.param(
            b'"Lot,Time,pH\n1,2,3\n',
            (
                "missing_column",
                'no column Lot or LoT; no column Time; no column pH; found: "Lot,Time,pH',
            ),
            id="stray quote in the header",
        ),
        pytest.param(
            b"Lot,Time,pH,Time,pH\n1,2,3,4,5\n",
            ("header", "column Time, pH stands twice in the header"),
            id="names twice",
        ),
        pytest.param(
            b"Lot,Time,pH\r1,2,3\r4,5,6\r",
            LINE_ENDS,
            id="CR alone",
        ),
        pytest.param(b"Lot,Time,pH,x\r1,2,3\n4,5,6,7\n", LINE_ENDS, id="CR behind the header"),
        pytest.param(
            b"Lot,Time,pH\n1,2," + b"3" * (1 << 20) + b"\n4,5,6\n",
            ("line_too_long", "a line is longer than 1048576 bytes"),
            id="a long line within",
        ),
        pytest.param(
            b"Lot,Time,pH\n1,2," + b"3" * (1 << 20),
            ("line_too_long", "a line is longer than 1048576 bytes"),
            id="a long line at the end",
        ),
    ],
)
def test_whole_file_faults(content: bytes, expected: tuple[str, str]) -> None:
    assert fault_of(content) == expected


@pytest.mark.parametrize("length", [99, 100, 101])
def test_a_line_may_be_as_long_as_the_layout_says(length: int) -> None:
    layout = replace(SENSOR, max_line_bytes=100)
    content = b"Lot,Time,pH\n1,2," + b"3" * (length - 4) + b"\n4,5,6\n"
    assert look(content, layout).rule == ("line_too_long" if length > 100 else None)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param(
            "Lot,Time,pH", (["Lot", "Time", "pH"], ["a", "b", "c"], None), id="as the layout"
        ),
        pytest.param(
            "LoT,Time,pH", (["LoT", "Time", "pH"], ["a", "b", "c"], None), id="another name"
        ),
        pytest.param(
            "LoT,Lot,Time,pH",
            (["Lot", "Time", "pH", "LoT"], ["b", "c", "d", "a"], "extra columns: LoT"),
            id="both names: the first that the layout says",
        ),
        pytest.param(
            "pH,Lot,Time",
            (["Lot", "Time", "pH"], ["b", "c", "a"], None),
            id="another order",
        ),
        pytest.param(
            "Index,Lot,Time,pH",
            (["Lot", "Time", "pH", "Index"], ["b", "c", "d", "a"], None),
            id="an ignored column is no news",
        ),
        pytest.param(
            "Lot,Note,Time,pH,Index",
            (
                ["Lot", "Time", "pH", "Note", "Index"],
                ["a", "c", "d", "b", "e"],
                "extra columns: Note",
            ),
            id="an extra column",
        ),
        pytest.param(
            "pH,b,Lot,a,Time",
            (
                ["Lot", "Time", "pH", "b", "a"],
                ["c", "e", "a", "b", "d"],
                "extra columns: b, a",
            ),
            id="another order and extra columns",
        ),
        pytest.param(
            "Lot,,Time,pH,",
            (
                ["Lot", "Time", "pH", "column 2", "column 5"],
                ["a", "c", "d", "b", "e"],
                "extra columns: column 2, column 5",
            ),
            id="columns without a name",
        ),
    ],
)
def test_columns_are_found_by_name(
    header: str, expected: tuple[list[str], list[str], str | None]
) -> None:
    cells = "abcde"[: len(header.split(","))]
    content = f"{header}\n{','.join(cells)}\n{cells}\n".encode()
    report = look(content)
    [(_, found, fault), (_, torn, _)] = rows(content)
    assert (report.header, found, report.note) == expected
    assert (report.rule, report.grouped, fault, torn) == (None, 0, None, [cells])


TWELVE = [f"LoT{n}" for n in range(1, 13)]


@pytest.mark.parametrize(
    ("header", "layout", "expected", "grouped", "note"),
    [
        pytest.param("0,1,2", LISTS, ["0", "1", "2"], 2, None, id="0,1,2"),
        pytest.param("Index,Date,LoT", LISTS, ["Date", "LoT", "Index"], 1, None, id="LoT"),
        pytest.param(
            "Index,Date,LoT,LoT2", LISTS, ["Date", "LoT", "LoT2", "Index"], 2, None, id="LoT, LoT2"
        ),
        pytest.param(
            ",".join(["Date", *TWELVE]), LISTS, ["Date", *TWELVE], 12, None, id="twelve lots"
        ),
        pytest.param(
            "LoT2,Date,by,LoT1",
            LISTS,
            ["Date", "LoT2", "LoT1", "by"],
            2,
            "extra columns: by",
            id="another order and an extra column",
        ),
        pytest.param(
            "Index,Date,x,y",
            replace(LISTS, group=("*",)),
            ["Date", "x", "y", "Index"],
            2,
            None,
            id="* takes neither needed nor ignored columns",
        ),
        pytest.param(
            "Date,Lot[1],Lot1",
            replace(LISTS, group=("Lot[1]",)),
            ["Date", "Lot[1]", "Lot1"],
            1,
            "extra columns: Lot1",
            id="only * is special",
        ),
        pytest.param(
            "Date,aLoT,a1,1a",
            replace(LISTS, group=("1*", "*LoT")),
            ["Date", "aLoT", "1a", "a1"],
            2,
            "extra columns: a1",
            id="whole names match",
        ),
    ],
)
def test_columns_of_a_group(
    header: str, layout: Layout, expected: list[str], grouped: int, note: str | None
) -> None:
    names = header.split(",")
    content = f"{header}\n{header}\n".encode()
    report = look(content, layout)
    assert (report.header, report.grouped, report.note) == (expected, grouped, note)
    assert [names[at] for at in report.order] == expected
    assert rows(content, layout) == [(2, expected, None)]


def test_a_group_without_a_column_is_a_missing_column() -> None:
    assert fault_of(b"Date,Charge\n1,2\n", LISTS) == (
        "missing_column",
        "no column 1 or 2 or LoT*; found: Date, Charge",
    )


def test_other_delimiters_are_read_where_the_layout_says_so() -> None:
    layout = replace(SENSOR, delimiter=";")
    assert rows(b'Lot;Time;pH\n1;"a;b";2,5\n', layout) == [(2, ["1", "a;b", "2,5"], None)]
    assert fault_of(TEXT.encode(), layout) == ("delimiter", "the delimiter is ',', not ';'")


def test_the_first_encoding_that_fits_counts() -> None:
    ascii_only = b"Lot,Time,pH\n1,2,3\n"
    assert look(ascii_only).encoding == "utf-8"
    assert look(ascii_only, replace(SENSOR, encodings=("cp949", "utf-8"))).encoding == "cp949"


def test_lines_are_decoded_one_by_one_only_where_no_encoding_fits_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delimited, "_count_undecoded", lambda *_: pytest.fail("a second pass"))
    for encoding in ENCODINGS:
        assert look(TEXT.encode(encoding)).encoding == encoding


TORN_REASON = "bytes that are no text in {}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
@pytest.mark.parametrize("block", [1, 40, 1 << 20])
def test_a_line_torn_within_a_letter_costs_that_line_alone(
    encoding: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "BLOCK", block)
    plain = "utf-8" if encoding.startswith("utf-8") else encoding
    cut = b"1," + "오".encode(plain)[:-1]
    content = TEXT.encode(encoding) + cut + b"\n" + "1,오후,3".encode(plain)
    report = inspect(in_pieces(content, block), SENSOR)
    assert (report.rule, report.encoding, report.rows) == (None, plain, 4)
    found = read(io.BytesIO(content), report, SENSOR)
    raw = cut.decode(plain, "backslashreplace")
    assert "\\x" in raw
    assert found == [*SOUND, (4, [raw], TORN_REASON.format(plain)), (5, ["1", "오후", "3"], None)]


def test_a_torn_row_with_the_right_number_of_cells_is_torn() -> None:
    content = TEXT.encode() + b"1,\xec\x98,2.0\n"
    assert rows(content)[2] == (4, ["1,\\xec\\x98,2.0"], TORN_REASON.format("utf-8"))


def test_the_encoding_with_the_fewest_torn_lines_counts() -> None:
    """Two lines of Korean text in cp949, one in UTF-8, among more that are the same in both."""
    lines = ["1,a,2"] * 5 + ["1,오후 도금,2"] * 2
    content = "\n".join(["Lot,Time,pH", *lines]).encode("cp949") + "\n1,오,3".encode()
    report = look(content)
    assert report.encoding == "cp949"
    assert [fault for _, _, fault in rows(content)].count(TORN_REASON.format("cp949")) == 1
    # With a byte order mark there is no doubt.
    marked = look(codecs.BOM_UTF8 + content)
    assert marked.encoding == "utf-8"
    both = codecs.BOM_UTF8 + "Lot,Time,pH\n1,±,2\n1,±,2\n".encode() + "1,가,2".encode("cp949")
    assert both.decode("cp949")
    assert look(both).encoding == "utf-8"
    assert look(both, replace(SENSOR, encodings=("cp949",))).encoding == "cp949"


def test_messages_show_no_more_names_than_a_person_reads() -> None:
    names = [f"x{n}" + "x" * 1000 for n in range(1000)]
    rule, reason = fault_of((",".join(names) + "\n1\n").encode())
    shown = ", ".join(name[:80] for name in names[:20])
    assert rule == "missing_column"
    assert reason is not None
    assert reason.endswith(f"; found: {shown}, …")


@pytest.mark.parametrize("layout", [SENSOR, replace(LISTS, group=("c*",))])
def test_a_header_of_half_a_million_columns_takes_seconds_at_most(layout: Layout) -> None:
    header = b"Lot,Time,pH,Date,c" + b"," * 500_000
    started = time.process_time()
    report = look(header + b"\n1,2,3\n", layout)
    assert time.process_time() - started < 10
    assert (report.rule, len(report.header)) == (None, 500_005)


def peak(work: Any) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("before", [b"", b"Lot,Time,pH\n1,2,3\n"], ids=["alone", "behind rows"])
def test_a_line_of_100_mb_is_refused_in_bounded_memory(before: bytes) -> None:
    part = b"7" * (1 << 20)
    found: list[FileReport] = []

    def parts() -> Iterator[bytes]:
        yield before
        yield from [part] * 100

    stream = Stream([part for part in parts() if part])
    assert peak(lambda: found.append(inspect(stream, SENSOR))) < 16 << 20
    digest = hashlib.sha256(before)
    for _ in range(100):
        digest.update(part)
    assert (found[0].rule, found[0].sha256) == ("line_too_long", digest.hexdigest())


def test_rows_are_read_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "BLOCK", 1 << 14)
    line = b"1,2,3\n"
    content = b"Lot,Time,pH\n" + line * 150_000
    report = look(content)
    count = 0

    def drain() -> None:
        nonlocal count
        for batch in read_cells(io.BytesIO(content), report, SENSOR):
            count += batch.num_rows

    assert peak(drain) < 6 << 20
    assert count == report.rows == 150_000


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(TEXT.replace("2.1", "2.2").encode(), id="another number"),
        pytest.param(TEXT.encode() + b"1,2,3\n", id="a row more"),
        pytest.param(TEXT.encode()[:-8], id="cut"),
        pytest.param(b"", id="emptied"),
        pytest.param(b"Lot,Time,pH\n\xff\xfe,2,3\n", id="another encoding"),
    ],
)
def test_a_file_that_changes_between_the_passes_is_an_error(later: bytes) -> None:
    report = look(TEXT.encode())
    with pytest.raises(PlatelakeError) as error:
        read(io.BytesIO(later), report, SENSOR)
    assert str(error.value) == CHANGED


def test_a_file_that_becomes_one_endless_line_is_an_error_in_bounded_memory() -> None:
    report = look(TEXT.encode())

    def attempt() -> None:
        stream = Stream([b"7" * (1 << 20)] * 100)
        with pytest.raises(PlatelakeError, match="changed while it was read"):
            read(stream, report, SENSOR)

    assert peak(attempt) < 16 << 20


PLAIN = st.text(alphabet="07a.- \t;가힣오후±", max_size=6)
QUOTED = st.text(alphabet='07, "가\t', max_size=6).map(lambda cell: cell + ",")
CELLS = st.lists(PLAIN | QUOTED, min_size=4, max_size=4)
TORN = st.lists(PLAIN, max_size=7).filter(lambda cells: len(cells) != 4).map(",".join)
STRAY = st.text(alphabet='",0 가', max_size=12)
BLANK_LINE = st.sampled_from(["", " ", "\t ", "\x0b", "\x0c"])
END = st.sampled_from(["\n", "\r\n"])


def written(cells: list[str]) -> str:
    """A line of those cells, quoted where they need it."""
    return ",".join(
        '"' + cell.replace('"', '""') + '"' if '"' in cell or "," in cell else cell
        for cell in cells
    )


def outside_of_quoted_cells(line: str) -> int:
    """How many quotes stand outside of quoted cells, by walking through the line."""
    count, at = 0, 0
    while at < len(line):
        start = at
        while line[at : at + 1] == " ":
            at += 1
        end = at + 1
        if line[at : at + 1] == '"':
            while end < len(line) and (line[end] != '"' or line[end : end + 2] == '""'):
                end += 2 if line[end] == '"' else 1
            if end < len(line) and line[end + 1 : end + 2] in ("", ","):
                at = end + 2
                continue
        next_cell = line.find(",", start)
        next_cell = len(line) if next_cell < 0 else next_cell
        count += line[start:next_cell].count('"')
        at = next_cell + 1
    return count


def as_row(at: int, line: str) -> list[Row]:
    """What a line of four columns is on its own, by Python's csv; nothing where it is blank."""
    try:
        if outside_of_quoted_cells(line) > 1:
            raise csv.Error
        found = list(csv.reader([line], strict=True))
        if any(cell.startswith(" ") and cell.lstrip(" ").startswith('"') for cell in found[0]):
            found = list(csv.reader([line], strict=True, skipinitialspace=True))
    except csv.Error:
        found = [[line]]
    if not line.strip(" \t\r\n\v\f"):
        return []
    [cells] = found
    if len(cells) != 4:
        return [(at, [line], f"{len(cells)} cells where the header has 4")]
    return [(at, [cells[0], cells[3], cells[1], cells[2]], None)]


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, list[Row]]:
    """The bytes of a file, and the rows that it was made of."""
    lines = ["Lot,pH,비고,Time", "1,2,3,4"]
    lines += draw(st.lists(CELLS.map(written) | TORN | STRAY | BLANK_LINE, max_size=12))
    text = "".join(line + draw(END) for line in lines)
    text = text[: len(text) - draw(st.integers(0, 2))]  # Also without the last line's end.
    kept = text.replace("\r\n", "\n").split("\n")
    expected = [row for at, line in enumerate(kept[1:], 2) for row in as_row(at, line.rstrip("\r"))]
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "cp949"]))), expected


@settings(max_examples=150, deadline=None)
@given(files(), st.integers(1, 80), st.integers(1, 200))
def test_both_passes_give_the_rows_that_were_written(
    made: tuple[bytes, list[Row]], block: int, piece: int
) -> None:
    content, expected = made
    report = inspect(in_pieces(content, piece), SENSOR)
    assert (report.rule, report.rows) == (None, len(expected))
    assert report == look(content)
    assert read(io.BytesIO(content), report, SENSOR) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "BLOCK", block)
        assert read(io.BytesIO(content), report, SENSOR) == expected
        assert read(in_pieces(content, piece), report, SENSOR) == expected


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", TEXT.encode(), b"Lot,Time,pH\n"]))
def test_any_bytes_are_either_refused_or_read_to_the_last_row(tail: bytes, head: bytes) -> None:
    content = head + tail
    report = look(content)
    if report.rule is None:
        found = read(io.BytesIO(content), report, SENSOR)
        assert len(found) == report.rows
        assert all((len(cells) == len(report.header)) is (f is None) for _, cells, f in found)


def test_a_nul_byte_costs_its_line_alone() -> None:
    content = b"Lot,Time,pH\n" + b"1,2,3\n" * 4 + b"1,\0,3\n1,2,3\n"
    found = rows(content)
    assert [fault for _, _, fault in found] == [None] * 4 + [TORN_REASON.format("utf-8"), None]
    assert found[4][1] == ["1,\\x00,3"]


FOUND = replace(SENSOR, find_header=True)
UNITS = replace(SENSOR, skip_after_header=1)
NO_PH_NEEDED = replace(SENSOR, optional=frozenset({"ph"}))


@pytest.mark.parametrize(
    ("text", "layout", "expected"),
    [
        pytest.param("TOA5,CR1000\n\nLot,Time,pH\n1,2,3\n", FOUND, [(4, "123")], id="preamble"),
        pytest.param("sep=;\nLot;Time;pH\n1;2;3\n", SENSOR, [(3, "123")], id="sep="),
        pytest.param(
            "Lot,Time,pH\n,h,-\n1,2,3\n",
            replace(SENSOR, skip_after_header=1),
            [(3, "123")],
            id="units",
        ),
        pytest.param(
            "Bath,,Bath\nLot,Time,pH\n1,2,3\n",
            replace(SENSOR, header_rows=2, fields={"lot": ("Bath Lot",), "ph": ("bath ph",)}),
            [(3, "132")],
            id="two header rows",
        ),
        pytest.param(
            "# made by x\nLot,Time,pH\n1,2,3\n# pause\n4,5,6\nTotal,7\n",
            replace(SENSOR, ignore_lines=("^#", "^Total")),
            [(3, "123"), (5, "456")],
            id="comments and a sum",
        ),
        pytest.param(
            "Lot;'Time';pH\n1;'2;5';3\n",
            replace(SENSOR, delimiter=";", quote="'"),
            [(2, "12;53")],
            id="quote",
        ),
        pytest.param(
            "Time,Lot\n2,1\n",
            replace(SENSOR, optional=frozenset({"ph"})),
            [(2, "12")],
            id="optional",
        ),
        pytest.param(
            'LOT, "time",  pH\n1, "2",3\n',
            SENSOR,
            [(2, "123")],
            id="capitals, blanks before quotes",
        ),
        pytest.param(
            "Lot,Unit,Time,Unit,pH\n1,h,2,-,3\n",
            replace(SENSOR, ignored=("Unit",)),
            [(2, "123h-")],
            id="an ignored column twice",
        ),
    ],
)
def test_forms_of_a_file(text: str, layout: Layout, expected: list[tuple[int, str]]) -> None:
    found = rows(text.encode(), layout)
    assert [fault for _, _, fault in found] == [None] * len(expected)
    assert [(line, "".join(filter(None, some))) for line, some, _ in found] == expected


def test_an_optional_column_that_a_file_lacks_is_null() -> None:
    layout = replace(SENSOR, optional=frozenset({"time"}))
    report = look(b"pH,Lot\n2.1,17\n", layout)
    assert (report.header, report.order) == (["Lot", "Time", "pH"], [1, -1, 0])
    assert report.note == "without column Time"
    assert rows(b"pH,Lot\n2.1,17\nLot,pH\n18,2.2\n", layout)[2][1] == ["18", None, "2.2"]


OPTIONAL = replace(SENSOR, has_numbers=True, optional=frozenset({"ph"}))


@pytest.mark.parametrize(
    ("first", "second", "row", "expected"),
    [
        ("Lot,Time", "pH,Lot,Time", "7,1,2", ["1", "2", "7"]),
        ("Lot,Time,pH", "Time,Lot", "2,1", ["1", "2", None]),
        ("Lot,Time,pH", "LoT,Time,Index,pH", "1,2,9,7", ["1", "2", "7"]),
        ("Lot,Time,Index,pH", "Time,LOT,pH", "2,1,7", ["1", "2", "7", None]),
    ],
)
def test_a_second_header_with_or_without_a_column_that_is_not_needed(
    first: str, second: str, row: str, expected: list[str | None]
) -> None:
    filled = ",".join("1" * len(first.split(",")))
    found = rows(f"{first}\n{filled}\n{second}\n{row}\n1\n".encode(), OPTIONAL)
    assert [fault for _, _, fault in found[:3]] == [None] * 3
    assert found[2] == (4, expected, None)
    width = len(second.split(","))
    assert found[3] == (5, ["1"], f"1 cells where the header has {width}")


@pytest.mark.parametrize("second", ["Lot,pH", "Lot,Time,pH,Flow", "Lot,Time,pH,Lot"])
def test_a_second_header_of_another_table(second: str) -> None:
    found = rows(f"Lot,Time\n1,2\n{second}\n1,2\n".encode(), OPTIONAL)
    assert [bool(fault) for _, _, fault in found] == [False, True, True]


def test_a_header_that_is_not_first_is_named() -> None:
    rule, reason = fault_of(b"made by x\nLot,Time,pH\n1,2,3\n")
    assert rule == "missing_column"
    assert reason and reason.endswith("; line 2 has all columns: set find_header = true")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Lot;Time;pH\n1;2;7,1\n", True),
        ("Lot;Time;pH\n1;2;7.1\n", False),
        ("Lot;Time;pH\n1;08:00:03,5;7.1\n", False),
        ('Lot;Time;pH\n1;2;"7,1"\n', True),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 100])
def test_decimal_commas_are_seen(text: str, expected: bool, piece: int) -> None:
    layout = replace(SENSOR, delimiter=";", has_numbers=True)
    assert inspect(in_pieces(text.encode(), piece), layout).mixes_notations is expected
    comma = text.replace(";", ",") if '"' in text else "Lot,Time,pH\n1,2,7.1\n"
    found = look(comma.encode(), replace(SENSOR, has_numbers=True))
    assert found.mixes_notations is ('"' in text)


def test_a_missing_delimiter_before_a_quoted_cell_makes_the_row_malformed() -> None:
    found = rows(b'Lot,Time,pH\n1"a,b",2\n1,5" pipe,2\n')
    assert [(some, fault is None) for _, some, fault in found] == [
        (['1"a,b",2'], False),
        (["1", '5" pipe', "2"], True),
    ]


TABLES = b"[Limits]\nLot,Time,pH\n1,2,3\n[Data]\nLot,Time,pH\n4,5,6\n7,8\n\n9,9,9\n"


@pytest.mark.parametrize(
    ("table", "below", "lines"),
    [
        ("first", None, [3]),
        ("first", r"^\[data\]|^\[Data\]", [6, 7]),
        (None, None, [3, 4, 5, 6, 7, 9]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_one_of_several_tables(
    table: str | None, below: str | None, lines: list[int], encoding: str
) -> None:
    layout = replace(SENSOR, find_header=True, table=table, below=below)
    content = TABLES.decode().encode(encoding)
    assert [line for line, _, _ in rows(content, layout)] == lines
    note = look(content, layout).note or ""
    assert ("below the table are not read" in note) == (table is not None)


@pytest.mark.parametrize(
    ("table", "below", "reason"),
    [
        ("refuse", None, "another table begins in or below line 4"),
        ("first", "^Data", "no line looks like ^Data, the title of the table"),
        ("first", "Time", "lines 2 and 5 look like Time, the title of the table"),
    ],
)
def test_a_file_without_exactly_that_table(table: str, below: str | None, reason: str) -> None:
    layout = replace(SENSOR, find_header=True, table=table, below=below)
    assert fault_of(TABLES, layout) == ("table", reason)


@pytest.mark.parametrize("end", [b"", b"\n\n", b",,\n,,\n", b' , ,""\n'])
def test_blank_rows_are_no_other_table(end: bytes) -> None:
    layout = replace(SENSOR, table="refuse")
    assert [line for line, _, _ in rows(b"Lot,Time,pH\n\n1,2,3\n" + end, layout)] == [3]
