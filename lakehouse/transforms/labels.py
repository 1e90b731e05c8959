"""Labels of lots: readings and error lists put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

from lakehouse.tables.label_changes import LABEL_CHANGES

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

FAILED, GOOD, UNKNOWN = "failed", "good", "unknown"
GONE = ("update_preimage", "delete")


def label_lots(readings: DataFrame, error_lists: DataFrame, doubted_days: DataFrame) -> DataFrame:
    """Every lot with its label; the columns of `lots`.

    Failed where any row names it for its day, held back or not. Unknown where no list judges the
    day, a held-back row or list may mean it, or it may be a failed lot that has no readings. Good
    where the day's lists do not name it.
    """
    from pyspark.sql import functions as F

    lots = summarise_lots(readings)
    found = lots.groupBy("day").agg(F.collect_set("lot").alias("found"))
    judged = summarise_lists(error_lists, doubted_days).join(found, "day", "inner")
    label = (
        F.when(F.array_contains("failed", F.col("lot")), FAILED)
        .when(F.coalesce("list_rows", F.lit(0)) == 0, UNKNOWN)
        .when(F.col("doubted") | _may_be_unmatched(), UNKNOWN)
        .otherwise(GOOD)
    )
    return lots.join(judged, "day", "left").select(
        "day", "lot", "readings", "started_at", "ended_at", label.alias("label")
    )


def _may_be_unmatched() -> Column:
    """Whether `lot` may be one of its day's failed lots that have no readings.

    That is each lot which is written alike, as 0017 and 17; where none is, it may be any.
    """
    from pyspark.sql import functions as F

    def plain(lot: Column) -> Column:
        return F.lower(F.regexp_replace(lot, "^0+(?=.)", ""))

    unmatched = F.transform(F.array_except("failed", "found"), plain)
    known = F.transform("found", plain)
    nowhere = F.size(F.array_except(unmatched, known)) > 0
    return nowhere | F.array_contains(unmatched, plain(F.col("lot")))


def report_labels(lots: DataFrame, error_lists: DataFrame, doubted_days: DataFrame) -> DataFrame:
    """How lots and lists fit together, a row a day that has either; `label_report`'s columns."""
    from pyspark.sql import functions as F

    def of(label: str) -> Column:
        return F.count_if(F.col("label") == label).cast("int")

    by_day = lots.groupBy("day").agg(
        F.count("*").cast("int").alias("lots"),
        of(FAILED).alias("lots_failed"),
        of(GOOD).alias("lots_good"),
        of(UNKNOWN).alias("lots_unknown"),
        F.collect_set("lot").alias("found"),
    )
    none = F.array().cast("array<string>")
    joined = by_day.join(summarise_lists(error_lists, doubted_days), "day", "full")
    unmatched = F.array_except(F.coalesce("failed", none), F.coalesce("found", none))
    return joined.select(
        "day",
        (F.coalesce("list_rows", F.lit(0)) > 0).alias("listed"),
        F.coalesce("list_rows", F.lit(0)).alias("list_rows"),
        F.coalesce("list_files", none).alias("list_files"),
        *(
            F.coalesce(name, F.lit(0)).alias(name)
            for name in ("lots", "lots_failed", "lots_good", "lots_unknown")
        ),
        F.array_sort(unmatched).alias("unmatched_lots"),
        ((F.col("lots") - F.col("lots_unknown")) / F.col("lots")).alias("coverage"),
    )


def difference_of_labels(changes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """From changes of `lots`, each lot whose label is another than before, or is gone.

    The rows of `label_changes`.
    """
    before = {_changed(row): row for row in changes if row["_change_type"] in GONE}
    after = {_changed(row): row["label"] for row in changes if row["_change_type"] not in GONE}
    return [
        LABEL_CHANGES.row(
            *key,
            row["label"],
            after.get(key),
            row["_commit_timestamp"].replace(tzinfo=UTC),
        )
        for key, row in before.items()
        if row["label"] != after.get(key)
    ]


def _changed(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["_commit_version"], row["day"], row["lot"]


def summarise_lots(readings: DataFrame) -> DataFrame:
    """day, lot, readings, started_at, ended_at of each lot."""
    from pyspark.sql import functions as F

    return readings.groupBy("day", "lot").agg(
        F.count("*").alias("readings"),
        F.min("measured_at").alias("started_at"),
        F.max("measured_at").alias("ended_at"),
    )


def summarise_lists(error_lists: DataFrame, doubted_days: DataFrame) -> DataFrame:
    """Of each day that a list judges or may judge: day, failed, list_rows, list_files, doubted.

    `failed` are all lots that a row names for the day. Rows and files are those that judge it.
    """
    from pyspark.sql import functions as F

    sure, unsure = (
        rows.select("day", "lots", "file", F.lit(doubted).alias("doubted"))
        for rows, doubted in ((error_lists, False), (doubted_days, True))
    )
    return (
        sure.unionByName(unsure)
        .groupBy("day")
        .agg(
            F.array_distinct(F.flatten(F.collect_list("lots"))).alias("failed"),
            F.count_if(~F.col("doubted")).cast("int").alias("list_rows"),
            F.array_sort(F.collect_set(F.when(~F.col("doubted"), F.col("file")))).alias(
                "list_files"
            ),
            F.bool_or("doubted").alias("doubted"),
        )
    )
