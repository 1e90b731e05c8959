"""Forms of dates and times: strptime's directives as regular expressions that Arrow can use."""

from __future__ import annotations

import re

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
"""Names that `strptime` reads without a locale."""
DATE_PARTS = {
    "%Y": r"(?P<Y>\d{4})",
    "%y": r"(?P<y>\d{2})",
    "%m": r"(?P<m>\d{1,2})",
    "%d": r"(?P<d>\d{1,2})",
    "%b": rf"(?P<b>(?i:{'|'.join(month[:3] for month in MONTHS)}))\.?",
    "%B": rf"(?P<b>(?i:{'|'.join(MONTHS)}))",
    "%j": r"(?P<j>\d{1,3})",
    "%a": rf"(?i:{'|'.join(day[:3] for day in WEEKDAYS)})\.?",
    "%A": rf"(?i:{'|'.join(WEEKDAYS)})",
}
DATE_FORMS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y"),
    *("%Y%m%d", "%y-%m-%d", "%d.%m.%y", "%y/%m/%d", "%m/%d/%y"),
    *("%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%Y년 %m월 %d일", "%Y年%m月%d日"),
)
"""Forms that people write dates in."""
AM, PM = "오전|午前|上午|A\\.?M\\.?", "오후|午後|下午|P\\.?M\\.?"
"""Words for the two halves of the day: Korean, Japanese, Chinese, English."""
TIME_PARTS = {
    "%H": r"(?P<H>\d{1,2})",
    "%I": r"(?P<I>\d{1,2})",
    "%M": r"(?P<M>\d{1,2})",
    "%S": r"(?P<S>\d{1,2})",
    "%f": r"(?P<f>\d{1,9})",
    "%p": rf"(?P<p>(?i:{AM}|{PM}))",
    "%z": r"(?P<z>Z|[+-]\d{2}:?\d{2})",
    "%Z": r"(?P<Z>UTC|GMT|Z)",
}
ISO = (
    r"(?P<Y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})[T ](?P<H>\d{2}):(?P<M>\d{2})"
    r"(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?\s?(?P<z>Z|[+-]\d{2}:?\d{2})?"
)
"""ISO 8601; seconds, their fraction and the offset to UTC may be left out."""
COUNTED = ("epoch", "epoch_ms", "epoch_us", "excel", "siemens")
"""Forms of a moment that are one number: seconds, milliseconds and microseconds since 1970 in UTC;
days since 1899-12-30 by the plant's clock, as Excel counts them; millionths of such a day."""


def date_pattern(form: str) -> str:
    """Turn a strptime date form into a regular expression of the whole text.

    Its groups are Y or y; m or b, the month's name, and d; or j, the day of the year.

    A month or day may have one digit, unless it touches another part: then its end would be
    unclear. Raises ValueError if a part is not a part of a date.
    """
    return _pattern(form, DATE_PARTS, "a date")


def moment_pattern(form: str) -> str:
    """Turn `iso` or a strptime form of date and time into a regular expression, with its groups.

    Raises ValueError if a part is not known, is there twice, or if year, month, day or hour lack.
    """
    if form == "iso":
        return ISO
    pattern = _pattern(form, {**DATE_PARTS, **TIME_PARTS}, "a date or a time")
    parts = re.findall("%.", form)
    hours = [part for part in parts if part in ("%H", "%I")]
    if not names_a_day(form) or len(hours) != 1 or ("%I" in parts) != ("%p" in parts):
        raise ValueError(
            f"{form!r} must have a year, a month, a day and an hour, each once; %I goes with %p"
        )
    return pattern


def names_a_day(form: str) -> bool:
    """Return whether a strptime form has a year, a month and a day, or a day of the year, once."""
    kinds = {"%y": "y", "%Y": "y", "%m": "m", "%b": "m", "%B": "m", "%d": "d", "%j": "j"}
    found = sorted(kinds[part] for part in re.findall("%.", form) if part in kinds)
    return found in (["d", "m", "y"], ["j", "y"])


def month_of(text: str) -> int:
    """Return the month of a number or an English name."""
    if text.isdigit():
        return int(text)
    return [month[:3].lower() for month in MONTHS].index(text[:3].lower()) + 1


def _pattern(form: str, known: dict[str, str], what: str) -> str:
    pieces = [piece for piece in re.split(r"(%.)", form) if piece]
    pattern = ""
    for at, piece in enumerate(pieces):
        if piece in known:
            touches = {*pieces[max(at - 1, 0) : at], *pieces[at + 1 : at + 2]} & set(known)
            part = known[piece]
            pattern += re.sub(r"\{1,([23])\}", r"{\1}", part) if touches else part
        elif piece.startswith("%"):
            names = ", ".join(known)
            raise ValueError(f"{piece} in {form!r} is not a part of {what}; known: {names}")
        else:
            pattern += re.escape(piece)
    return pattern
