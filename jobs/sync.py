"""What changed in the mirrored tables, to SQL.

    spark-submit jobs/sync.py --stage chromate [--whole]

Reads lots, variable_days, picture_days and runs; writes the SQL tables of the same names, each
in one transaction that ends with both sides counted. A second run changes nothing.
"""

import sys

from jobs.cli import invoke
from jobs.runner import Work
from lakehouse.mirror import mirror_tables


def run(work: Work) -> None:
    """Bring SQL to the version of the lake."""
    url = work.settings.sql_address()
    work.sql_rows |= mirror_tables(work.lake, work.stage.name, url, work.options.whole)


def main(argv: list[str]) -> int:
    """Entry point for spark-submit; returns the exit code."""
    return invoke(["sync", *argv])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
