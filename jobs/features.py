"""Features of the lots whose readings changed.

    spark-submit jobs/features.py --stage chromate [--whole]

Reads readings; writes bands (once, or with --whole: fitted on all readings there are) and
lot_features. A second run finds nothing changed and writes nothing.
"""

import sys

import pyarrow as pa
import structlog

from jobs.context import RunContext
from jobs.submit import leave, submit
from lakehouse.delta.incremental import refresh
from lakehouse.derive.bands import current_bands, fit_and_store
from lakehouse.derive.features import summarise_features
from lakehouse.tables.bands import BANDS
from lakehouse.tables.lot_features import lot_features
from lakehouse.tables.readings import readings


def run(context: RunContext) -> None:
    """Fit the bands where a variable has none, then compute the features."""
    lake, stage = context.lake, context.stage
    bands = current_bands(lake)
    if set(bands) != {v.name for v in stage.variables} or context.options.whole:
        bands = fit_and_store(lake, stage, context.settings.excursion_width)
    if not bands:
        structlog.get_logger().info("no readings yet, so no features")
        return
    target = lot_features(stage)
    schema = target.arrow_schema()

    def features(rows: pa.Table, _: pa.Table) -> pa.Table:
        return summarise_features(rows, bands, schema)

    changed = refresh(lake, target, [readings(stage), BANDS], features, context.options.whole)
    structlog.get_logger().info("computed", lots_changed=changed)


def main(argv: list[str]) -> int:
    """Entry point for spark-submit; returns the exit code."""
    return submit("features", argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
