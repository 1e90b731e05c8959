"""Label lots from readings and error lists."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date
from typing import Any

import pyarrow as pa

from lakehouse.files.results import SAYS_FAILED, SAYS_GOOD, UNREAD
from lakehouse.stage_sections import LINE_MARK
from lakehouse.tables.label_changes import LABEL_CHANGES
from lakehouse.tables.label_report import LABEL_REPORT
from lakehouse.tables.lots import LOTS

FAILED, GOOD, UNKNOWN = "failed", "good", "unknown"
GONE = ("update_preimage", "delete")

Lot = tuple[date, str]


@dataclass
class ListedDay:
    """What the error lists say about one day.

    `failed` are all lots that a row names, also a quarantined row. `rows` counts the valid rows of
    the day, `files` are their lists. `is_doubted`: a quarantined row or list may mean the day.
    """

    failed: set[str] = field(default_factory=set)
    rows: int = 0
    files: set[str] = field(default_factory=set)
    is_doubted: bool = False


def label_lots(
    readings: pa.Table,
    error_lists: pa.Table,
    doubted_days: pa.Table,
    unlisted: str = UNKNOWN,
    quarantined: Collection[Lot] = (),
    may_stand_alone: bool = True,
) -> pa.Table:
    """Label every lot that has readings.

    A lot is failed if any row names it for its day, quarantined or not. It is unknown if no list
    has the day, if a quarantined row or list may mean the day, or if it may be a failed lot that
    has no readings. It is good if the day's lists do not name it. If lists name failures only,
    lots of a day without a list are good, too.

    If the readings have a `result`, a lot is also failed if any of its rows says so. It is good if
    a row says so, and its list, if its day has one, does, too. It is unknown if a result of it
    cannot be read or is in a quarantined row.

    Args:
        readings: day, lot and measured_at of the readings, and `result` if the stage has it.
        error_lists: day, lots and file of the lists' valid rows.
        doubted_days: day, lots and file of the rows of `doubted_days`.
        unlisted: Label of lots on days that no list has.
        quarantined: Day and lot of quarantined rows that may have had a result.
        may_stand_alone: Whether a result alone makes a lot good; not if an unread list may be its.

    Returns:
        A table with the columns of `lots`, one row per lot, sorted by day and lot.

    Example:
        >>> day = date(2021, 11, 1)
        >>> readings = pa.table({
        ...     "day": [day] * 3,
        ...     "lot": ["17", "17", "18"],
        ...     "measured_at": pa.array([0, 5_000_000, 9_000_000], pa.timestamp("us", "UTC")),
        ... })
        >>> listed = pa.table({"day": [day], "lots": [["17"]], "file": ["list.csv"]})
        >>> lots = label_lots(readings, listed, doubted_days=listed.slice(0, 0))
        >>> dict(zip(lots["lot"].to_pylist(), lots["label"].to_pylist()))
        {'17': 'failed', '18': 'good'}
    """
    lots = summarise_lots(readings)
    listed = summarise_lists(error_lists, doubted_days)
    results = summarise_results(readings, quarantined)
    labels = [
        _joined(label, results.get(key), key[0] in listed or not may_stand_alone)
        for key, label in _list_labels(lots, listed, unlisted).items()
    ]
    return pa.table([*lots.columns, labels], schema=LOTS.arrow_schema())


def _list_labels(lots: pa.Table, listed: Mapping[date, ListedDay], unlisted: str) -> dict[Lot, str]:
    """Return the label of each lot by the lists alone, in the order of `lots`."""
    days, names = lots["day"].to_pylist(), lots["lot"].to_pylist()
    found = _by_day(days, names)
    unmatched = {
        day: _unmatched(one.failed, set(found[day])) for day, one in listed.items() if day in found
    }
    return {
        (day, lot): _label(lot, listed[day], unmatched[day], unlisted)
        if day in listed
        else unlisted
        for day, lot in zip(days, names, strict=True)
    }


def _joined(label: str, result: str | None, may_be_listed: bool) -> str:
    """Return the label of a lot from its label by the lists and its result in the readings."""
    if FAILED in (label, result):
        return FAILED
    if result == UNREAD:
        return UNKNOWN
    return GOOD if result == SAYS_GOOD and not may_be_listed else label


def summarise_results(readings: pa.Table, quarantined: Collection[Lot]) -> dict[Lot, str]:
    """Return what the rows of each lot say together; lots of which none says anything are not in.

    One failed row makes a failed lot. Else one unread row makes an unread lot, also a quarantined.
    """
    if "result" not in readings.column_names:
        return {}
    found: dict[Lot, set[str | None]] = {}
    for row in readings.group_by(["day", "lot", "result"]).aggregate([]).to_pylist():
        found.setdefault((row["day"], row["lot"]), set()).add(row["result"])
    for lot in found.keys() & set(quarantined):
        found[lot].add(UNREAD)
    order = (SAYS_FAILED, UNREAD, SAYS_GOOD)
    return {
        lot: next(one for one in order if one in said)
        for lot, said in found.items()
        if said != {None}
    }


def _label(lot: str, day: ListedDay, unmatched: set[str] | None, unlisted: str) -> str:
    """Return the label of a lot; `unmatched` are the day's failed lots without readings."""
    if lot in day.failed:
        return FAILED
    if day.is_doubted or unmatched is None or _plain(lot) in unmatched:
        return UNKNOWN
    return GOOD if day.rows else unlisted


def _unmatched(failed: set[str], found: set[str]) -> set[str] | None:
    """Return the day's failed lots without readings, in plain form; None: they may be any lot.

    Such a lot may be any lot with the same plain form, as 0017 and 17; without one, any lot.
    """
    unmatched = {_plain(lot) for lot in failed - found}
    return unmatched if unmatched <= {_plain(lot) for lot in found} else None


def _plain(lot: str) -> str:
    """Return the lot without what lists often leave out: its line, leading zeros, capitals."""
    lot = lot.rpartition(LINE_MARK)[2]
    return re.sub("^0+(?=.)", "", lot).lower()


def report_labels(
    lots: pa.Table,
    error_lists: pa.Table,
    doubted_days: pa.Table,
    readings: pa.Table | None = None,
    unlisted: str = UNKNOWN,
    quarantined: Collection[Lot] = (),
) -> pa.Table:
    """Report how lots and lists match, one row per day that has either, as `label_report`.

    `readings` have a `result`; without them, the columns about results are null.
    """
    days = lots["day"].to_pylist()
    found = _by_day(days, lots["lot"].to_pylist())
    labels = _by_day(days, lots["label"].to_pylist())
    listed = summarise_lists(error_lists, doubted_days)
    rows = [
        _report(day, found.get(day, []), labels.get(day, []), listed.get(day, ListedDay()))
        for day in sorted(found.keys() | listed)
    ]
    if readings is not None:
        by_list = _list_labels(lots, listed, unlisted)
        _compare(rows, by_list, summarise_results(readings, quarantined))
    return pa.Table.from_pylist(rows, LABEL_REPORT.arrow_schema())


def _compare(
    rows: Sequence[dict[str, Any]], by_list: Mapping[Lot, str], results: Mapping[Lot, str]
) -> None:
    """Add to the report's rows which lots' lists and results disagree, and which are unread."""
    of_day = {row["day"]: row for row in rows}
    for row in rows:
        row.update(disagreeing_lots=[], unread_lots=[])
    for (day, lot), label in sorted(by_list.items()):
        result = results.get((day, lot))
        if result == UNREAD:
            of_day[day]["unread_lots"].append(lot)
        elif {label, result} == {FAILED, GOOD}:
            of_day[day]["disagreeing_lots"].append(lot)


def _report(
    day: date, lots: Sequence[str], labels: Sequence[str], listed: ListedDay
) -> dict[str, Any]:
    failed, good, unknown = (labels.count(label) for label in (FAILED, GOOD, UNKNOWN))
    return LABEL_REPORT.row(
        day,
        listed.rows > 0,
        listed.rows,
        sorted(listed.files),
        len(lots),
        failed,
        good,
        unknown,
        sorted(listed.failed.difference(lots)),
        (len(lots) - unknown) / len(lots) if lots else None,
        None,
        None,
    )


def _by_day(days: Sequence[date], values: Sequence[str]) -> dict[date, list[str]]:
    found: dict[date, list[str]] = {}
    for day, value in zip(days, values, strict=True):
        found.setdefault(day, []).append(value)
    return found


def difference_of_labels(changes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of `label_changes` from changes of `lots`.

    That is each lot whose label changed or which is gone.
    """
    before = {_changed(row): row for row in changes if row["_change_type"] in GONE}
    after = {_changed(row): row["label"] for row in changes if row["_change_type"] not in GONE}
    return [
        LABEL_CHANGES.row(
            *key,
            row["label"],
            after.get(key),
            row["_commit_timestamp"].replace(tzinfo=UTC),
        )
        for key, row in before.items()
        if row["label"] != after.get(key)
    ]


def _changed(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["_commit_version"], row["day"], row["lot"]


def summarise_lots(readings: pa.Table) -> pa.Table:
    """Return day, lot, readings, started_at and ended_at of each lot, sorted by day and lot."""
    moment = "measured_at"
    found = readings.group_by(["day", "lot"]).aggregate(
        [([], "count_all"), (moment, "min"), (moment, "max")]
    )
    columns = found.select(["day", "lot", "count_all", f"{moment}_min", f"{moment}_max"])
    named = columns.rename_columns(["day", "lot", "readings", "started_at", "ended_at"])
    return named.sort_by([("day", "ascending"), ("lot", "ascending")])


def summarise_lists(error_lists: pa.Table, doubted_days: pa.Table) -> dict[date, ListedDay]:
    """Collect what the lists say about each day that a row has or may mean."""
    found: dict[date, ListedDay] = {}
    for table, doubted in ((error_lists, False), (doubted_days, True)):
        for row in table.select(["day", "lots", "file"]).to_pylist():
            day = found.setdefault(row["day"], ListedDay())
            day.failed.update(row["lots"] or ())
            if doubted:
                day.is_doubted = True
            else:
                day.rows += 1
                day.files.add(row["file"])
    return found
