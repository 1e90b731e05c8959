"""Further headers in a delimited file. A logger writes one each time it starts again."""

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
"""Start of a row's fault if the row is not read because the header above it has other columns."""


class Headers:
    """Finds the header that each row belongs to: the first, or a further one in the file."""

    def __init__(
        self,
        header: Sequence[str],
        order: Sequence[int],
        needed: Sequence[str],
        ignored: Sequence[str],
        delimiter: str,
        places: Sequence[int],
    ) -> None:
        """`needed` and `ignored` are column names; `order` gives the places of `header`'s columns.

        `places` are those of the needed columns, if a row has a number there.
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
        """Yield start, end, order of columns and fault of each run of rows below one header.

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
        """Return the column names in the row; empty if it is not a header.

        A header has two known names, or, with any delimiter, a text without a digit in each needed
        column.
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
        """Return the rows that have the name of a needed column somewhere, or no digit at all."""
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
    """Join names for a message; cut their number and length to what a person reads."""
    return ", ".join([name[:80] for name in names[:SHOWN]] + ["…"] * (len(names) > SHOWN))


def split_cells(text: str, delimiter: str) -> list[str]:
    """Split a line into cells; if its quotes do not close it is one cell, so a malformed row."""
    if '"' not in text:
        return text.split(delimiter)
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error:
        return [text]
