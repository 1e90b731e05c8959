"""The files of some days read again, with today's rules, and all that follows from them.

    spark-submit jobs/backfill.py --stage chromate --landing DIR --from DAY --to DAY

Reads and writes what the main job does, for the files that hold these days.
A second backfill changes no row; the ledger notes that the files were read again.
"""

from __future__ import annotations

import sys

import pyarrow as pa
import pyarrow.compute as pc

from jobs.context import RunContext
from jobs.options import Options
from jobs.report import failure_reported, write_report
from jobs.runner import CHAIN, begin, do_jobs
from jobs.submit import leave, submit
from lakehouse.errors import UsageError
from lakehouse.files.readings import file_date
from lakehouse.tables.error_lists import ERROR_LISTS
from lakehouse.tables.files import FILES
from lakehouse.tables.picture_names import PICTURE_NAMES
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings


def run_backfill(options: Options) -> RunContext:
    """Run the main job on the files that hold these days, and on new files of these days.

    Rows are replaced by what the files hold, so a second backfill changes no row.
    """
    if options.first_day and options.last_day and options.first_day > options.last_day:
        raise UsageError(f"--from {options.first_day} is after --to {options.last_day}")
    with failure_reported(options.json_file, CHAIN):
        context = begin(options)
        context.again = files_of_days(context)
        do_jobs(CHAIN, context)
        write_report(context)
    return context


def files_of_days(context: RunContext) -> dict[str, frozenset[str]]:
    """By kind, the known files that brought rows or names of these days, or may bring some now.

    May: by the date in its name, or since it has entries in quarantine and shows no day.
    """
    lake, options = context.lake, context.options
    days = (pc.field("day") >= options.first_day) & (pc.field("day") <= options.last_day)
    photos = pa.array(lake.counts(PICTURE_NAMES, "sha256", days), pa.string())
    shown = (pc.field("kind") == "photos") & pc.field("sha256").isin(photos)
    brought = {
        "readings": set(lake.counts(readings(context.stage), "file", days)),
        "error_lists": set(lake.counts(ERROR_LISTS, "file", days)),
        "photos": set(lake.counts(FILES, "file", shown)),
    }
    return {
        kind: frozenset(files | _perhaps_of_days(context, kind)) for kind, files in brought.items()
    }


def _perhaps_of_days(context: RunContext, kind: str) -> set[str]:
    """Known files whose name has a date of these days, and quarantined files of unknown day."""
    first, last = context.options.first_day, context.options.last_day
    found = set()
    for table in (FILES, QUARANTINE) if kind == "readings" else (QUARANTINE,):
        for file in context.lake.counts(table, "file", pc.field("kind") == kind):
            day = file_date(context.stage, file) if kind == "readings" else None
            in_days = day and (first or day) <= day <= (last or day)
            if in_days if day else table is QUARANTINE:
                found.add(file)
    return found


def main(argv: list[str]) -> int:
    """Entry point for spark-submit; returns the exit code."""
    return submit("backfill", argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
