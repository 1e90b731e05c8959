"""The Spark session of a job. Its settings come from spark-submit, never from here."""

import os
import sys
import warnings
from typing import TYPE_CHECKING

from lakehouse.errors import PlatelakeError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NEEDED = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
}


def open_session(name: str) -> "SparkSession":
    """The running session, or a new one with the settings that spark-submit finds.

    Raises PlatelakeError where those lack what the lake cannot do without.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Spark 4.2 says so of pandas 3 wherever Arrow is used; the lake gives it no pandas.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.appName(name).getOrCreate()
    wrong = {key: value for key, value in NEEDED.items() if spark.conf.get(key, "") != value}
    if wrong:
        lines = ", ".join(f"{key}={value}" for key, value in wrong.items())
        raise PlatelakeError(
            f"Spark runs without {lines}: run `make env`, or submit with "
            "--properties-file conf/spark-defaults.conf"
        )
    return spark
