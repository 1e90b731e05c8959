"""Guess whether a table is long: a row a variable, with its name and its value."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from lakehouse.files.values import numbers

VARIABLE = re.compile(
    r"(?i)^(var(iable)?[ _]?(name)?|tag([ _]?name)?|parameter|signal|channel|item|point([ _]?name)?"
    r"|sensor|measure(ment|d[ _]variable)?|messgr(ö|oe)(ß|ss)e|변수명?|항목명?|태그명?|측정항목"
    r"|項目|变量)$"
)
VALUE = re.compile(
    r"(?i)^(var(iable)?[ _]?|point[ _]?)?(value|val|wert|reading|측정값|값|値|数值|值)$"
)
QUALITY = re.compile(r"(?i)^(validity|quality|qualit(ä|ae)t|status|state|품질|상태)$")


class Long(NamedTuple):
    """Columns of a long table, its variables in their order, and the values of each."""

    variable: str
    value: str
    quality: str | None
    good: list[str]
    values: dict[str, list[str]]


def guess_long(texts: dict[str, list[str]], left: Sequence[str]) -> Long | None:
    """Return the columns of a long table; None if it has a column for each variable."""
    value = next((name for name in left if VALUE.match(name)), None)
    if value is None:
        return None
    names = [name for name in left if VARIABLE.match(name) and _are_names(texts[name])]
    if not names:
        return None
    quality = next((name for name in left if QUALITY.match(name)), None)
    values: dict[str, list[str]] = {}
    for name, one in zip(texts[names[0]], texts[value], strict=True):
        values.setdefault(name, []).append(one)
    good = [word for word, _ in Counter(texts[quality]).most_common(1)] if quality else []
    return Long(names[0], value, quality, good, values)


def _are_names(cells: Sequence[str]) -> bool:
    """Return whether the cells repeat some texts that are no numbers."""
    distinct = set(cells)
    are_numbers = numbers(pa.array(sorted(distinct))).null_count < len(distinct)
    return not are_numbers and len(distinct) < len(cells)
