"""The landing zone's error lists into the lake.

    spark-submit jobs/ingest_error_lists.py --stage chromate --landing DIR [--from DAY] [--to DAY]

Reads the landing zone and the ledger; writes error_lists, quarantine, files and a row of runs.
A second run finds every file in the ledger: it adds its row of runs and nothing else.
"""

import sys

from jobs.context import RunContext
from jobs.submit import leave, submit
from lakehouse.ingest.text import ingest_error_lists


def run(context: RunContext) -> None:
    """Ingest, and add to the run's counts."""
    context.counts += ingest_error_lists(context.ingest("error_lists"))


def main(argv: list[str]) -> int:
    """Entry point for spark-submit; returns the exit code."""
    return submit("ingest-error-lists", argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
