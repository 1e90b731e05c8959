"""A stage of the plant as configuration: where its files are and what their columns mean.

`conf/stages/<stage>.toml` is read into these models; the code knows nothing about one stage.
"""

import codecs
import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from lakehouse.errors import UsageError
from lakehouse.settings import conf_directory, explain

NAME = r"^[a-z][a-z0-9_]*$"
UNLABELLED = "unlabelled"
TAKEN = (
    "again broken cells date day fault file file_date first grouped header line lot measured_at "
    "outside raw reason rule sha256 sound stored time"
)
"""Column names that the code uses next to the variables, from file to feature."""


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Name = Annotated[str, Field(min_length=1)]
Names = Annotated[list[Name], BeforeValidator(_listed), Field(min_length=1)]
"""One name or several alternatives; the first that a file has is used."""
SomeNames = Annotated[list[Name], BeforeValidator(_listed)]
"""Any number of names, or none."""


DATE_PARTS = {
    "%Y": r"(?P<Y>\d{4})",
    "%y": r"(?P<y>\d{2})",
    "%m": r"(?P<m>\d{1,2})",
    "%d": r"(?P<d>\d{1,2})",
}


def date_pattern(form: str) -> str:
    """Turn a strptime date form into a regular expression of the whole text; groups Y or y, m, d.

    A month or day may have one digit, unless it touches another part: then its end would be
    unclear. Raises ValueError if a part is not a part of a date.
    """
    pieces = [piece for piece in re.split(r"(%.)", form) if piece]
    pattern = ""
    for at, piece in enumerate(pieces):
        if piece in DATE_PARTS:
            touches = {*pieces[max(at - 1, 0) : at], *pieces[at + 1 : at + 2]} & set(DATE_PARTS)
            part = DATE_PARTS[piece]
            pattern += part.replace("{1,2}", "{2}") if touches else part
        elif piece.startswith("%"):
            known = ", ".join(DATE_PARTS)
            raise ValueError(f"{piece} in {form!r} is not a part of a date; known: {known}")
        else:
            pattern += re.escape(piece)
    return pattern


def _date_format(form: str) -> str:
    date_pattern(form)
    if sorted(re.findall("%.", form.lower())) != ["%d", "%m", "%y"]:
        raise ValueError(f"{form!r} must have a year, a month and a day, each once")
    return form


DateFormat = Annotated[str, AfterValidator(_date_format)]
"""A date form of strptime with %Y or %y, %m and %d."""


def _expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    return pattern


Expression = Annotated[str, AfterValidator(_expression)]

PLAIN = "".join(map(chr, range(0x20, 0x7F))) + "\t\r\n"


def _encoding(name: str) -> str:
    """Check that line breaks and delimiters are the bytes of ASCII, as both passes need."""
    try:
        plain = PLAIN.encode(name) == PLAIN.encode("ascii")
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


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Text(_Model):
    """Format of the files of one kind."""

    files: Names = Field(description="Globs below the landing directory; ** means any depth")
    delimiter: str = Field(",", pattern=r'^[^"\r\n\x00]$')
    encodings: list[Encoding] = Field(["utf-8", "cp949"], min_length=1)
    ignore: SomeNames = Field([], description="Known columns that are not read")


class DateSource(_Model):
    """Source of a row's day: the file's name or a column."""

    file_name: Expression | None = Field(
        None, description="Regular expression; its group is the date"
    )
    column: Names | None = None
    format: DateFormat = "%Y-%m-%d"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.file_name is None) == (self.column is None):
            raise ValueError("give either file_name or column")
        if self.file_name is not None and re.compile(self.file_name).groups != 1:
            raise ValueError("file_name needs exactly one group ( ) around the date")
        return self


class Variable(_Model):
    """A measured quantity: its column in the file, its unit and its physical limits."""

    name: str = Field(pattern=NAME)
    column: Names
    unit: str
    minimum: float
    maximum: float
    meaning: str = ""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.minimum < self.maximum:
            raise ValueError(f"{self.name}: minimum must be below maximum")
        return self


class Readings(Text):
    """The sensor files."""

    lot: Names
    time: Names
    clock: Literal["12h", "24h"]
    date: DateSource
    variables: list[Variable] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [variable.name for variable in self.variables]
        if _repeated(names):
            raise ValueError(f"variables: a name is used twice in {', '.join(names)}")
        taken = sorted({*TAKEN.split(), *(f"{name}_z" for name in names)}.intersection(names))
        if taken:
            raise ValueError(f"variables: {', '.join(taken)} is a name that the tables use")
        columns = [self.lot, self.time, self.date.column or []]
        columns += [variable.column for variable in self.variables]
        twice = _repeated(name for alternatives in columns for name in dict.fromkeys(alternatives))
        if twice:
            raise ValueError(f"column {', '.join(twice)} has two meanings")
        return self


class ErrorLists(Text):
    """The lists of failed lots, one row per day."""

    date: Names
    date_format: DateFormat = "%Y-%m-%d"
    lots: Names = Field(description="Columns of failed lots; * means any characters")


class Photos(_Model):
    """The photos' folders, one label per folder, and the size they are decoded to."""

    labels: dict[str, Names] = Field(min_length=1)
    unlabelled: SomeNames = []
    width: int = Field(224, gt=0, le=4096, description="Pixels of the decoded tensor")
    height: int = Field(224, gt=0, le=4096, description="Pixels of the decoded tensor")

    @model_validator(mode="after")
    def _labels(self) -> Self:
        if UNLABELLED in self.labels:
            raise ValueError(f"labels: {UNLABELLED} is a key next to labels, not a label")
        return self


class Stage(_Model):
    """One stage of the plant."""

    name: str = Field(pattern=NAME)
    title: str
    time_zone: TimeZone = "Asia/Seoul"
    lot_pattern: Expression = Field(
        "[0-9]+", description="Regular expression of a whole lot number"
    )
    readings: Readings
    error_lists: ErrorLists
    photos: Photos | None = None

    @property
    def zone(self) -> ZoneInfo:
        """The plant's time zone."""
        return ZoneInfo(self.time_zone)


def load_stage(name: str | None = None, file: Path | None = None) -> Stage:
    """Load a stage by its name in `conf/stages`, or from the file, whose name it then has.

    Raises UsageError that lists every fault of the file, or the stages that exist.
    """
    folder = conf_directory() / "stages"
    if file is None:
        file = folder / f"{name}.toml"
        if not name or not re.match(NAME, name) or not file.is_file():
            known = ", ".join(sorted(path.stem for path in folder.glob("*.toml"))) or "none"
            what = f"no stage {name!r} in {folder}" if name else "--stage is missing"
            raise UsageError(f"{what}; known: {known}; or name a file with --stage-file")
    try:
        content = tomllib.loads(file.read_text("utf-8-sig"))
        return Stage.model_validate({"name": name or file.stem, **content})
    except OSError as error:
        raise UsageError(f"stage file {file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"stage file {file} is not TOML: {error}") from None
    except ValidationError as error:
        raise UsageError(f"stage file {file}: {explain(error)}") from None
