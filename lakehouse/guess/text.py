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
from lakehouse.forms import AM, PM

HEAD = 1 << 20
"""Bytes that are looked at."""
LINES = 500
"""Lines that are looked at."""
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
    text, sha256 = opened(stream, Form(",", ENCODINGS, None, HEAD))
    content = text.read(HEAD)
    if sha256:
        text.close()
    if len(content) == HEAD:  # The last line is cut.
        content = content[: content.rfind(b"\n") + 1] or content
    encoding = guess_encoding(content)
    decoded = content.decode(encoding, "replace").removeprefix("\ufeff")
    lines = [line.rstrip("\r") for line in decoded.split("\n") if line.strip()][:LINES]
    if lines and re.match("(?i)^sep=.$", lines[0].strip()):
        lines = lines[1:]
    delimiter, quote = _delimiter(lines)
    if not delimiter:
        return None
    cells = [split_cells(line, delimiter, quote) for line in lines]
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
    """Return the place of the header: a row of names above the data.

    Of several such rows, the first with the most names that people give to columns.
    """
    best: tuple[int, int] | None = None
    for at, row in enumerate(cells):
        filled = [cell.strip() for cell in row if cell.strip()]
        if len(row) != width or not filled:
            continue
        if _is_data(row) and not _counts_up(filled):
            break
        known = sum(KNOWN.search(cell) is not None for cell in filled)
        if best is None or known > best[1]:
            best = at, known
    return best[0] if best else None


def _counts_up(names: Sequence[str]) -> bool:
    """Return whether the cells are 0, 1, 2, …, which pandas writes for columns without names."""
    return len(names) > 1 and names == [str(at) for at in range(len(names))]


def _is_data(row: Sequence[str]) -> bool:
    """Return whether a row has values: at least half of its filled cells begin with a digit."""
    filled = [cell for cell in row if cell.strip()]
    values = [cell for cell in filled if VALUE.match(cell)]
    return bool(values) and 2 * len(values) >= len(filled)
