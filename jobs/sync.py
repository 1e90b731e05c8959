"""What changed in the mirrored tables, to SQL; what the app wrote there, to the lake.

    spark-submit jobs/sync.py --stage chromate [--whole]

Reads lots, variable_days, picture_days and runs; writes the SQL tables of the same names, each
in one transaction that ends with both sides counted. Adds the rows of the SQL tables inspections,
corrections and agreed_labels to the lake's, each once. A second run changes nothing.
"""

import sys
from shlex import quote

from jobs.context import RunContext
from jobs.submit import leave, submit
from lakehouse.sql.pull import collect_tables
from lakehouse.sql.push import mirror_tables


def run(context: RunContext) -> None:
    """Bring SQL to the version of the lake, and the lake to what the app wrote."""
    url = context.settings.sql_address()
    options = context.options
    place = options.advice + (f" --sql-url {quote(options.sql_url)}" if options.sql_url else "")
    context.sql_rows |= mirror_tables(context.lake, context.stage.name, url, options.whole, place)
    collect_tables(context.lake, context.stage.name, url)


def main(argv: list[str]) -> int:
    """Entry point for spark-submit; returns the exit code."""
    return submit("sync", argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
