"""Forms of dates and times: strptime's directives as regular expressions that Arrow can use."""

from __future__ import annotations

import re

DATE_PARTS = {
    "%Y": r"(?P<Y>\d{4})",
    "%y": r"(?P<y>\d{2})",
    "%m": r"(?P<m>\d{1,2})",
    "%d": r"(?P<d>\d{1,2})",
}
DATE_FORMS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y"),
    *("%Y%m%d", "%y-%m-%d", "%d.%m.%y", "%y/%m/%d", "%m/%d/%y"),
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
    """Turn a strptime date form into a regular expression of the whole text; groups Y or y, m, d.

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
    date = sorted(part.lower() for part in parts if part in DATE_PARTS)
    hours = [part for part in parts if part in ("%H", "%I")]
    if date != ["%d", "%m", "%y"] or len(hours) != 1 or ("%I" in parts) != ("%p" in parts):
        raise ValueError(
            f"{form!r} must have a year, a month, a day and an hour, each once; %I goes with %p"
        )
    return pattern


def _pattern(form: str, known: dict[str, str], what: str) -> str:
    pieces = [piece for piece in re.split(r"(%.)", form) if piece]
    pattern = ""
    for at, piece in enumerate(pieces):
        if piece in known:
            touches = {*pieces[max(at - 1, 0) : at], *pieces[at + 1 : at + 2]} & set(known)
            part = known[piece]
            pattern += part.replace("{1,2}", "{2}") if touches else part
        elif piece.startswith("%"):
            names = ", ".join(known)
            raise ValueError(f"{piece} in {form!r} is not a part of {what}; known: {names}")
        else:
            pattern += re.escape(piece)
    return pattern
