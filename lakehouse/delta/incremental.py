"""Keeping a table that is computed from others up to date, at the cost of what changed.

A computed table's commit names the versions of its sources. The next run asks their change
feeds which days have changed since, and recomputes those days only; where a feed does not
reach back, all days. Commit and watermark are one, so a crash cannot part them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import structlog

from lakehouse.delta.engine import compute_days
from lakehouse.delta.lake import Lake
from lakehouse.table import Table

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


def refresh(
    lake: Lake,
    target: Table,
    sources: Sequence[Table],
    compute: Callable[..., pa.Table],
    whole: bool = False,
) -> int:
    """Recompute the days of `target` that changed in any of `sources`.

    `compute` takes the sources' rows of those days, as Arrow, and gives the target's rows. It may
    be called once or for each day. Only the first source may be large. A source without a day, once
    changed, changes all days, as `whole` does. Returns the rows that came out different; without
    any change of a source, nothing is read and nothing written.
    """
    before = lake.consumed(target)
    versions = {source.name: lake.version(source) for source in sources}
    if (versions == before and not whole) or max(versions.values()) < 0:  # None is made yet.
        return 0
    days = None if whole else changed_days(lake, sources, before, versions)
    if days is not None and not days:
        return lake.insert_rows(target, [], versions)
    scope = None if days is None else {"day": sorted(days)}
    rows = compute_days(lake, sources, versions, days, compute, target.arrow_schema())
    return lake.upsert(target, rows, scope, versions)


def changed_days(
    lake: Lake, sources: Sequence[Table], before: dict[str, int], after: dict[str, int]
) -> set[date] | None:
    """The days whose rows changed between the versions; None: any may have."""
    days: set[date] = set()
    for source in sources:
        old, new = before.get(source.name), after[source.name]
        if old == new:
            continue
        if old is None or "day" not in source.names:
            return None
        changed = lake.changed(source, ["day"], old, new)
        if changed is None:
            return None
        days |= {day for (day,) in changed}
    return days


def follow(
    lake: Lake,
    target: Table,
    source: Table,
    columns: Sequence[str],
    compute: Callable[[list[Row]], list[Row]],
) -> int:
    """Add to `target` what `compute` makes of the source's changes since it was last followed.

    It takes these columns of the changes, as `Lake.changes` gives them. Returns the rows added.
    Changes that the feed no longer holds are not followed.
    """
    version = lake.version(source)
    before = lake.consumed(target).get(source.name, -1)
    if version == before:
        return 0
    changes = lake.changes(source, columns, before, version)
    if changes is None:
        structlog.get_logger().warning(
            "changes are no longer kept", table=source.name, after_version=before
        )
    return lake.insert_rows(target, compute(changes or []), {source.name: version})
