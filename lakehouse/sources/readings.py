"""Sensor files: their layout, their rows typed, and the rules a reading has to keep."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import TYPE_CHECKING

from lakehouse.quality import Rule
from lakehouse.settings import Settings
from lakehouse.sources.delimited import Facts, Layout
from lakehouse.sources.headers import SECOND_HEADER
from lakehouse.stage import Stage, spark_pattern

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

MORNING, AFTERNOON = "오전|AM", "오후|PM"
CLOCK = (
    rf"(?i)^\s*({MORNING}|{AFTERNOON})?\s*"  # half of the day
    r"(\d{1,2}):(\d{1,2})(?::(\d{1,2}(?:\.\d+)?))?\s*$"  # hour, minute, second
)
NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


def layout(stage: Stage, settings: Settings) -> Layout:
    """What a sensor file of the stage should hold."""
    source = stage.readings
    fields = {"lot": tuple(source.lot), "time": tuple(source.time)}
    if source.date.column:
        fields["date"] = tuple(source.date.column)
    fields |= {variable.name: tuple(variable.column) for variable in source.variables}
    return Layout(
        source.delimiter,
        tuple(source.encodings),
        fields,
        max_line_bytes=settings.max_line_bytes,
        ignored=tuple(source.ignore),
    )


def file_date(stage: Stage, file: str) -> date | None:
    """The day in the file's name; None where it has none or the rows carry it."""
    source = stage.readings.date
    found = re.search(source.file_name, file) if source.file_name else None
    try:
        return datetime.strptime(found[1] or "", source.format).date() if found else None
    except ValueError:
        return None


def judge_file(stage: Stage, file: str, facts: Facts) -> None:
    """Faults of a file that its name shows."""
    if stage.readings.date.file_name and file_date(stage, file) is None:
        facts.fault(
            "no_date",
            f"the file name has no date as {stage.readings.date.file_name} "
            f"and {stage.readings.date.format} want it",
        )


def with_typed(cells: DataFrame, stage: Stage, fields: list[str]) -> DataFrame:
    """`cells` (file, line, cells, fault, date of the file) with the typed columns of a reading.

    What cannot be read as its type is null; the text stays in `cells` for `rules`.
    """
    from pyspark.sql import functions as F

    source = stage.readings
    at = {name: F.trim(F.get("cells", F.lit(fields.index(name)))) for name in fields}
    whole = F.col("fault").isNull()
    seconds = seconds_of_day(at["time"], source.clock)
    said = as_date(at["date"], source.date.format) if "date" in at else F.col("file_date")
    day = F.when(whole, said)
    local = F.timestamp_micros(
        F.unix_micros(day.cast("timestamp")) + (seconds * 1_000_000).cast("bigint")
    )
    return cells.select(
        "file",
        "line",
        "cells",
        "fault",
        day.alias("day"),
        F.when(whole, lot_name(at["lot"])).alias("lot"),
        F.when(whole, F.to_utc_timestamp(local, stage.time_zone)).alias("measured_at"),
        *(F.when(whole, _number(at[v.name])).alias(v.name) for v in source.variables),
    )


def rules(stage: Stage, fields: list[str]) -> list[Rule]:
    """The rules of a reading, on the columns of `with_typed`."""
    from pyspark.sql import functions as F

    def text(name: str) -> Column:
        return F.coalesce(F.get("cells", F.lit(fields.index(name))), F.lit(""))

    whole = F.col("fault").isNull()
    said = text("date") if "date" in fields else F.lit("its file's")
    found = [
        *line_rules(),
        Rule("lot", whole & ~lot_is_sound("lot", stage), _quoted("lot", text("lot"))),
        Rule("date", whole & F.col("day").isNull(), _quoted("date", said)),
        Rule(
            "time",
            whole & F.col("day").isNotNull() & F.col("measured_at").isNull(),
            _quoted(f"{stage.readings.clock} time", text("time")),
        ),
    ]
    for v in stage.readings.variables:
        value = F.col(v.name)
        found += [
            Rule(
                "number",
                whole & value.isNull(),
                _quoted(f"{v.name} number", text(v.name)),
            ),
            Rule(
                "physical_range",
                whole & ~value.between(v.minimum, v.maximum),
                F.concat(
                    F.lit(f"{v.name} "),
                    value.cast("string"),
                    F.lit(f" is outside {v.minimum:g} to {v.maximum:g} {v.unit}"),
                ),
            ),
        ]
    return found


def line_rules() -> list[Rule]:
    """The rules of a line that is not read as cells, by its `fault`."""
    from pyspark.sql import functions as F

    fault = F.col("fault")
    below = fault.startswith(SECOND_HEADER)
    return [Rule("torn_row", ~below, fault), Rule("second_header", below, fault)]


def fault_rule(fault: str) -> str:
    """As `line_rules`, of one line."""
    return "second_header" if fault.startswith(SECOND_HEADER) else "torn_row"


def seconds_of_day(time: Column, clock: str) -> Column:
    """Seconds since midnight, with fraction, of a time by that clock; null where it is none.

    12h: 오전 or AM before h:mm:ss, 12 of which is midnight; 오후 or PM, 12 of which is noon.
    """
    from pyspark.sql import functions as F

    mark = F.regexp_extract(time, CLOCK, 1)
    hour, minute = (F.regexp_extract(time, CLOCK, n).try_cast("int") for n in (2, 3))
    second = F.coalesce(F.regexp_extract(time, CLOCK, 4).try_cast("decimal(9,6)"), F.lit(0))
    sound = (minute < 60) & (second < 60)
    if clock == "12h":
        sound &= (mark != "") & hour.between(1, 12)
        hour = hour % 12 + F.when(mark.rlike(f"(?i){AFTERNOON}"), 12).otherwise(0)
    else:
        sound &= (mark == "") & (hour < 24)
    return F.when(sound, hour * 3600 + minute * 60 + second)


def as_date(text: Column, form: str) -> Column:
    """The date that the text says in that form (as Python's strptime), else null."""
    from pyspark.sql import functions as F

    return F.try_to_timestamp(text, F.lit(spark_pattern(form))).cast("date")


def lot_name(text: Column) -> Column:
    """A lot's name: the text, where a number written 20.0 means 20."""
    from pyspark.sql import functions as F

    return F.regexp_replace(F.trim(text), r"^(\d+)\.0*$", "$1")


def lot_is_sound(column: str, stage: Stage) -> Column:
    """Whether the lot's name looks as the stage says."""
    from pyspark.sql import functions as F

    return F.coalesce(F.col(column), F.lit("")).rlike(f"^(?:{stage.lot_pattern})$")


def _number(text: Column) -> Column:
    """The finite decimal number that the text says, else null.

    A cast alone also takes what Java calls a number, such as 2.0f, 40.1d and 0x1p1.
    """
    from pyspark.sql import functions as F

    value = F.when(text.rlike(NUMBER), text.try_cast("double"))
    return F.when(F.abs(value) < float("inf"), value)


def _quoted(what: str, text: Column) -> Column:
    from pyspark.sql import functions as F

    return F.concat(F.lit(f"not a {what}: '"), F.left(text, F.lit(80)), F.lit("'"))
