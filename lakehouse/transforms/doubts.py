"""Which days the held-back rows of an error list may mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.quality import BROKEN
from lakehouse.stage import Stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def summarise_doubts(rows: DataFrame, stage: Stage) -> DataFrame:
    """The columns of `doubted_days`, of each held-back row that may name a failed lot.

    A row whose date can be read means that day. Another may mean any day from the nearest date
    above it to the nearest below it in its file; where only one is there, that day; where the
    file's dates go up and down, any day from its first to its last. A row that is only superseded
    is no doubt, nor is one that names no lot, nor the header again. `rows` are those of whole
    files, with `broken`.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    file = Window.partitionBy("file")
    lines = file.orderBy("line")
    above = F.last("day", ignorenulls=True).over(lines.rowsBetween(Window.unboundedPreceding, -1))
    below = F.first("day", ignorenulls=True).over(lines.rowsBetween(1, Window.unboundedFollowing))
    rises, falls = (
        F.max(F.coalesce(one, F.lit(False))).over(file)
        for one in (F.col("day") > F.col("above"), F.col("day") < F.col("above"))
    )
    mixed = rises & falls
    first = F.when(mixed, F.min("day").over(file)).otherwise(F.least("above", "below"))
    last = F.when(mixed, F.max("day").over(file)).otherwise(F.greatest("above", "below"))
    rule = F.get(F.col(BROKEN), F.lit(0))["rule"]
    held_back = rule.isNotNull() & (rule != "superseded")
    headings = [name for name in stage.error_lists.date if not name.isdigit()]
    is_header = F.trim(F.get("cells", F.lit(0))).isin(headings)
    says_something = F.col("fault").isNotNull() | ((F.size("lots") > 0) & ~is_header)
    sound = F.filter("lots", lambda lot: lot.rlike(f"^(?:{stage.lot_pattern})$"))
    lots = F.when(F.col("day").isNotNull(), sound).otherwise(F.array().cast("array<string>"))
    return (
        rows.withColumns({"above": above, "below": below})
        .withColumns({"first": F.coalesce("day", first), "last": F.coalesce("day", last)})
        .where(held_back & says_something & F.col("first").isNotNull())
        .withColumn("lots", lots)
        .select(F.explode(F.sequence("first", "last")).alias("day"), "lots", "file", "line")
    )
