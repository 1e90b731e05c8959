"""Keep a table that is computed from others up to date, at the cost of the changes only.

A computed table's commit names the versions of its sources. The next run asks their change feeds
which days have changed since, and recomputes only those days; if a feed does not reach back that
far, all days. Rows and watermark are one commit, so a crash cannot separate them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    settings: Mapping[str, int] | None = None,
) -> int:
    """Recompute the days of `target` that changed in any of `sources`.

    `compute` takes the sources' rows of those days, as Arrow, and returns the target's rows. It may
    be called once or for each day. Only the first source may be large. If a source without a day
    changes, all days are recomputed, as with `whole`. So they are if one of the `settings` that
    `compute` depends on changes; one that is 0 counts as never said. Returns the number of rows
    that changed; if nothing changed, nothing is read or written.
    """
    before = lake.consumed(target)
    settings = settings or {}
    whole = whole or any(before.get(name, 0) != value for name, value in settings.items())
    of_sources = {source.name: lake.version(source) for source in sources}
    versions = of_sources | {name: value for name, value in settings.items() if value}
    if (versions == before and not whole) or max(of_sources.values()) < 0:  # No source exists.
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
    """Return the days whose rows changed between the versions; None: any may have changed."""
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
    """Add to `target` the rows that `compute` makes of the source's changes since the last call.

    `compute` takes these columns of the changes, as `Lake.changes` gives them. Returns the number
    of rows added. Changes that the feed no longer holds are skipped with a warning.
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
