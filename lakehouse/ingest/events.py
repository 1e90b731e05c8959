"""The ledger's table, `files`: read the events of each file by key, and record new ones.

It is never loaded as a whole: memory depends on the files that are asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.delta import keys
from lakehouse.delta.lake import Lake
from lakehouse.ingest.ledger import DUPLICATE, LOADED, QUARANTINED, Delivery, FileState
from lakehouse.landing.files import array_of
from lakehouse.tables.files import FILES

CONTENT = ("file", "event", "sha256")
STATE = ("file", "event", "sha256", "size", "modified_at", "status", "label", "seen_at")


def states(last: pa.Table) -> dict[str, FileState]:
    """Return the states of files by these last events, without values from events before."""
    return {row["file"]: FileState(**row) for row in last.select(STATE).to_pylist()}


def related_states(
    lake: Lake, kind: str, files: Iterable[str], contents: Iterable[str]
) -> dict[str, FileState]:
    """Return these files, those that ever had one of these contents, and all that share content.

    Decisions about these files depend on no other files, so the ledger is never loaded as a whole.
    """
    names, hashes = set(files), set(contents) - {""}
    if not names and not hashes:  # A run that finds nothing new.
        return {}
    while True:
        by_content = pc.field("sha256").isin(pa.array(hashes, pa.string()))
        rows = _events(lake, kind, in_files(names) | by_content, STATE)
        found = set(rows["file"].unique().to_pylist()), set(rows["sha256"].unique().to_pylist())
        if found[0] <= names and found[1] - {""} <= hashes:
            break
        names |= found[0]
        hashes |= found[1] - {""}
    states: dict[str, FileState] = {}
    for row in rows.sort_by("event").to_pylist():
        states[row["file"]] = FileState(**row).since(states.get(row["file"]))
    return states


def overlooked(lake: Lake, kind: str, last: pa.Table) -> set[str]:
    """Return unchanged files that an earlier run may have overlooked.

    That is a duplicate, if the file that it names no longer holds the content, and a file with
    content that another had before its correction. `heirs` and `copies` decide what to do.
    """
    names = last["file"].filter(pc.equal(last["status"], DUPLICATE))
    duplicates = last_events(lake, kind, names, (*CONTENT, "duplicate_of"))
    holders = last_events(lake, kind, duplicates["duplicate_of"].unique(), (*CONTENT, "status"))
    holders = holders.filter(pc.is_in(holders["status"], pa.array([LOADED, QUARANTINED])))
    holders = holders.select(["file", "sha256"]).rename_columns(["duplicate_of", "sha256"])
    orphans = keys.with_key_not_among(duplicates, holders, ("duplicate_of", "sha256"))
    loaded = last.filter(pc.equal(last["status"], LOADED)).select(["file", "sha256"])
    corrected = _corrected(lake, kind, loaded["sha256"])
    copies = loaded.filter(pc.is_in(loaded["sha256"], array_of(corrected))).to_pylist()
    copied = {one["file"] for one in copies if corrected[one["sha256"]] - {one["file"]}}
    return {*orphans["file"].to_pylist(), *copied}


def _corrected(lake: Lake, kind: str, contents: pa.ChunkedArray) -> dict[str, set[str]]:
    """Return, for each of these contents, the files that had it and have another now."""
    names = _events(lake, kind, pc.field("event") > 1, CONTENT)["file"].unique()
    events = _events(lake, kind, in_files(names), CONTENT)
    now = _last_of(events).select(["file", "sha256"])
    before = keys.with_key_not_among(events, now, ("file", "sha256"))
    before = before.filter(pc.is_in(before["sha256"], array_of(contents)))
    found: dict[str, set[str]] = {}
    for row in before.select(["file", "sha256"]).to_pylist():
        found.setdefault(row["sha256"], set()).add(row["file"])
    return found


def in_files(files: Iterable[str] | pa.ChunkedArray) -> pc.Expression:
    """Return the Arrow condition for the rows of these files."""
    return pc.field("file").isin(array_of(files))


def _events(lake: Lake, kind: str, where: pc.Expression, columns: Sequence[str]) -> pa.Table:
    """Load these columns of the kind's events that meet the condition."""
    return lake.load(FILES, where=(pc.field("kind") == kind) & where, columns=columns)


def last_events(
    lake: Lake, kind: str, files: Collection[str] | pa.ChunkedArray, columns: Sequence[str] = STATE
) -> pa.Table:
    """Load these columns of the last event of each of the files, if any."""
    if not len(files):
        return FILES.arrow_schema().empty_table().select(columns)
    return _last_of(_events(lake, kind, in_files(files), columns))


def _last_of(events: pa.Table) -> pa.Table:
    """Keep the last event of each file."""
    last = events.group_by("file").aggregate([("event", "max")])
    if last.num_rows == events.num_rows:
        return events
    return keys.with_key_among(events, last.rename_columns(["file", "event"]), ("file", "event"))


def record(lake: Lake, deliveries: Iterable[Delivery], run_id: str) -> None:
    """Write the deliveries' events once, even if the same plan is recorded again."""
    now = datetime.now(UTC)
    rows: list[dict[str, Any]] = [
        {
            "kind": d.landed.kind,
            "file": d.landed.file,
            "event": d.event,
            "sha256": d.report.sha256,
            "size": d.landed.size,
            "modified_at": d.landed.modified_at,
            "status": d.status,
            "duplicate_of": d.duplicate_of,
            "label": d.landed.label,
            "rows_read": d.rows_read,
            "rows_stored": d.rows_stored,
            "rows_quarantined": d.rows_quarantined,
            "note": d.report.note,
            "run_id": run_id,
            "seen_at": now,
        }
        for d in deliveries
    ]
    if rows:
        plan = [(row["kind"], row["file"], row["event"], row["sha256"]) for row in rows]
        lake.append_rows(FILES, rows, hashlib.sha256(repr(plan).encode()).hexdigest())
