"""A stage of the plant as configuration: where its files lie and what their columns mean.

`conf/stages/<stage>.toml` is read into these models; nothing about one stage stands in code.
"""

import re
import tomllib
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


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
"""One name or several; several are alternatives, the first that a file has counts."""


def spark_pattern(form: str) -> str:
    """A date form of strptime as Spark's pattern; raises ValueError for what is no date's part."""
    pieces = []
    for piece in re.split(r"(%.)", form):
        if piece.startswith("%"):
            if piece not in DATE_PARTS:
                known = ", ".join(DATE_PARTS)
                raise ValueError(
                    f"{piece} in {form!r} is not a part of a date; known: {known}"
                )
            pieces.append(DATE_PARTS[piece])
        else:
            pieces.append(re.sub(r"([A-Za-z]+)", r"'\1'", piece.replace("'", "''")))
    return "".join(pieces)


def _date_format(form: str) -> str:
    spark_pattern(form)
    return form


DATE_PARTS = {"%Y": "yyyy", "%y": "yy", "%m": "M", "%d": "d"}
DateFormat = Annotated[str, AfterValidator(_date_format)]
"""A date as strptime writes it, of %Y or %y, %m and %d."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Text(_Model):
    """How the files of one kind are written."""

    files: Names = Field(
        description="Globs below the landing directory; ** is any depth"
    )
    delimiter: str = Field(",", min_length=1, max_length=1)
    encodings: list[str] = Field(["utf-8", "cp949"], min_length=1)


class DateSource(_Model):
    """Where a row's day comes from: the file's name or a column."""

    file_name: str | None = Field(
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
    """A measured quantity: its column in the file, its unit and what is physically possible."""

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
        if len(set(names)) != len(names):
            raise ValueError(f"variables: a name is used twice in {', '.join(names)}")
        return self


class ErrorLists(Text):
    """The lists of failed lots, a row a day."""

    date: Names
    date_format: DateFormat = "%Y-%m-%d"
    lots: Names = Field(
        description="Columns of failed lots; * stands for any characters"
    )


class Photos(_Model):
    """The photos' folders, one label a folder, and the size they are decoded to."""

    labels: dict[str, Names] = Field(min_length=1)
    unlabelled: Annotated[list[str], BeforeValidator(_listed)] = []
    width: int = Field(224, gt=0, le=4096, description="Pixels of the decoded tensor")
    height: int = Field(224, gt=0, le=4096, description="Pixels of the decoded tensor")

    @model_validator(mode="after")
    def _labels(self) -> Self:
        if UNLABELLED in self.labels:
            raise ValueError(f"labels: {UNLABELLED} is its own key, not a label")
        return self


class Stage(_Model):
    """One stage of the plant."""

    name: str = Field(pattern=NAME)
    title: str
    time_zone: str = "Asia/Seoul"
    lot_pattern: str = Field(
        "[0-9]+", description="What a lot's number looks like, as a whole"
    )
    readings: Readings
    error_lists: ErrorLists
    photos: Photos | None = None

    @model_validator(mode="after")
    def _known_zone(self) -> Self:
        if self.time_zone not in available_timezones():
            raise ValueError(
                f"time_zone: {self.time_zone} is not in the time zone database"
            )
        re.compile(self.lot_pattern)
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The plant's time zone."""
        return ZoneInfo(self.time_zone)


def load_stage(name: str | None = None, file: Path | None = None) -> Stage:
    """The stage of that name in `conf/stages`, or of the given file (its name is the file's).

    Raises UsageError that lists every fault of the file, or the stages that exist.
    """
    folder = conf_directory() / "stages"
    if file is None:
        file = folder / f"{name}.toml"
        if not name or not re.match(NAME, name) or not file.is_file():
            known = (
                ", ".join(sorted(path.stem for path in folder.glob("*.toml"))) or "none"
            )
            raise UsageError(
                f"no stage {name!r} in {folder}; known: {known}; or name a file by --stage-file"
            )
    try:
        content = tomllib.loads(file.read_text("utf-8"))
        return Stage.model_validate({"name": name or file.stem, **content})
    except OSError as error:
        raise UsageError(
            f"stage file {file} cannot be read: {error.strerror}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"stage file {file} is not TOML: {error}") from None
    except ValidationError as error:
        raise UsageError(f"stage file {file}: {explain(error)}") from None
