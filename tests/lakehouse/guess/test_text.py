"""The form that is guessed of texts whose cells are mostly words, and of damaged ones."""

import io

import pytest

from lakehouse.guess.text import Table, guess_table

HEADER = "Day,Lot,Plant,Product,Remark,Link"
ROWS = [f'{n}.9.2021,{n},north,"Plate, {n} mm","thin, grey",a/{n}' for n in range(1, 9)]
INCHES = '9.9.2021,9,6" bath,"3 mm, grey",4 spots,a/9'


def guessed(*lines: str) -> Table | None:
    return guess_table(io.BytesIO("\n".join(lines).encode()))


def certain(*lines: str) -> Table:
    table = guessed(*lines)
    assert table is not None
    return table


def test_no_row_of_words_is_skipped_since_a_later_one_has_more_numbers() -> None:
    table = certain(HEADER, *ROWS, INCHES)
    assert (table.header, table.units, len(table.rows)) == (0, 0, 9)


@pytest.mark.parametrize(
    "header",
    [
        [],
        [HEADER.replace(",", " ")],
        [HEADER.replace(",", "", 1)],
        [HEADER.replace(",", ",,", 1)],
        [HEADER.replace("Lot", '"Lot')],
    ],
)
def test_a_row_is_not_taken_for_a_header_that_is_missing_or_damaged(header: list[str]) -> None:
    table = certain(*header, *ROWS, INCHES)
    assert (table.header, len(table.rows), table.damaged) == (-1, 9, "".join(header))
    assert len({*table.names}) == 6


MADE_UP = [f"column {n}" for n in range(1, 5)]
NUMBERS = [f"2021-09-06 08:00:0{n},17,7.{n},4{n}" for n in range(5)]


@pytest.mark.parametrize(
    ("header", "ends", "names"),
    [
        ("", "", MADE_UP),
        ("Time,Lot,pH,Temp,", "", ["Time", "Lot", "pH", "Temp"]),
        ("Time,Lot,pH,Temp", ",", ["Time", "Lot", "pH", "Temp", "column 5"]),
        ('Time,Lot,"pH,Temp', "", ["Time", "Lot", "pH", "Temp"]),
        ("Time Lot pH Temp", "", ["Time", "Lot", "pH", "Temp"]),
        ("Time;Lot;pH;Temp", "", ["Time", "Lot", "pH", "Temp"]),
        # Which column has no name, or which name no column, is not known.
        ("Time,Lot,pH", "", MADE_UP),
        ("Time,Lot,,pH,Temp", "", MADE_UP),
        ("Time,Lot,pH,Temp,Flow", "", MADE_UP),
        ("Time,Lot,pH,pH,", "", MADE_UP),
    ],
)
def test_the_names_of_a_damaged_header_are_taken_if_there_is_one_way(
    header: str, ends: str, names: list[str]
) -> None:
    table = certain(*filter(None, [header]), *(f"{row}{ends}" for row in NUMBERS))
    assert (table.names, table.header, table.damaged) == (names, -1, header)
    assert len(table.rows) == 5


@pytest.mark.parametrize(
    "lines",
    [
        ["2021-09-06, error 5", "see page 7 of the manual", "x", "y"],
        ["1,2", "3,4"],
        ["1,2", "a", "b", "c", "3,4", "d", "5,6"],
    ],
)
def test_lines_that_are_mostly_no_rows_are_no_table(lines: list[str]) -> None:
    assert guessed(*lines) is None


@pytest.mark.parametrize("damaged", [f'"{ROWS[0]}', ROWS[0].replace(",", "", 1), f"{ROWS[0]},"])
def test_a_damaged_row_below_the_header_is_not_skipped_as_units(damaged: str) -> None:
    table = certain(HEADER, damaged, *ROWS)
    assert (table.units, table.odd, len(table.rows)) == (0, 1, 8)


def test_units_and_comments_below_the_header_are_skipped() -> None:
    table = certain("Time,Lot,pH,mV", "s,,,mV", "of the PLC,,,", "1,17,7.1,3", "2,17,7.2,4")
    assert (table.header, table.units, len(table.rows)) == (0, 2, 2)


def test_a_title_in_the_first_of_several_cells_is_not_the_header() -> None:
    table = certain("Energy,,", ",,", "Bath,Water,Gas", "1,2,3", "2,3,4")
    assert (table.header, table.names) == (2, ["Bath", "Water", "Gas"])


def test_without_numbers_the_first_row_is_the_header() -> None:
    table = certain("Lot,Result", "A,good", "batch,time", "B,bad")
    assert (table.header, len(table.rows)) == (0, 3)


def test_a_quote_that_is_an_apostrophe_is_found_behind_a_delimiter() -> None:
    rows = [f"{n},'a, b {n}',operator's note" for n in range(5)]
    table = certain("Lot,Remark,Note", *rows)
    assert (table.quote, table.rows[0]) == ("'", ["0", "a, b 0", "operator's note"])
