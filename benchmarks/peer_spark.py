"""What a person would write in PySpark with Delta for the same work, with the lake's settings.

    python benchmarks/peer_spark.py LANDING FOLDER

No ledger, no quarantine with reasons, no exactly-once; its figures are compared with the lake's.
"""

import sqlite3
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from peer_duckdb import SCALE, VARIABLES, WIDTH
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

CELLS = "Index bigint, Lot string, Time string, pH double, Temp double, Voltage double"


def read(spark: SparkSession, landing: Path) -> DataFrame:
    """The sound readings, each moment of a lot once."""
    cells = spark.read.csv(str(landing / "sensor"), CELLS, header=True)
    hour, minute, second = (
        F.regexp_extract("Time", r"(\d+):(\d+):([\d.]+)$", n) for n in (1, 2, 3)
    )
    afternoon = F.when(F.col("Time").startswith("오후"), 12).otherwise(0)
    seconds = (hour.cast("int") % 12 + afternoon) * 3600 + minute.cast("int") * 60
    micros = (seconds + second.cast("decimal(9,6)")) * 1_000_000
    day = F.to_date(F.regexp_extract(F.input_file_name(), r"(\d{4}\.\d\d\.\d\d)", 1), "yyyy.MM.dd")
    start = F.unix_micros(day.cast("timestamp")) - 9 * 3600 * 1_000_000
    rows = cells.select(
        day.alias("day"),
        F.col("Lot").alias("lot"),
        F.timestamp_micros(start + micros.cast("bigint")).alias("measured_at"),
        *(F.col(column).alias(name) for name, column in VARIABLES.items()),
    )
    sound = "ph BETWEEN 0 AND 14 AND temperature BETWEEN 0 AND 100 AND voltage BETWEEN 0 AND 50"
    return rows.where(sound).dropDuplicates(["day", "lot", "measured_at"])


def bands(readings: DataFrame) -> dict[str, tuple[float, float]]:
    """Centre and robust standard deviation of each variable."""
    found = readings.agg(
        *(F.percentile(n, F.array(*map(F.lit, (0.05, 0.5, 0.95)))).alias(n) for n in VARIABLES)
    ).first()
    assert found
    return {name: (found[name][1], (found[name][2] - found[name][0]) / SCALE) for name in VARIABLES}


def features(readings: DataFrame, fitted: Mapping[str, Sequence[float]]) -> DataFrame:
    """All statistics of a lot, as the lake has them."""
    parts, outside = [], F.lit(0)
    for name in VARIABLES:
        centre, scale = fitted[name]
        x = F.col(name)
        z = F.abs(x - centre) / scale
        outside += (z > WIDTH).cast("int")
        parts += [
            F.mean(x).alias(f"{name}_mean"),
            F.stddev_samp(x).alias(f"{name}_std"),
            F.min(x).alias(f"{name}_min"),
            F.max(x).alias(f"{name}_max"),
            F.percentile(x, F.array(F.lit(0.05), F.lit(0.95))).alias(f"{name}_q"),
            F.skewness(x).alias(f"{name}_skew"),
            F.count_if(z > WIDTH).alias(f"{name}_excursions"),
            F.max(z).alias(f"{name}_distance_max"),
            F.sum(F.greatest(z - WIDTH, F.lit(0.0))).alias(f"{name}_excess"),
        ]
    parts += [
        F.count_if(outside >= 1).alias("readings_outside"),
        F.count_if(outside >= 2).alias("joint_excursions"),
        F.max(outside).alias("variables_outside_max"),
    ]
    return readings.groupBy("day", "lot").agg(F.count("*").alias("readings"), *parts)


def failed_lots(spark: SparkSession, landing: Path) -> DataFrame:
    """The lots that the error list names."""
    lists = spark.read.csv(str(landing / "Error Lot list.csv"), "d string, a string, b string")
    named = F.explode(F.array_compact(F.array("a", "b")))
    return lists.select(F.expr("try_cast(d AS date)").alias("day"), named.alias("lot")).distinct()


def label(readings: DataFrame, failed: DataFrame) -> DataFrame:
    """All lots that have readings."""
    lots = readings.groupBy("day", "lot").agg(
        F.count("*").alias("readings"),
        F.min("measured_at").alias("started_at"),
        F.max("measured_at").alias("ended_at"),
    )
    label = F.when(F.col("failed"), "failed").otherwise("good").alias("label")
    joined = lots.join(failed.withColumn("failed", F.lit(True)), ["day", "lot"], "left")
    return joined.select(*lots.columns, label)


def summarise(readings: DataFrame) -> DataFrame:
    """A row a day."""
    summaries = (f(n).alias(f"{n}_{f.__name__}") for n in VARIABLES for f in (F.mean, F.min, F.max))
    return readings.groupBy("day").agg(F.count("*").alias("readings"), *summaries)


def sync(file: str, tables: dict[str, DataFrame]) -> None:
    """Tables to SQLite, whole."""
    sql = sqlite3.connect(file)
    for name, rows in tables.items():
        sql.execute(f"DROP TABLE IF EXISTS {name}")
        sql.execute(f"CREATE TABLE {name} ({', '.join(f'[{c}]' for c in rows.columns)})")
        values = [tuple(map(str, row)) for row in rows.collect()]
        marks = ", ".join("?" * len(rows.columns))
        sql.executemany(f"INSERT INTO {name} VALUES ({marks})", values)
    sql.commit()


def main(landing: Path, folder: Path) -> None:
    """Do the work; the results are Delta tables and a SQLite file in the folder."""
    spark = SparkSession.builder.getOrCreate()

    def stored(rows: DataFrame, name: str) -> DataFrame:
        rows.write.format("delta").save(f"{folder}/{name}")
        return spark.read.format("delta").load(f"{folder}/{name}")

    readings = stored(read(spark, landing), "readings")
    lots = stored(label(readings, failed_lots(spark, landing)), "lots")
    stored(features(readings, bands(readings)), "lot_features")
    days = stored(summarise(readings), "days")
    sync(f"{folder}/summaries.db", {"lots": lots, "days": days})
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
