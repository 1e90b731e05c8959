"""Error lists: their layout, their rows typed, and the rules a row has to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.quality import Rule
from lakehouse.settings import Settings
from lakehouse.sources.delimited import Layout
from lakehouse.sources.readings import as_date, line_rules, lot_name
from lakehouse.stage import Stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def layout(stage: Stage, settings: Settings) -> Layout:
    """What an error list of the stage should hold."""
    source = stage.error_lists
    return Layout(
        source.delimiter,
        tuple(source.encodings),
        {"date": tuple(source.date)},
        group=tuple(source.lots),
        max_line_bytes=settings.max_line_bytes,
        ignored=tuple(source.ignore),
    )


def with_typed(cells: DataFrame, stage: Stage) -> DataFrame:
    """`cells` (file, line, cells, fault, grouped) with `day` and `lots`: sorted, no lot twice.

    `grouped` is how many lot columns the file has; they stand behind the date.
    """
    from pyspark.sql import functions as F

    whole = F.col("fault").isNull()
    date = F.trim(F.get("cells", F.lit(0)))
    names = F.transform(F.slice("cells", F.lit(2), F.col("grouped")), lot_name)
    lots = F.array_sort(F.array_distinct(F.filter(names, lambda name: name != "")))
    return cells.select(
        "file",
        "line",
        "cells",
        "fault",
        F.when(whole, as_date(date, stage.error_lists.date_format)).alias("day"),
        F.when(whole, lots).alias("lots"),
    )


def rules(stage: Stage) -> list[Rule]:
    """The rules of a row, on the columns of `with_typed`."""
    from pyspark.sql import functions as F

    whole = F.col("fault").isNull()
    strange = F.filter("lots", lambda lot: ~lot.rlike(f"^(?:{stage.lot_pattern})$"))
    return [
        *line_rules(),
        Rule(
            "date",
            whole & F.col("day").isNull(),
            F.concat(
                F.lit("not a date: '"),
                F.coalesce(F.col("cells")[0], F.lit("")),
                F.lit("'"),
            ),
        ),
        Rule(
            "lot",
            whole & (F.size(strange) > 0),
            F.concat(F.lit("not a lot: "), F.array_join(strange, ", ")),
        ),
    ]
