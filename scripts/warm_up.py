"""The job whose classes `make env` archives: what most jobs of the lake do, on a few rows.

.venv/bin/spark-submit scripts/warm_up.py FOLDER
"""

import sys
from pathlib import Path

import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F


def main(folder: str) -> int:
    """Write, merge, read and summarise a small Delta table; one pass through Python."""
    spark = SparkSession.builder.appName("warm_up").getOrCreate()
    table = str(Path(folder) / "table")
    text = str(Path(folder) / "text")
    columns = {"key": [1, 2, 3, 4], "day": ["a", "a", "b", "b"], "value": [0.5, 1.5, None, 2.5]}
    rows = spark.createDataFrame(pa.table(columns))
    rows.withColumn("at", F.current_timestamp()).write.option("header", True).csv(text)
    read = spark.read.schema("key long, day string, value double, at timestamp")
    new = read.option("header", True).csv(text).withColumn("file", F.col("_metadata.file_path"))
    writer = new.write.format("delta").partitionBy("day").mode("append")
    writer.option("txnAppId", "warm_up").option("txnVersion", 1).save(table)
    merge = (
        DeltaTable.forPath(spark, table).alias("old").merge(new.alias("new"), "old.key = new.key")
    )
    merge.whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()
    stored = spark.read.format("delta").load(table)
    through_python = stored.mapInArrow(lambda batches: batches, stored.schema)
    ranked = through_python.withColumn(
        "rank", F.row_number().over(Window.partitionBy("day").orderBy("value"))
    )
    summary = ranked.groupBy("day").agg(F.avg("value"), F.expr("percentile(value, 0.5)"))
    summary.join(stored, on="day", how="left").orderBy("key").toArrow()
    spark.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
