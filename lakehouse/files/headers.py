"""Further headers in a delimited file, as a logger writes them that starts again."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

LETTER = re.compile(r"[^\W\d_]")
DIGIT = re.compile("[0-9]")
SHOWN = 20
"""How many column names a message shows."""
SECOND_HEADER = "below another header"
"""How the fault of a row begins that is not read since the header above it is not its file's."""


class Headers:
    """By which header the rows are read: the first, or a further one that a logger wrote."""

    def __init__(
        self,
        header: Sequence[str],
        order: Sequence[int],
        needed: Sequence[str],
        ignored: Sequence[str],
        delimiter: str,
        places: Sequence[int],
    ) -> None:
        """`needed` and `ignored` are names of columns, `order` is where those of `header` stand.

        `places` are those of the columns that a row has to have, if it has a number there.
        """
        self._places = list(places)
        self._words = {n for n in (*needed, *ignored, *header) if LETTER.search(n)}
        needles = [name for name in needed if name in self._words and "\\" not in name]
        self._needle = "|".join(rf"\Q{name}\E" for name in needles)
        self._header, self._delimiter = list(header), delimiter
        self._order, self._fault = list(order), ""

    def sections(
        self, lines: pa.Array, texts: pa.Array
    ) -> Iterator[tuple[int, int, list[int], str]]:
        """Start, end, order of the columns and fault of rows in a line that share a header.

        `lines` are the rows' numbers. A header is the first row of its section.
        """
        start = 0
        for at in self._candidates(texts):
            names = self._names(texts[at].as_py().lstrip("\ufeff"))
            if not names:
                continue
            if at > start:
                yield start, at, self._order, self._fault
            start = at
            named = [name or f"column {n}" for n, name in enumerate(names, 1)]
            self._follow(lines[at].as_py(), named)
        if len(texts):
            yield start, len(texts), self._order, self._fault

    def _names(self, text: str) -> list[str]:
        """The names of columns in the row; empty if it is no header.

        A header has two names that are known here, or a text without a digit in each column that a
        row has to have, whatever its delimiter.
        """
        names = [name.strip() for name in split_cells(text, self._delimiter)]
        if sum(name in self._words for name in names) >= 2:
            return names
        for delimiter in (self._delimiter, *",;\t|") if self._places else ():
            names = [name.strip() for name in split_cells(text, delimiter)]
            is_wide = len(names) == len(self._header) > 1
            if is_wide and all(LETTER.search(names[place]) for place in self._places):
                return [] if DIGIT.search(text) else names
        return []

    def _candidates(self, texts: pa.Array) -> list[int]:
        """The rows that have the name of a needed column somewhere, or no digit at all."""
        found = pa.array([False] * len(texts), pa.bool_())
        if self._places:
            found = pc.invert(pc.match_substring_regex(texts, DIGIT.pattern))
        if self._needle:
            found = pc.or_(found, pc.match_substring_regex(texts, self._needle))
        return [int(at) for at in pc.indices_nonzero(found).to_pylist()]

    def _follow(self, line: int, names: list[str]) -> None:
        if sorted(names) == sorted(self._header):
            self._order, self._fault = [names.index(name) for name in self._header], ""
        else:
            self._fault = f"{SECOND_HEADER}, in line {line}, with other columns: {shown(names)}"


def shown(names: Sequence[str]) -> str:
    """Names for a message: no more and no longer than a person reads."""
    return ", ".join([name[:80] for name in names[:SHOWN]] + ["…"] * (len(names) > SHOWN))


def split_cells(text: str, delimiter: str) -> list[str]:
    """One line's cells; a line whose quotes do not close is one cell, so a torn row."""
    if '"' not in text:
        return text.split(delimiter)
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error:
        return [text]
