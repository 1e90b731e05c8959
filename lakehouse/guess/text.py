"""Guess the form of a text file: encoding, delimiter, header, lines around the table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from lakehouse.files.delimited import decodes
from lakehouse.files.headers import split_cells
from lakehouse.files.opened import Form, opened

HEAD = 1 << 20
"""Bytes that are looked at."""
LINES = 500
"""Lines that are looked at."""
ENCODINGS = ("utf-8", "cp949", "shift_jis", "gb18030", "cp1252")
LETTERS = {"cp949": "[가-힣]", "shift_jis": "[ぁ-んァ-ヶ]", "gb18030": "[\u4e00-\u9fff]"}
"""Letters that show that text is in the language of the encoding."""
DELIMITERS = ",;\t|"
DIGIT = re.compile("[0-9]")
NUMBER = re.compile(r"^\s*[+-\u2212]?[\d.,'\u00a0 ]*\d[\d.,]*([eE][+-]?\d+)?\s*$")


@dataclass(frozen=True)
class Table:
    """A text file's form, and its first rows.

    `header` is the place of the header among the lines that are not blank, `units` the number of
    lines below it that are not data, `above` the first of the lines above it.
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

    def column(self, name: str) -> list[str]:
        """Return the cells of that column, trimmed."""
        at = self.names.index(name)
        return [row[at].strip() for row in self.rows]


def guess_table(stream: IO[bytes]) -> Table | None:
    """Return the form of a text file; None if it has no line with two cells.

    Raises FormatError if an archive or a sheet cannot be read.
    """
    text = opened(stream, Form(",", ENCODINGS, None, HEAD)).stream
    content = text.read(HEAD)
    content = content[: content.rfind(b"\n") + 1] or content
    encoding = guess_encoding(content)
    decoded = content.decode(encoding, "replace").removeprefix("\ufeff")
    lines = [line.rstrip("\r") for line in decoded.split("\n") if line.strip()][:LINES]
    if lines and re.match("(?i)^sep=.$", lines[0].strip()):
        lines = lines[1:]
    delimiter, quote = _delimiter(lines)
    cells = [split_cells(line, delimiter, quote) for line in lines]
    if not delimiter or not cells:
        return None
    width = _width(cells)
    header = _header(cells, width)
    if header is None:
        return None
    below = cells[header + 1 :]
    units = next((at for at, row in enumerate(below) if _is_data(row)), 0)
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
        if quote == "'" and not any(line.startswith("'") for line in lines):
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


def _header(cells: Sequence[Sequence[str]], width: int) -> int | None:
    """Return the place of the first row of that width whose cells are names, not data."""
    for at, row in enumerate(cells):
        if len(row) == width and not _is_data(row) and any(cell.strip() for cell in row):
            return at
    return None


def _is_data(row: Sequence[str]) -> bool:
    """Return whether a row has measured values: at least half of its filled cells have digits."""
    filled = [cell for cell in row if cell.strip()]
    with_digits = [cell for cell in filled if DIGIT.search(cell)]
    numbers = [cell for cell in filled if NUMBER.match(cell)]
    return bool(numbers) and 2 * len(with_digits) >= len(filled)
