"""Files that a run passed over: no glob names them, or their folder cannot be listed."""

from __future__ import annotations

import structlog

from lakehouse.delta.lake import Lake
from lakehouse.landing.stable import Looks
from lakehouse.tables.unmatched_files import UNMATCHED_FILES

NO_GLOB = "no glob of the stage names it"
CLOSED = "this user may not list the folder"
SHOWN, KEPT = 10, 1000
"""How many names a warning shows, and how many the table has."""


def record_unmatched(lake: Lake, looks: Looks, run_id: str) -> int:
    """Have the table hold what this run passes over, with a warning; return how much it is.

    A folder's name ends with a slash. Writes nothing if the table holds that already.
    """
    closed = [f"{folder}/" for folder in looks.unreadable()]
    for reason, names in ((CLOSED, closed), (NO_GLOB, looks.unmatched())):
        if names:
            log = structlog.get_logger()
            log.warning("not read", why=reason, count=len(names), files=names[:SHOWN])
    found = dict.fromkeys(closed, CLOSED) | dict.fromkeys(looks.unmatched()[:KEPT], NO_GLOB)
    known = {row["file"]: row["reason"] for row in lake.rows(UNMATCHED_FILES, "file", "reason")}
    if known != found:
        rows = [UNMATCHED_FILES.row(file, why, run_id) for file, why in found.items()]
        lake.upsert_rows(UNMATCHED_FILES, rows, {"file": [*known, *found]})
    return len(closed) + len(looks.unmatched())
