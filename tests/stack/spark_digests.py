"""What Spark reads of the lake, as digests by table: `spark-submit spark_digests.py STAGE FILE`."""

import json
import sys
from pathlib import Path
from typing import Any

from lakehouse.delta.lake import Lake
from lakehouse.settings import load_settings
from lakehouse.spark.session import open_session
from lakehouse.stage import load_stage
from lakehouse.table import Table
from tests.digest import digests


class SparkLake(Lake):
    """A lake whose rows are read by Spark, not by delta-rs."""

    def rows(self, table: Table, *columns: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.read(table).select(*columns).toArrow().to_pylist()
        return found


if __name__ == "__main__":
    stage = load_stage(sys.argv[1])
    lake = SparkLake(load_settings().lake, stage.name, lambda: open_session("digests"))
    Path(sys.argv[2]).write_text(json.dumps(digests(lake, stage)))
