"""Types of the values in a stage file: names, dates, times, encodings, regular expressions."""

import codecs
import re
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field

from lakehouse.forms import COUNTED, date_pattern, moment_pattern, names_a_day


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Name = Annotated[str, Field(min_length=1)]
Names = Annotated[list[Name], BeforeValidator(_listed), Field(min_length=1)]
"""One name or several alternatives; the first that a file has is used."""
SomeNames = Annotated[list[Name], BeforeValidator(_listed)]
"""Any number of names, or none."""


def _date_format(form: str) -> str:
    date_pattern(form)
    if not names_a_day(form):
        raise ValueError(f"{form!r} must have a year, a month and a day, each once")
    return form


DateFormat = Annotated[str, AfterValidator(_date_format)]
"""A date form of strptime with a year, a month and a day, or a day of the year."""


def _moment_format(form: str) -> str:
    if form not in COUNTED:
        moment_pattern(form)
    return form


MomentFormat = Annotated[str, AfterValidator(_moment_format)]
"""`iso`, a form of strptime with date and hour, or a number as `lakehouse.forms.COUNTED` names."""


def _expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    return pattern


Expression = Annotated[str, AfterValidator(_expression)]

WIDE = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
"""Encodings that `lakehouse.files.opened` turns into UTF-8; not needed with a byte order mark."""
PLAIN = "".join(map(chr, range(0x20, 0x7F))) + "\t\r\n"


def _encoding(name: str) -> str:
    """Check that line breaks and delimiters are the bytes of ASCII, as both passes need."""
    try:
        plain = codecs.lookup(name).name in WIDE or PLAIN.encode(name) == PLAIN.encode("ascii")
    except (LookupError, UnicodeError):
        raise ValueError(f"{name!r} is not an encoding that Python knows") from None
    if not plain or codecs.lookup(name).name.startswith("iso2022"):  # That shifts letters to ASCII.
        raise ValueError(f"files in {name!r} cannot be read: it changes the bytes of ASCII")
    return name


Encoding = Annotated[str, AfterValidator(_encoding)]


def _time_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name} is not in the time zone database")
    return name


TimeZone = Annotated[str, AfterValidator(_time_zone)]
