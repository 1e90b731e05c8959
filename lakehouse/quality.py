"""Rules on rows: what passes, and what is held back with the reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

BROKEN = "broken"


@dataclass(frozen=True)
class Rule:
    """A rule's name, when a row breaks it, and what to say about that row."""

    name: str
    broken: Column
    reason: Column


def with_broken(rows: DataFrame, rules: Sequence[Rule]) -> DataFrame:
    """Add `broken`: rule and reason of every rule the row breaks, in the rules' order."""
    from pyspark.sql import functions as F

    found = [
        F.when(
            F.coalesce(rule.broken, F.lit(False)),
            F.struct(F.lit(rule.name).alias("rule"), rule.reason.alias("reason")),
        )
        for rule in rules
    ]
    return rows.withColumn(BROKEN, F.array_compact(F.array(*found)))


def with_duplicates_broken(rows: DataFrame, key: Sequence[str]) -> DataFrame:
    """Among the rows that broke no rule, mark all but the first of each key as duplicates.

    The first is the one of the lowest file name and line. Rows need `file`, `line`, `broken`.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    sound = F.size(BROKEN) == 0
    by_key = Window.partitionBy(*key, sound.alias("sound")).orderBy("file", "line")
    first = F.first(F.struct("file", "line")).over(by_key)
    return (
        rows.withColumn("first", first)
        .withColumn("again", sound & (F.row_number().over(by_key) > 1))
        .withColumn(
            BROKEN,
            F.when(F.col("again"), _duplicate("first", key)).otherwise(F.col(BROKEN)),
        )
        .drop("first", "again")
    )


def with_stored_broken(rows: DataFrame, stored: DataFrame, key: Sequence[str]) -> DataFrame:
    """Mark the rows that broke no rule but whose key is in `stored` (key, file, line) already."""
    from pyspark.sql import functions as F

    there = stored.select(*key, F.struct("file", "line").alias("stored"))
    again = F.col("stored").isNotNull() & (F.size(BROKEN) == 0)
    return (
        rows.join(there, list(key), "left")
        .withColumn(BROKEN, F.when(again, _duplicate("stored", key)).otherwise(F.col(BROKEN)))
        .drop("stored")
    )


def with_superseded_broken(rows: DataFrame, days: DataFrame) -> DataFrame:
    """Mark the sound rows of a file's superseded days; `days` has each (file, day) once, and `by`.

    `by` is the file that holds the day now.
    """
    from pyspark.sql import functions as F

    reason = F.format_string(
        "%s was corrected: it is in %s, which brought this content before", F.col("day"), "by"
    )
    broken = F.array(F.struct(F.lit("superseded").alias("rule"), reason.alias("reason")))
    stale = F.col("by").isNotNull() & (F.size(BROKEN) == 0)
    return (
        rows.join(F.broadcast(days), ["file", "day"], "left")
        .withColumn(BROKEN, F.when(stale, broken).otherwise(F.col(BROKEN)))
        .drop("by")
    )


def filter_passed(rows: DataFrame) -> DataFrame:
    """The rows that break no rule."""
    from pyspark.sql import functions as F

    return rows.where(F.size(BROKEN) == 0)


def filter_held_back(rows: DataFrame) -> DataFrame:
    """The rows that break a rule, with the first as `rule` and all in words as `reason`."""
    from pyspark.sql import functions as F

    return rows.where(F.size(BROKEN) > 0).select(
        "*",
        F.col(BROKEN)[0]["rule"].alias("rule"),
        F.array_join(F.transform(BROKEN, lambda one: one["reason"]), "; ").alias("reason"),
    )


def _duplicate(where: str, key: Sequence[str]) -> Column:
    from pyspark.sql import functions as F

    reason = F.format_string(
        f"the same {', '.join(key)} as line %d of %s",
        F.col(f"{where}.line"),
        F.col(f"{where}.file"),
    )
    return F.array(F.struct(F.lit("duplicate_key").alias("rule"), reason.alias("reason")))
