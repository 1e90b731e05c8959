"""Guess the form of a text file: encoding, delimiter, header, lines around the table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import IO

from lakehouse.files.delimited import decodes
from lakehouse.files.headers import LETTER, split_cells
from lakehouse.files.opened import opened
from lakehouse.files.text_form import Form, SheetsError
from lakehouse.forms import AM, PM

HEAD = 1 << 20
"""Bytes that are looked at."""
LINES = 500
"""Lines that are looked at."""
LEAST_ROWS = 3
"""Rows that make a table of lines without a header."""
ENCODINGS = ("utf-8", "cp949", "shift_jis", "gb18030", "cp1252")
LETTERS = {"cp949": "[가-힣]", "shift_jis": "[ぁ-んァ-ヶ]", "gb18030": "[\u4e00-\u9fff]"}
"""Letters that show that text is in the language of the encoding."""
DELIMITERS = ",;\t|"
KNOWN = re.compile(
    r"(?i)time|date|stamp|\blot|batch|temp|zeit|datum|시각|날짜|일시|로트|日付|時刻|时间"
)
VALUE = re.compile(rf"(?i)\s*(?:{AM}|{PM})?\s*[+-\u2212]?[.,]?\d")


@dataclass(frozen=True)
class Table:
    """A text file's form, and its first rows.

    `header` is the place of the header among the lines that are not blank, -1 if there is none and
    `names` are made up or taken from `damaged`, a line that has not a name for each column. `units`
    is the number of lines below the header that are not data, `above` the first of the lines above.
    """

    encoding: str
    delimiter: str
    quote: str
    names: list[str]
    rows: list[list[str]]
    header: int
    units: int
    above: str
    odd: int
    """Lines below the header with another number of cells."""
    damaged: str = ""
    sheet: str = ""
    """Its sheet, if an Excel file has several with cells."""

    def is_like(self, other: Table) -> bool:
        """Return whether both have the same columns and sheet, with or without a header."""
        same_place = (self.header < 0, self.sheet) == (other.header < 0, other.sheet)
        return self.names == other.names and same_place

    def column(self, name: str) -> list[str]:
        """Return the cells of that column, trimmed."""
        at = self.names.index(name)
        return [row[at].strip() for row in self.rows]


def guess_tables(stream: IO[bytes]) -> list[Table]:
    """Return the form of a file's table, or of each sheet's if several sheets have cells.

    Raises FormatError if an archive or a sheet cannot be read.
    """
    try:
        found = [guess_table(stream)]
    except SheetsError as error:
        found = []
        for sheet in error.sheets:
            stream.seek(0)
            table = guess_table(stream, sheet)
            found.append(table and replace(table, sheet=sheet))
    return [table for table in found if table and table.rows]


def guess_table(stream: IO[bytes], sheet: str | None = None) -> Table | None:
    """Return the form of a text file; None if it has no line with two cells.

    Raises FormatError if an archive or a sheet cannot be read.
    """
    text, sha256 = opened(stream, Form(",", ENCODINGS, sheet, HEAD))
    content = text.read(HEAD)
    if sha256:
        text.close()
    if len(content) == HEAD:  # The last line is cut.
        content = content[: content.rfind(b"\n") + 1] or content
    encoding = guess_encoding(content)
    decoded = content.decode(encoding, "replace").removeprefix("\ufeff")
    lines = [line.rstrip("\r") for line in decoded.split("\n") if line.strip()][:LINES]
    if lines and re.match("(?i)^sep=.$", lines[0].strip(" ")):
        lines = lines[1:]
    delimiter, quote = _delimiter(lines)
    if not delimiter:
        return None
    cells = [split_cells(line, delimiter, quote) for line in lines]
    width = _width(cells)
    places = _places_of_values(cells, width)
    header = _header(cells, width, places)
    if header is None:
        return _without_header(encoding, delimiter, quote, lines, cells, places)
    below = cells[header + 1 :]
    units = next((at for at, row in enumerate(below) if _is_row(row, width, places)), 0)
    data = [row for row in below[units:] if len(row) == width]
    return Table(
        encoding=encoding,
        delimiter=delimiter,
        quote=quote,
        names=[name.strip() for name in cells[header]],
        rows=data,
        header=header,
        units=units,
        above=lines[0] if header else "",
        odd=len(below) - units - len(data),
    )


def _without_header(
    encoding: str,
    delimiter: str,
    quote: str,
    lines: Sequence[str],
    cells: Sequence[Sequence[str]],
    places: Sequence[int],
) -> Table | None:
    """Return the form of a file whose rows begin in its first line, or below a damaged header.

    None if most lines are no such rows.
    """
    width = _width(cells)
    rows = [list(row) for row in cells if len(row) == width and _is_data(row, places)]
    if not places or len(rows) < LEAST_ROWS or 2 * len(rows) < len(cells):
        return None
    first = next(at for at, row in enumerate(cells) if len(row) == width and _is_data(row, places))
    damaged = lines[0] if first == 1 else ""
    names = _mended(damaged, delimiter, quote, rows) or [f"column {at + 1}" for at in range(width)]
    odd = len(cells) - first - len(rows)
    return Table(
        encoding, delimiter, quote, names, rows, -1, 0, lines[0] if first else "", odd, damaged
    )


def _mended(line: str, delimiter: str, quote: str, rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the names of a damaged header if they can only be meant in one way; else none.

    Its quotes do not close, it has another delimiter than the rows, or each row has a blank cell
    more, at its end.
    """
    width = len(rows[0])
    for other in (delimiter, *DELIMITERS, " "):
        names = [name.strip(f" {quote}") for name in line.split(other)]
        if len(names) == width and len({*names}) == width and all(map(LETTER.search, names)):
            return names
    names = [name.strip() for name in split_cells(line, delimiter, quote)]
    while len(names) > width and not names[-1]:
        names.pop()
    blank = width - len(names)
    if 0 < blank < width and not any(cell.strip() for row in rows for cell in row[-blank:]):
        names += [f"column {len(names) + at + 1}" for at in range(blank)]
    return names if len(names) == width and all(names) and len({*names}) == width else []


def guess_encoding(content: bytes) -> str:
    """Return the encoding that the bytes are most likely in; UTF-8 if they are."""
    if decodes(content, "utf-8"):
        return "utf-8"
    fitting = [name for name in ENCODINGS if decodes(content, name)]
    for name in fitting:
        letters = re.findall(LETTERS.get(name, "(?!)"), content.decode(name))
        if len(letters) * 4 >= sum(byte > 127 for byte in content):
            return name
    return fitting[-1] if fitting else "utf-8"


def _delimiter(lines: Sequence[str]) -> tuple[str, str]:
    """Return the delimiter and the quote for which most lines have the same number of cells."""
    best, found = (0.0, 0), ("", '"')
    for quote in ('"', "'"):
        if quote == "'" and not any(re.search(f"(?:^|[{DELIMITERS}])'", line) for line in lines):
            continue
        for delimiter in DELIMITERS:
            widths = Counter(len(split_cells(line, delimiter, quote)) for line in lines)
            width, times = max(
                ((w, n) for w, n in widths.items() if w > 1),
                key=lambda pair: pair[1],
                default=(1, 0),
            )
            score = (times / max(len(lines), 1), width)
            if width > 1 and score > best:
                best, found = score, (delimiter, quote)
    return found


def _width(cells: Sequence[Sequence[str]]) -> int:
    widths = Counter(len(row) for row in cells if len(row) > 1)
    return max(widths, key=lambda width: (widths[width], width), default=1)


def _places_of_values(cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """Return the places of the columns with values.

    At least half of a column's filled cells in the lower half of the file begin with a digit: the
    header and what is around it stand in the upper half.
    """
    rows = [row for row in cells if len(row) == width and _filled(row)]
    columns = zip(*rows[len(rows) // 2 :], strict=True)
    return [
        at for at, column in enumerate(columns) if 2 * _values(column) >= max(_filled(column), 1)
    ]


def _header(cells: Sequence[Sequence[str]], width: int, places: Sequence[int]) -> int | None:
    """Return the place of the header: a row of names above the data.

    Of several such rows, the first with the most names that people give to columns, and of equals
    the first with the most filled cells. If no column has values, it is the first row.
    """
    best: tuple[int, int, int] | None = None
    for at, row in enumerate(cells):
        filled = [cell.strip() for cell in row if cell.strip()]
        if len(row) != width or not filled:
            continue
        if best and not places:
            break
        if _is_data(row, places) and not _counts_up(filled):
            break
        known = sum(KNOWN.search(cell) is not None for cell in filled)
        if best is None or (known, len(filled)) > best[1:]:
            best = at, known, len(filled)
    return best[0] if best else None


def _counts_up(names: Sequence[str]) -> bool:
    """Return whether the cells are 0, 1, 2, …, which pandas writes for columns without names."""
    return len(names) > 1 and names == [str(at) for at in range(len(names))]


def _is_data(row: Sequence[str], places: Sequence[int]) -> bool:
    """Return whether at least half of a row's filled cells in the columns of values are some."""
    cells = [row[at] for at in places if at < len(row)]
    return 0 < _filled(cells) <= 2 * _values(cells)


def _is_row(row: Sequence[str], width: int, places: Sequence[int]) -> bool:
    """Return whether a row below the header is data, or a malformed row: no units or comments."""
    return len(row) != width or _is_data(row, places)


def _filled(cells: Iterable[str]) -> int:
    return sum(bool(cell.strip()) for cell in cells)


def _values(cells: Iterable[str]) -> int:
    return sum(VALUE.match(cell) is not None for cell in cells)
