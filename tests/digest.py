"""A fingerprint of what a lake holds, however its files and commits came about."""

import hashlib
from collections import Counter
from datetime import datetime
from typing import Any

from lakehouse.delta.lake import Lake
from lakehouse.stage import Stage
from lakehouse.table import Table
from lakehouse.tables import all_tables
from lakehouse.tables.files import FILES
from lakehouse.tables.runs import RUNS


def digests(lake: Lake, stage: Stage) -> dict[str, str]:
    """Of every table but runs, by name: equal if and only if the rows are, apart from
    bookkeeping. Of the ledger, what each file is now, not how often it was looked at."""
    return {t.name: digest(lake, t) for t in all_tables(stage) if t is not RUNS}


def digest(lake: Lake, table: Table) -> str:
    return hashlib.sha256("\n".join(_lines(lake, table)).encode()).hexdigest()


def differences(one: Lake, other: Lake, table: Table, most: int = 3) -> list[str]:
    """The first rows that only one of the lakes has, in words."""
    sides = Counter(_lines(one, table)), Counter(_lines(other, table))
    lines = [
        f"{table.name} has {text}: {line}"
        for text, left, right in (("no longer", *sides), ("besides", *reversed(sides)))
        for line in list((left - right).elements())[:most]
    ]
    return lines or [f"{table.name}: equal when read once more"]


def _lines(lake: Lake, table: Table) -> list[str]:
    rows = lake.rows(table, *table.facts)
    if table is FILES:
        rows = _last_events(rows)
    return sorted(repr([_plain(row[name]) for name in table.facts]) for row in rows)


def versions(lake: Lake, stage: Stage) -> dict[str, int]:
    """The version of every table but runs, which each run adds to."""
    return {t.name: lake.version(t) for t in all_tables(stage) if t is not RUNS}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):  # However the reader writes UTC.
        return value.isoformat()
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else value


def _last_events(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["event"]):
        last[row["kind"], row["file"]] = {**row, "event": None}
    return list(last.values())
