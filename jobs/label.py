"""Labels of the lots whose readings or error lists changed.

    spark-submit jobs/label.py --stage chromate [--whole]

Reads readings and error_lists; writes lots, label_report and label_changes, each in one
commit. A second run finds nothing changed and writes nothing.
"""

import sys

import structlog

from jobs.cli import invoke
from jobs.runner import Work
from lakehouse.incremental import follow, refresh
from lakehouse.tables.error_lists import ERROR_LISTS
from lakehouse.tables.label_changes import LABEL_CHANGES
from lakehouse.tables.label_report import LABEL_REPORT
from lakehouse.tables.lots import LOTS
from lakehouse.tables.readings import readings
from lakehouse.transforms.labels import difference_of_labels, label_lots, report_labels


def run(work: Work) -> None:
    """Label, report how lots and lists fit, and note what relabelling changed."""
    lake, whole = work.lake, work.options.whole
    lots = refresh(lake, LOTS, [readings(work.stage), ERROR_LISTS], label_lots, whole)
    refresh(lake, LABEL_REPORT, [LOTS, ERROR_LISTS], report_labels, whole)
    relabelled = follow(lake, LABEL_CHANGES, LOTS, ("day", "lot", "label"), difference_of_labels)
    structlog.get_logger().info("labelled", lots_changed=lots, relabelled=relabelled)


def main(argv: list[str]) -> int:
    """Entry point for spark-submit; returns the exit code."""
    return invoke(["label", *argv])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
