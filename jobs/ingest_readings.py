"""The landing zone's sensor files into the lake.

    spark-submit jobs/ingest_readings.py --stage chromate --landing DIR [--from DAY] [--to DAY]

Reads the landing zone and the ledger; writes readings, quarantine, files and a row of runs.
A second run finds every file in the ledger: it adds its row of runs and nothing else.
"""

import sys

from jobs.context import RunContext
from jobs.submit import leave, submit
from lakehouse.ingest.text import ingest_readings


def run(context: RunContext) -> None:
    """Ingest, and add to the run's counts."""
    context.counts += ingest_readings(context.ingest("readings"))


def main(argv: list[str]) -> int:
    """Entry point for spark-submit; returns the exit code."""
    return submit("ingest-readings", argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
