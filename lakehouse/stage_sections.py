"""The sections of a stage file: readings, error lists and photos, and what they say of columns."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    model_validator,
)

from lakehouse.stage_types import (
    DateFormat,
    Encoding,
    Expression,
    MomentFormat,
    Name,
    Names,
    SomeNames,
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


class Strict(BaseModel):
    """A part of a stage file: an unknown key is an error, and nothing changes it later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Strict):
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


class Timestamp(Strict):
    """Date and time in one column, or in several that are joined by a space."""

    column: Names | None = None
    columns: list[Name] = Field([], description="Columns that make the moment together, in order")
    format: MomentFormat = "iso"

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.column is None) == (not self.columns):
            raise ValueError("give either column or columns")
        return self


class NamedTable(Strict):
    """The table of a file that a line names."""

    below: Expression = Field(description="Regular expression of the line above the table")


class Text(Strict):
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


class Variable(Strict):
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


class Quality(Strict):
    """Column that says how good a value is, and the words for a good one."""

    column: Names
    good: Names


class Long(Strict):
    """Columns of files that have a row a variable, as historians write them."""

    variable: Names = Field(description="Column with the name of the variable")
    value: Names = Field(description="Column with its value")
    lot: SomeNames = Field([], description="Variable whose value is the lot, if no column is")
    quality: Quality | None = None
    ignore: SomeNames = Field([], description="Variables that are not read; * any characters")


class Result(Strict):
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


class Defect(Strict):
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


class Photos(Strict):
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
