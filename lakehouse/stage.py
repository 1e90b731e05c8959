"""A stage of the plant as configuration: where its files are and what their columns mean.

`conf/stages/<stage>.toml` is read into these models; the code knows nothing about one stage.
"""

import re
import tomllib
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import (
    Field,
    ValidationError,
    model_validator,
)

from lakehouse.errors import UsageError
from lakehouse.settings import conf_directory, explain
from lakehouse.stage_sections import (
    DECIMALS,
    LINE_MARK,
    NAME,
    Defect,
    ErrorLists,
    Levels,
    Photos,
    Readings,
    Strict,
    Variable,
)
from lakehouse.stage_types import (
    Expression,
    SomeNames,
    TimeZone,
)


class Stage(Strict):
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
