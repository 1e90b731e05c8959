"""Daily summaries of the readings and photos that changed.

    spark-submit jobs/summarise.py --stage chromate [--whole]

Reads readings and picture_names; writes variable_days and picture_days.
A second run finds nothing changed and writes nothing.
"""

import sys

from jobs.context import RunContext
from jobs.submit import leave, submit
from lakehouse.delta.incremental import refresh
from lakehouse.derive.summaries import summarise_pictures, summarise_variables
from lakehouse.tables.picture_days import PICTURE_DAYS
from lakehouse.tables.picture_names import PICTURE_NAMES
from lakehouse.tables.readings import readings
from lakehouse.tables.variable_days import VARIABLE_DAYS


def run(context: RunContext) -> None:
    """Summarise the days that changed."""
    lake, stage, whole = context.lake, context.stage, context.options.whole
    units = {variable.name: variable.unit for variable in stage.variables}
    source = readings(stage)
    refresh(lake, VARIABLE_DAYS, [source], lambda rows: summarise_variables(rows, units), whole)
    refresh(lake, PICTURE_DAYS, [PICTURE_NAMES], summarise_pictures, whole)


def main(argv: list[str]) -> int:
    """Entry point for spark-submit; returns the exit code."""
    return submit("summarise", argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
