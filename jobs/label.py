"""Labels of the lots whose readings or error lists changed.

    spark-submit jobs/label.py --stage chromate [--whole]

Reads readings, error_lists and doubted_days, and quarantine if the stage has a `result`; writes
lots, label_report and label_changes, each in one commit. A second run finds nothing changed and
writes nothing.
"""

import sys
from collections.abc import Collection
from datetime import date
from functools import partial
from typing import Any
from zlib import crc32

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from jobs.context import RunContext
from jobs.submit import leave, submit
from lakehouse.delta.incremental import follow, refresh
from lakehouse.delta.lake import Lake
from lakehouse.derive.labels import GOOD, UNKNOWN, difference_of_labels, label_lots, report_labels
from lakehouse.ingest.list_doubts import of_no_day
from lakehouse.ingest.result_doubts import quarantined_lots
from lakehouse.tables.doubted_days import DOUBTED_DAYS
from lakehouse.tables.error_lists import ERROR_LISTS
from lakehouse.tables.label_changes import LABEL_CHANGES
from lakehouse.tables.label_report import LABEL_REPORT
from lakehouse.tables.lots import LOTS
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings


def run(context: RunContext) -> None:
    """Label, report how lots and lists fit, and note what relabelling changed."""
    lake, whole = context.lake, context.options.whole
    lists, sensed = [ERROR_LISTS, DOUBTED_DAYS], readings(context.stage)
    named = context.stage.error_lists
    names_failures = named is not None and named.unlisted_days == GOOD
    # A list that cannot be read may mean any day, and no longer once it is read.
    of_any_day = bool(of_no_day(lake))
    unlisted = GOOD if names_failures and not of_any_day else UNKNOWN
    label = partial(label_lots, unlisted=unlisted)
    settings = {"unlisted days are good": int(unlisted == GOOD), "result": 0}
    report, reported, of_report = report_labels, [LOTS, *lists], {"result": 0}
    if "result" in sensed.names:
        lost = quarantined_lots(lake, context.stage)
        of_report = settings | {"result": 1, "quarantined lots": _fingerprint(lost)}
        settings = of_report | {"lists of no day": int(of_any_day)}
        label = partial(label, quarantined=lost, may_stand_alone=not of_any_day)
        report = partial(_report_results, unlisted=unlisted, quarantined=lost)
        reported = [sensed, *reported]
    lots = refresh(lake, LOTS, [sensed, *lists], label, whole, settings)
    refresh(lake, LABEL_REPORT, reported, report, whole, of_report)
    relabelled = follow(lake, LABEL_CHANGES, LOTS, ("day", "lot", "label"), difference_of_labels)
    structlog.get_logger().info("labelled", lots_changed=lots, relabelled=relabelled)
    _warn_of_doubts(lake)
    _warn_of_results(lake)


def _report_results(
    readings: pa.Table, lots: pa.Table, error_lists: pa.Table, doubted_days: pa.Table, **about: Any
) -> pa.Table:
    return report_labels(lots, error_lists, doubted_days, readings, **about)


def _fingerprint(lots: Collection[tuple[date, str]]) -> int:
    """Return a number that differs for other lots; 0 for none."""
    return crc32(repr(sorted(lots)).encode()) if lots else 0


def _warn_of_results(lake: Lake) -> None:
    """Warn of lots whose result in the sensor files is not what the list says, or is unread."""
    columns = ("disagreeing_lots", "unread_lots")
    said = (
        "list and sensor file disagree: the lots count as failed",
        "results in the sensor file cannot be read: no such lot is good",
    )
    for row in lake.rows(LABEL_REPORT, "day", *columns):
        for name, warning in zip(columns, said, strict=True):
            lots = row[name] or ()
            if lots:
                day, some = str(row["day"]), lots[:SHOWN]
                structlog.get_logger().warning(warning, day=day, lots=some, lots_in_all=len(lots))


def _warn_of_doubts(lake: Lake) -> None:
    """Warn of days whose lots are unknown although a list covers them."""
    days: dict[str, set[str]] = {}
    for row in lake.rows(DOUBTED_DAYS, "file", "day"):
        days.setdefault(row["file"], set()).add(str(row["day"]))
    for file, doubted in sorted(days.items()):
        structlog.get_logger().warning(
            "list quarantined in part: no lot of these days is good",
            file=file,
            days=sorted(doubted)[:SHOWN],
            days_in_all=len(doubted),
        )
    for file in of_no_day(lake):
        structlog.get_logger().warning(
            "list quarantined, and none of its days is known: lots that it names may count as good",
            file=file,
        )
    unmatched = {
        row["day"]: row
        for row in lake.rows(LABEL_REPORT, "day", "listed", "unmatched_lots", "lots_unknown")
        if row["listed"] and row["unmatched_lots"]
    }
    held_back = _quarantined_lots(lake, unmatched)
    for day, row in unmatched.items():
        lots = row["unmatched_lots"]
        if row["lots_unknown"]:
            structlog.get_logger().warning(
                "failed lots have no readings: lots that they may be are unknown",
                day=str(day),
                lots=lots[:SHOWN],
                lots_unknown=row["lots_unknown"],
            )
        gone = [f"{lot} by {held_back[day, lot]}" for lot in lots if (day, lot) in held_back]
        if gone:
            structlog.get_logger().warning(
                "all readings of failed lots are quarantined",
                day=str(day),
                lots=gone[:SHOWN],
                lots_in_all=len(gone),
            )


def _quarantined_lots(lake: Lake, days: Collection[date]) -> dict[tuple[date, str], str]:
    """Map the lots of these days that have quarantined readings to the rule of one of them."""
    if not days:
        return {}
    where = pc.field("day").isin(list(days)) & (pc.field("kind") == "readings")
    rows = lake.load(QUARANTINE, where=where, columns=("day", "lot", "rule"))
    found = rows.group_by(["day", "lot"]).aggregate([("rule", "min")]).to_pylist()
    return {(row["day"], row["lot"]): row["rule_min"] for row in found if row["lot"]}


SHOWN = 10
"""How many days a warning names."""


def main(argv: list[str]) -> int:
    """Entry point for spark-submit; returns the exit code."""
    return submit("label", argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
