"""Small files that are read together: the same rows as each by itself, whatever they hold."""

import io
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.errors import PlatelakeError
from lakehouse.files.cells import read_cells, with_file
from lakehouse.files.delimited import inspect
from lakehouse.files.layout import Layout
from lakehouse.files.small_files import SMALL, Small, in_runs, read_together
from tests.lakehouse.files.test_delimited import SENSOR, files

BARE = replace(SENSOR, header=("Lot", "Time", "pH"))
COMMENTS = replace(SENSOR, ignore_lines=("^#",))


def small(contents: list[bytes], layout: Layout = SENSOR) -> list[Small]:
    found = [
        (f"{at}.csv", one, inspect(io.BytesIO(one), layout)) for at, one in enumerate(contents)
    ]
    return [Small(*one) for one in found if one[2].rule is None]


def one_by_one(some: list[Small], layout: Layout = SENSOR) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for file, content, report in some:
        for batch in read_cells(io.BytesIO(content), report, layout):
            rows += with_file(batch, file).to_pylist()
    return rows


def together(some: list[Small], layout: Layout = SENSOR) -> tuple[list[dict[str, object]], int]:
    """The rows as they are read in runs, and how many files were read with others."""
    rows: list[dict[str, object]] = []
    joined = 0
    for run in in_runs(((one, len(one.content), one.report) for one in some), layout):
        batch = read_together(run, layout)
        joined += 0 if batch is None else len(run)
        rows += one_by_one(run, layout) if batch is None else batch.to_pylist()
    return rows, joined


HEADS = st.sampled_from(
    [
        b"\xef\xbb\xbf1,2,3\n",
        b"1,2,3\n",
        b"Lot,pH,Time\n",
        b"Lot,Time,pH\r\n",
        b"\xef\xbb\xbfLot,Time,pH\n",
    ]
)
TAILS = st.binary(max_size=60) | st.sampled_from(
    [
        b"1,2,3",
        b"1,2,3\n",
        b"#1,2,3\n4,5,6\n",
        b"Lot,Time,pH\n7,8,9\n",
        b'"1",2,3\n',
        b"",
        b"1,\0,3\n",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(HEADS, st.lists(TAILS, max_size=3)), max_size=6), st.booleans())
def test_any_bytes_give_the_same_rows(
    made: list[tuple[bytes, list[bytes]]], comments: bool
) -> None:
    layout = COMMENTS if comments else SENSOR
    some = small([head + b"".join(tails) for head, tails in made], layout)
    assert together(some, layout)[0] == one_by_one(some, layout)


@settings(max_examples=100, deadline=None)
@given(st.lists(files(), max_size=6))
def test_plant_like_files_give_the_same_rows(made: list[tuple[bytes, object]]) -> None:
    some = small([content for content, _ in made])
    assert together(some)[0] == one_by_one(some)


def test_files_that_look_alike_are_read_together() -> None:
    plain = [b"Lot,Time,pH\n1,2,%d\n" % at for at in range(5)]
    other = [b"Lot,pH,Time\n1,2,3\n"]
    further = [b"Lot,Time,pH\n1,2,3\nLot,pH,Time\n4,5,6\n"]
    large = [b"Lot,Time,pH\n" + b"1,2,3\n" * (SMALL // 6 + 1)]
    assert together(small(plain + other))[1] == 6
    assert together(small(plain + further))[1] == 0  # Read by themselves, and no row is lost.
    runs = in_runs(
        ((one.file, len(one.content), one.report) for one in small(plain + large + plain)), SENSOR
    )
    assert [len(run) for run in runs] == [5, 1, 5]


def test_a_file_that_changed_meanwhile_ends_the_run() -> None:
    first, second = small([b"Lot,Time,pH\n1,2,3\n", b"Lot,Time,pH\n4,5,6\n"])
    changed = second._replace(content=b"Lot,Time,pH\n4,5,7\n")
    with pytest.raises(PlatelakeError, match=r"1\.csv: the file changed"):
        read_together([first, changed], SENSOR)


def test_the_rows_have_the_schema_of_one_file() -> None:
    some = small([b"Lot,Time,pH\n1,2,3\n", b"Lot,Time,pH\n"])
    batch = read_together(some[:1] * 2, SENSOR)
    alone = with_file(
        next(read_cells(io.BytesIO(some[0].content), some[0].report, SENSOR)), "0.csv"
    )
    assert isinstance(batch, pa.RecordBatch) and batch.schema == alone.schema


def test_the_mark_of_a_file_without_a_header_is_no_part_of_its_first_cell() -> None:
    some = small([b"\xef\xbb\xbf1,2,3\n4,5,6\n", b"\xef\xbb\xbf7,8,9\n"], BARE)
    rows, joined = together(some, BARE)
    assert joined == 2 and [row["cells"] for row in rows] == [list("123"), list("456"), list("789")]
