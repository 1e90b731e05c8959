"""Further headers in a delimited file. A logger writes one each time it starts again."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

LETTER = re.compile(r"[^\W\d_]")
DIGIT = re.compile("[0-9]")
NAME = re.compile(r"[^\W\d_][^0-9]*[0-9]{0,3}[^0-9]*")
"""A heading without a known name: it begins with a letter and has one number at most."""
VALUE = re.compile("[0-9][.,:/-][0-9]|[0-9]{4}")
"""A decimal, a time, a date or a large number, which no heading has."""
SHOWN = 20
"""How many column names a message shows."""
SECOND_HEADER = "below another header"
"""Start of a row's fault if the row is not read because the header above it has other columns."""


Arrange = Callable[[Sequence[str]], list[int] | None]
"""Returns the places of the file's columns in a further header; None if its columns are others."""


class Section(NamedTuple):
    """Rows from `start` to before `end`, below one header of `width` columns in that `order`."""

    start: int
    end: int
    order: list[int]
    width: int
    fault: str


class Headers:
    """Finds the header that each row belongs to: the first, or a further one in the file."""

    def __init__(
        self,
        header: Sequence[str],
        order: Sequence[int],
        needed: Sequence[str],
        ignored: Sequence[str],
        delimiter: str,
        quote: str,
        fields: int,
        arrange: Arrange | None,
    ) -> None:
        """`needed` and `ignored` are column names; `order` gives the places of `header`'s columns.

        `fields` counts the first of these in which a row has a number. `arrange` finds the columns
        of a further header whose names differ.
        """
        self._fields, self._arrange = fields, arrange
        self._places = [place for place in order[:fields] if place >= 0]
        words = {n for n in (*needed, *ignored, *header) if LETTER.search(n)}
        self._words = set(map(folded, words))
        needles = [name for name in needed if name in words and "\\" not in name]
        self._needle = "|".join(rf"\Q{name}\E" for name in needles)
        self._header, self._delimiter, self._quote = list(header), delimiter, quote
        self._width = sum(place >= 0 for place in order)
        self._order, self._fault = list(order), ""

    def sections(self, lines: pa.Array, texts: pa.Array) -> Iterator[Section]:
        """Yield the runs of rows below one header.

        `lines` are the rows' numbers. A header is the first row of its section.
        """
        start = 0
        for at in self._candidates(texts):
            names = self._names(texts[at].as_py().lstrip("\ufeff"))
            if not names:
                continue
            if at > start:
                yield Section(start, at, self._order, self._width, self._fault)
            start = at
            self._follow(lines[at].as_py(), names)
        if len(texts):
            yield Section(start, len(texts), self._order, self._width, self._fault)

    def has_further(self, texts: pa.Array) -> bool:
        """Return whether one of the rows is a header."""
        return any(
            self._names(texts[at].as_py().lstrip("\ufeff")) for at in self._candidates(texts)
        )

    def _names(self, text: str) -> list[str]:
        """Return the column names in the row; empty if it is not a header.

        A header has two known names, or, with any delimiter, a name in each needed column.
        """
        names = [name.strip() for name in split_cells(text, self._delimiter, self._quote)]
        known = [name for name in names if folded(name) in self._words]
        if len(known) >= 2 and len({*map(folded, known)}) == len({*known}):
            return names
        for delimiter in (self._delimiter, *",;\t|") if self._places else ():
            names = [name.strip() for name in split_cells(text, delimiter, self._quote)]
            is_wide = len(names) == self._width > 1
            if is_wide and all(NAME.fullmatch(names[place]) for place in self._places):
                return names
        return []

    def _candidates(self, texts: pa.Array) -> list[int]:
        """Return the rows that have the name of a needed column, or that look like names alone."""
        found = pa.array([False] * len(texts), pa.bool_())
        if self._places:
            found = pc.invert(pc.match_substring_regex(texts, "^[0-9]"))
            if pc.any(found).as_py():
                found = pc.and_not(found, pc.match_substring_regex(texts, VALUE.pattern))
        if self._needle:
            found = pc.or_(found, pc.match_substring_regex(texts, f"(?i){self._needle}"))
        return [int(at) for at in pc.indices_nonzero(found).to_pylist()]

    def _follow(self, line: int, names: list[str]) -> None:
        at = {folded(name): place for place, name in enumerate(named(names))}
        there = [name for name, place in zip(self._header, self._order, strict=True) if place >= 0]
        order: list[int] | None
        if len(at) == len(names) and sorted(at) == sorted(map(folded, there)):
            order = [
                at[folded(name)] if place >= 0 else -1
                for name, place in zip(self._header, self._order, strict=True)
            ]
        else:
            order = self._arrange(names) if self._arrange else None
        if order is not None:
            self._order, self._width, self._fault = order, len(names), ""
            self._places = [place for place in order[: self._fields] if place >= 0]
        else:
            said = shown([name or f"column {at}" for at, name in enumerate(names, 1)])
            self._fault = f"{SECOND_HEADER}, in line {line}, with other columns: {said}"


def folded(name: str) -> str:
    """Return a heading without what people do not see as a difference: capitals, blanks, width."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def named(names: Sequence[str]) -> list[str]:
    """Return the headings, each once: a blank one has its number, a repeated one its turn.

    >>> named(["Lot", "", "Unit", "Unit"])
    ['Lot', 'column 2', 'Unit', 'Unit (2)']
    """
    seen: Counter[str] = Counter()
    found = []
    for at, name in enumerate(map(str.strip, names), 1):
        name = name or f"column {at}"
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


class Headings:
    """The headings of a file, to be found by the names that a stage gives.

    A heading has a name that it is equal to, or, if none is, that differs from it only in what
    `folded` leaves out.
    """

    def __init__(self, headings: Sequence[str]) -> None:
        self._exact: dict[str, list[int]] = {}
        self._alike: dict[str, list[int]] = {}
        for at, heading in enumerate(headings):
            name = heading.strip() or f"column {at + 1}"
            self._exact.setdefault(name, []).append(at)
            self._alike.setdefault(folded(name), []).append(at)

    def places(self, names: Sequence[str]) -> list[int]:
        """Return the places of the first of the names that a heading has."""
        return next(filter(None, map(self._of, names)), [])

    def all_places(self, names: Sequence[str]) -> set[int]:
        """Return the places of all headings that have one of the names."""
        return {at for name in names for at in self._of(name)}

    def _of(self, name: str) -> list[int]:
        return self._exact.get(name) or self._alike.get(folded(name), [])


def shown(names: Sequence[str]) -> str:
    """Join names for a message; cut their number and length to what a person reads."""
    return ", ".join([name[:80] for name in names[:SHOWN]] + ["…"] * (len(names) > SHOWN))


@cache
def _quoted_cells(delimiter: str, quote: str) -> re.Pattern[str]:
    """Return a pattern of a quoted cell with the delimiter before it."""
    end, mark = re.escape(delimiter), re.escape(quote)
    return re.compile(rf"(?:^|{end}) *{mark}(?:[^{mark}]|{mark}{mark})*{mark}(?={end}|$)")


def split_cells(text: str, delimiter: str, quote: str = '"') -> list[str]:
    """Split a line into cells; if its quotes do not close it is one cell, so a malformed row.

    Blanks between a delimiter and a quote do not count. Two quotes or more outside of quoted cells
    make the row malformed: the delimiter before a quoted cell may be missing.
    """
    if quote not in text:
        return text.split(delimiter)
    if quote in text[1:] and _quoted_cells(delimiter, quote).sub(delimiter, text).count(quote) > 1:
        return [text]
    form: dict[str, Any] = {"delimiter": delimiter, "quotechar": quote, "strict": True}
    try:
        cells = next(csv.reader([text], **form))
        if any(cell[:1] == " " and cell.lstrip(" ").startswith(quote) for cell in cells):
            cells = next(csv.reader([text], skipinitialspace=True, **form))
    except csv.Error:
        return [text]
    return cells
