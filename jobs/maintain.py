"""Fewer and larger files, and none that no kept version needs.

    spark-submit jobs/maintain.py --stage chromate

Compacts every table, then removes files that no version of the last `retention_hours` needs.
The rows stay as they are; a second run finds nothing to do.
"""

import sys

import structlog

from jobs.context import RunContext
from jobs.submit import leave, submit
from lakehouse.tables import all_tables


def run(context: RunContext) -> None:
    """Compact and vacuum each table that exists, and say what that did."""
    for table in all_tables(context.stage):
        before = context.lake.file_sizes(table)
        if not before:
            continue
        context.lake.compact(table)
        context.lake.vacuum(table, context.settings.retention_hours)
        after = context.lake.file_sizes(table)
        figures = {
            "files_before": len(before),
            "files_after": len(after),
            "mean_bytes_before": sum(before) // len(before),
            "mean_bytes_after": sum(after) // len(after),
        }
        structlog.get_logger().info("maintained", table=table.name, **figures)
        context.maintained[table.name] = figures


def main(argv: list[str]) -> int:
    """Entry point for spark-submit; returns the exit code."""
    return submit("maintain", argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
