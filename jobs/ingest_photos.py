"""The landing zone's photos into the lake.

    spark-submit jobs/ingest_photos.py --stage chromate --landing DIR [--from DAY] [--to DAY]

Reads the landing zone and the ledger; writes photos, pictures, picture_names, quarantine,
files and a row of runs.
A second run finds every file in the ledger: it adds its row of runs and nothing else.
"""

import sys

from jobs.context import RunContext
from jobs.submit import leave, submit
from lakehouse.ingest.photos import ingest_photos


def run(context: RunContext) -> None:
    """Ingest, and add to the run's counts."""
    context.counts += ingest_photos(context.ingest("photos"))


def main(argv: list[str]) -> int:
    """Entry point for spark-submit; returns the exit code."""
    return submit("ingest-photos", argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
