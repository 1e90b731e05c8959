"""A stage of the plant as configuration: where its files are and what their columns mean.

`conf/stages/<stage>.toml` is read into these models; the code knows nothing about one stage.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    model_validator,
)

from lakehouse.errors import UsageError
from lakehouse.settings import conf_directory, explain
from lakehouse.stage_types import (
    DateFormat,
    Encoding,
    Expression,
    MomentFormat,
    Name,
    Names,
    SomeNames,
    TimeZone,
)

NAME = r"^[a-z][a-z0-9_]*$"
DECIMALS = re.compile(r"^(\d+)\.0*$", re.ASCII)
LINE_MARK = ":"
"""Between production line and lot in a lot's name."""
UNLABELLED = "unlabelled"
FULL_WHITE = 255
"""White of 8 bits a colour; no camera has fewer."""
TAKEN = (
    "again broken cells date day fault file file_date first grouped header line lot measured_at "
    "outside raw reason rule sequence sha256 sound stored time timestamp"
)
"""Column names that the code uses next to the variables, from file to feature."""


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


class Levels(NamedTuple):
    """Which values of a photo are black and white, as `Photos` says it in `bits` and `white`."""

    bits: int | None = None
    white: int | None = None


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Model):
    """Source of a value that a file's rows share or have: the path of the file, or a column."""

    file_name: Expression | None = Field(
        None, description="Regular expression of the path; its group is the value"
    )
    column: Names | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.file_name is None) == (self.column is None):
            raise ValueError("give either file_name or column")
        if self.file_name is not None and re.compile(self.file_name).groups != 1:
            raise ValueError("file_name needs exactly one group ( ) around the value")
        return self


class DateSource(Source):
    """Source of a row's day."""

    format: DateFormat = "%Y-%m-%d"


class Timestamp(_Model):
    """Date and time in one column, or in several that are joined by a space."""

    column: Names | None = None
    columns: list[Name] = Field([], description="Columns that make the moment together, in order")
    format: MomentFormat = "iso"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.column is None) == (not self.columns):
            raise ValueError("give either column or columns")
        return self


class NamedTable(_Model):
    """The table of a file that a line names."""

    below: Expression = Field(description="Regular expression of the line above the table")


class Text(_Model):
    """Format of the files of one kind."""

    files: Names = Field(description="Globs below the landing directory; ** means any depth")
    delimiter: str = Field(",", pattern=r'^[^"\r\n\x00]$')
    quote: str = Field('"', pattern=r"^[^\r\n\x00]$")
    encodings: list[Encoding] = Field(["utf-8", "cp949"], min_length=1)
    sheet: Name | None = Field(None, description="Sheet of an Excel file; the first by default")
    table: Literal["first", "refuse"] | NamedTable | None = Field(
        None, description="Which table of a file with several; refuse: none of them"
    )
    find_header: bool = Field(False, description="Lines above the header are not read")
    header: SomeNames = Field(
        [], description="Names of all columns, in order, of files that have no header"
    )
    header_rows: int = Field(1, ge=1, le=5, description="Rows that name the columns together")
    skip_after_header: int = Field(0, ge=0, le=20, description="Rows such as units")
    ignore_lines: list[Expression] = Field(
        [], description="Regular expressions; a line in which one matches is not read"
    )
    ignore: SomeNames = Field([], description="Known columns that are not read")
    line: Source | None = Field(None, description="Production line, a part of a lot's name")

    @model_validator(mode="after")
    def _one_header(self) -> Self:
        if self.header and (self.find_header or self.header_rows > 1 or self.skip_after_header):
            raise ValueError("header: files without one need no key that says where it stands")
        return self


class Variable(_Model):
    """A measured quantity: its column in the file, its unit and its physical limits."""

    name: str = Field(pattern=NAME)
    column: Names
    unit: str
    minimum: float
    maximum: float
    meaning: str = ""
    lsl: FiniteFloat | None = Field(None, description="Lower specification limit: less is not good")
    usl: FiniteFloat | None = Field(None, description="Upper specification limit: more is not good")
    target: FiniteFloat | None = Field(None, description="The best value")
    names: dict[str, str] = Field({}, description="Its name on pages, by language: en, ko")
    optional: bool = Field(False, description="A file may lack the column; its rows have null")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.minimum < self.maximum:
            raise ValueError(f"{self.name}: minimum must be below maximum")
        limits = [x for x in (self.lsl, self.target, self.usl) if x is not None]
        if limits != sorted(set(limits)):
            raise ValueError(f"{self.name}: lsl must be below target, and target below usl")
        return self


class Quality(_Model):
    """Column that says how good a value is, and the words for a good one."""

    column: Names
    good: Names


class Long(_Model):
    """Columns of files that have a row a variable, as historians write them."""

    variable: Names = Field(description="Column with the name of the variable")
    value: Names = Field(description="Column with its value")
    lot: SomeNames = Field([], description="Variable whose value is the lot, if no column is")
    quality: Quality | None = None
    ignore: SomeNames = Field([], description="Variables that are not read; * any characters")


class Result(_Model):
    """Column of the sensor files that says which lots failed, by words or by a number."""

    column: Names
    failed: SomeNames = Field([], description="Words for failed")
    good: SomeNames = Field([], description="Words for good; without them, others say nothing")
    above: FiniteFloat | None = Field(None, description="A number above this is failed; else good")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.failed) == (self.above is not None):
            raise ValueError("result: give either failed words, or above")
        if self.good and not self.failed:
            raise ValueError("result: good goes with failed words, not with above")
        return self


class Readings(Text):
    """The sensor files."""

    lot: Names | None = None
    long: Long | None = Field(None, description="A row a variable; `column` is its name")
    time: Names | None = None
    clock: Literal["12h", "24h"] = "24h"
    date: DateSource | None = None
    timestamp: Timestamp | None = None
    decimal: Literal[".", ","] = "."
    thousands: Literal[".", ",", "'", " "] | None = None
    missing: list[str] = Field([], description="Cells that mean: no value")
    key: dict[Annotated[str, Field(pattern=NAME)], Names] = Field(
        {}, description="Further columns that tell readings of one moment apart"
    )
    sequence: bool = Field(False, description="Rows of one moment are numbered in their order")
    result: Result | None = Field(None, description="Column that says which lots failed")
    variables: list[Variable] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        apart = self.time is not None and self.date is not None
        if apart == (self.timestamp is not None) or (self.time is None) != (self.date is None):
            raise ValueError("give either time and date, or timestamp")
        if self.thousands == self.decimal:
            raise ValueError("thousands and decimal must differ")
        if (self.lot is None) == (not (self.long and self.long.lot)):
            raise ValueError("give lot, or long files' lot among the variables")
        if self.result and self.long:
            raise ValueError("result: long files have no such column; leave it out")
        return self

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [*(variable.name for variable in self.variables), *self.key]
        names += ["result"] if self.result else []
        if _repeated(names):
            raise ValueError(f"variables: a name is used twice in {', '.join(names)}")
        taken = sorted({*TAKEN.split(), *(f"{name}_z" for name in names)}.intersection(names))
        if taken:
            raise ValueError(f"variables: {', '.join(taken)} is a name that the tables use")
        columns = list(self.columns.values())
        variables = [variable.column for variable in self.variables]
        apart = [columns, [*variables, self.long.lot]] if self.long else [columns + variables]
        for some in apart:
            twice = _repeated(name for names in some for name in dict.fromkeys(names))
            if twice:
                raise ValueError(f"column {', '.join(twice)} has two meanings")
        return self

    @property
    def columns(self) -> dict[str, list[str]]:
        """The needed columns but the variables', each with the names that it may have."""
        found = {"lot": self.lot} if self.lot else {}
        if self.time:
            found["time"] = self.time
        if self.date and self.date.column:
            found["date"] = self.date.column
        if self.timestamp:
            apart = [[name] for name in self.timestamp.columns] or [self.timestamp.column or []]
            found |= {f"timestamp {at}": names for at, names in enumerate(apart)}
        if self.line and self.line.column:
            found["line"] = self.line.column
        if self.long:
            found |= {"long variable": self.long.variable, "long value": self.long.value}
            if self.long.quality:
                found["long quality"] = self.long.quality.column
        if self.result:
            found["result"] = self.result.column
        return found | self.key


class ErrorLists(Text):
    """The lists of failed lots, one row per day."""

    date: Names
    date_format: DateFormat = "%Y-%m-%d"
    lots: Names = Field(description="Columns of failed lots; * means any characters")
    separator: str | None = Field(
        None, min_length=1, description="Characters between several lots in one cell"
    )
    fill_down: bool = Field(False, description="A blank date is that of the row above")
    unlisted_days: Literal["unknown", "good"] = Field(
        "unknown", description="Lots of days without a row; good: lists name failures only"
    )


class Defect(_Model):
    """A kind of defect that people choose from. `en` and `ko` are its words; else its name."""

    name: str = Field(pattern=NAME)
    en: str = ""
    ko: str = ""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def word(self, language: str) -> str:
        """Return the kind in this language."""
        return {"en": self.en, "ko": self.ko}.get(language) or self.name


class Photos(_Model):
    """The photos' folders, one label per folder, and the size they are decoded to."""

    labels: dict[str, Names] = Field(min_length=1)
    unlabelled: SomeNames = []
    masks: SomeNames = Field(
        [], description="Globs of masks: white where the photo of that name has its defect"
    )
    bits: int | None = Field(
        None, ge=8, le=16, description="Bits that the camera uses of 16; null: the file says it"
    )
    white: int | None = Field(
        None, ge=0, lt=1 << 16, description="Value that is white; 0: the photos are negatives"
    )
    defects: list[Defect] = Field([], description="Kinds of defect to choose in a correction")
    width: int = Field(224, gt=0, le=4096, description="Pixels of the decoded tensor")
    height: int = Field(224, gt=0, le=4096, description="Pixels of the decoded tensor")

    @model_validator(mode="after")
    def _labels(self) -> Self:
        if UNLABELLED in self.labels:
            raise ValueError(f"labels: {UNLABELLED} is a key next to labels, not a label")
        if self.white and (self.bits or self.white < FULL_WHITE):
            raise ValueError(f"white is 0, or from {FULL_WHITE} on and without bits")
        twice = _repeated(defect.name for defect in self.defects)
        if twice:
            raise ValueError(f"defects: {', '.join(twice)} is there twice")
        return self


class Stage(_Model):
    """One stage of the plant."""

    name: str = Field(pattern=NAME)
    title: str
    time_zone: TimeZone = "Asia/Seoul"
    day_starts: time = Field(time(), description="When a production day starts by its clock")
    lot_pattern: Expression = Field(
        "[0-9]+",
        description="Regular expression of a whole lot number; a group, if any, is its name",
    )
    case_sensitive: bool = Field(False, description="Whether globs tell .csv from .CSV")
    ignore: SomeNames = Field([], description="Globs of files that are never looked at")
    readings: Readings | None = None
    error_lists: ErrorLists | None = None
    photos: Photos | None = None

    @model_validator(mode="after")
    def _some_section(self) -> Self:
        if not (self.readings or self.error_lists or self.photos):
            raise ValueError("give at least one of readings, error_lists and photos")
        if re.compile(self.lot_pattern).groups > 1:
            raise ValueError("lot_pattern has at most one group ( )")
        return self

    @property
    def variables(self) -> list[Variable]:
        """The measured variables; none if the stage has no sensor files."""
        return self.readings.variables if self.readings else []

    def lot_name(self, text: str, line: str | None = None) -> str | None:
        """Return the lot that a cell names, with its production line if it has one; else None.

        A number written 20.0 means 20. A group of `lot_pattern` is the name, so that `0*([0-9]+)`
        has leading zeros not count; the group's text must match, too.
        """
        pattern = re.compile(self.lot_pattern, re.ASCII)
        found = pattern.fullmatch(DECIMALS.sub(r"\1", text))
        if not found or line == "":
            return None
        name = found[pattern.groups] or ""
        if not pattern.fullmatch(name):
            return None
        return name if line is None else f"{line}{LINE_MARK}{name}"

    def is_lot(self, name: str) -> bool:
        """Return whether a lot may have this name in the lake."""
        lines = [kind.line for kind in (self.readings, self.error_lists) if kind]
        lot = name.rpartition(LINE_MARK)[2] if any(lines) else name
        return re.fullmatch(self.lot_pattern, lot, re.ASCII) is not None

    @property
    def zone(self) -> ZoneInfo:
        """The plant's time zone."""
        return ZoneInfo(self.time_zone)

    def production_day(self, moment: datetime | None = None) -> date:
        """Return the production day of an aware moment, or of now.

        With `day_starts` at 06:00, the day of a night shift is that on which it began.
        """
        local = (moment or datetime.now(UTC)).astimezone(self.zone).replace(tzinfo=None)
        start = timedelta(hours=self.day_starts.hour, minutes=self.day_starts.minute)
        return (local - start).date()

    @property
    def defects(self) -> list[Defect]:
        """The kinds of defect to choose from; none if the stage file names none."""
        return self.photos.defects if self.photos else []

    @property
    def photo_bits(self) -> Levels | None:
        """Which values of a photo are black and white; None if the file says it."""
        said = self.photos
        none = said is None or (said.bits is None and said.white is None)
        return None if none or said is None else Levels(said.bits, said.white)


def stage_names() -> list[str]:
    """Return the names of the stages in `conf/stages`, sorted."""
    files = (conf_directory() / "stages").glob("*.toml")
    return sorted(file.stem for file in files if not file.name.startswith("."))


def load_stage(name: str | None = None, file: Path | None = None) -> Stage:
    """Load a stage by its name in `conf/stages`, or from the file, whose name it then has.

    Raises UsageError that lists every fault of the file, or the stages that exist.
    """
    folder = conf_directory() / "stages"
    if file is None:
        file = folder / f"{name}.toml"
        if not name or not re.match(NAME, name) or not file.is_file():
            known = ", ".join(stage_names()) or "none"
            what = f"no stage {name!r} in {folder}" if name else "--stage is missing"
            raise UsageError(f"{what}; known: {known}; or name a file with --stage-file")
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise UsageError(f"stage file {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"stage file {file} is not TOML: {error}") from None
    return parse_stage(text, name or file.stem.replace("-", "_"), f"stage file {file}")


def parse_stage(text: str, name: str, source: str = "the stage file") -> Stage:
    """Return the stage of a stage file's text.

    Args:
        text: The file's text, TOML.
        name: The stage's name, if the text does not give one.
        source: What the text is, for the message.

    Raises:
        UsageError: The text is not TOML or not a stage; the message lists every fault.

    Example:
        >>> parse_stage("title = 1", "trial")
        Traceback (most recent call last):
        lakehouse.errors.UsageError: the stage file: title: Input should be a valid string
    """
    try:
        return Stage.model_validate({"name": name, **tomllib.loads(text)})
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{source} is not TOML: {error}") from None
    except ValidationError as error:
        raise UsageError(f"{source}: {explain(error)}") from None
