"""The Spark session of a job. Its settings come only from spark-submit."""

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.errors import PlatelakeError
from lakehouse.spark.executors import check_executors
from lakehouse.spark.installed import jar_faults, spark_java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NEEDED = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
}


def check_installed() -> None:
    """Raise PlatelakeError if Java or one of Delta's jars is missing, before Spark fails."""
    import pyspark

    spark_java(Path(sys.prefix))
    home = Path(pyspark.__file__).parent
    if Path(os.environ.get("SPARK_HOME", home)).resolve() == home.resolve():
        faults = jar_faults(home / "jars")
        if faults:
            raise PlatelakeError(f"Spark cannot be used: {'; '.join(faults)}. Run `make env`")


def open_session(name: str) -> "SparkSession":
    """Return the running session, or a new one with the settings that spark-submit finds.

    Raises PlatelakeError if these settings, or the workers' Python, lack what the lake needs.
    """
    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # If set, spark-submit has started the JVM.
        check_installed()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Spark 4.2 warns about pandas 3 at each use of Arrow; the lake does not use pandas.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    from pyspark.sql import SparkSession

    is_new = SparkSession.getActiveSession() is None
    spark = SparkSession.builder.appName(name).getOrCreate()
    wrong = {key: value for key, value in NEEDED.items() if spark.conf.get(key, "") != value}
    if wrong:
        lines = ", ".join(f"{key}={value}" for key, value in wrong.items())
        raise PlatelakeError(
            f"Spark runs without {lines}: run `make env`, or submit with "
            "--properties-file conf/spark-defaults.conf"
        )
    if is_new:
        check_executors(spark)
    return spark
