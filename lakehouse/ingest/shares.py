"""How much of a file or a day a run quarantines: a wrong stage file shows in these shares.

A wrong clock, a wrong column or a range of another stage quarantines most rows of each file. That
is no fault of single rows, so a person must see it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from lakehouse.delta import engine
from lakehouse.delta.lake import Lake
from lakehouse.delta.rows import Rows
from lakehouse.ingest.events import last_events
from lakehouse.ingest.ledger import QUARANTINED, Delivery
from lakehouse.settings import Settings
from lakehouse.tables.files import FILES

LEAST_ROWS, LEAST_FILES = 20, 3
"""With fewer rows or files, a share says little."""
STORED_ELSEWHERE = ("duplicate_key", "superseded")
"""Rules of rows that another row stands for: logs may overlap, so no run fails for these."""
SHOWN = 10

RowCounts = Counter[tuple[str, str, str]]
"""Number of rows by file, day and rule; day and rule are empty if there is none."""


@dataclass(frozen=True)
class LargeShare:
    """A file or day of which a run quarantined much. `rule` is the one that most rows broke.

    `lost` counts the rows that no other row stands for.
    """

    kind: str
    of: str
    rows: int
    quarantined: int
    lost: int
    rule: str

    @property
    def share(self) -> float:
        """Share of the rows that were quarantined."""
        return self.quarantined / self.rows

    def __str__(self) -> str:
        """Say it in a sentence."""
        return f"{self.of}: {self.quarantined} of {self.rows} quarantined, most by {self.rule}"


def count_by_rule(checked: Rows) -> RowCounts:
    """Count the checked rows by file, day and rule."""
    names = ["file", "day", "rule"]

    def counted(rows: pa.Table) -> pa.Table:
        return rows.select(names).group_by(names).aggregate([([], "count_all")])

    types = [pa.string(), pa.date32(), pa.string(), pa.int64()]
    schema = pa.schema(list(zip([*names, "count_all"], types, strict=True)))
    found: RowCounts = Counter()
    for row in engine.collected(engine.map_rows(checked, counted, schema)).to_pylist():
        found[row["file"], str(row["day"] or ""), row["rule"] or ""] += row["count_all"]
    return found


def large_shares(
    kind: str, counts: RowCounts, deliveries: Sequence[Delivery], least: float
) -> tuple[LargeShare, ...]:
    """Return the files and days with a larger share than `least`, the largest first.

    If most files are quarantined as a whole, this is one more, of all files of the kind.
    """
    rows: Counter[str] = Counter()
    broken: dict[str, Counter[str]] = {}
    for (file, day, rule), count in counts.items():
        for of in (file, day):
            rows[of] += count
            if rule:
                broken.setdefault(of, Counter())[rule] += count
    del rows[""]
    found = [
        LargeShare(kind, of, rows[of], rules.total(), _lost(rules), rules.most_common(1)[0][0])
        for of, rules in broken.items()
        if rows[of] >= LEAST_ROWS and rules.total() > least * rows[of]
    ]
    whole = Counter(d.report.rule or "" for d in deliveries if d.status == QUARANTINED)
    if len(deliveries) >= LEAST_FILES and whole.total() > least * len(deliveries):
        rule = whole.most_common(1)[0][0]  # No row is lost: each run looks at such files again.
        found.append(LargeShare(kind, "files as a whole", len(deliveries), whole.total(), 0, rule))
    return tuple(sorted(found, key=lambda one: (-one.share, one.of)))


def _lost(rules: Counter[str]) -> int:
    return sum(count for rule, count in rules.items() if rule not in STORED_ELSEWHERE)


def warn_of_shares(found: Sequence[LargeShare]) -> None:
    """Warn of them in the log."""
    if found:
        log = structlog.get_logger()
        shown = [str(one) for one in found[:SHOWN]]
        log.warning("much is quarantined", kind=found[0].kind, count=len(found), of=shown)


def much_quarantined(lake: Lake, least: float) -> list[dict[str, Any]]:
    """Return the files whose last event has a larger share of rows in quarantine than `least`.

    Each has file, rows_read and rows_quarantined; the largest share comes first.
    """
    columns = ("kind", "file", "event", "rows_read", "rows_quarantined")
    large = pc.field("rows_quarantined") > pc.field("rows_read") * least
    found = lake.load(FILES, where=large & (pc.field("rows_read") >= LEAST_ROWS), columns=columns)
    rows: list[dict[str, Any]] = []
    for kind in sorted(set(found["kind"].to_pylist())):
        of_kind = found.filter(pc.equal(found["kind"], kind)).to_pylist()
        files = {row["file"] for row in of_kind}
        last = last_events(lake, kind, files, ("file", "event")).to_pylist()
        current = {(row["file"], row["event"]) for row in last}
        rows += [row for row in of_kind if (row["file"], row["event"]) in current]
    return sorted(rows, key=lambda row: (-row["rows_quarantined"] / row["rows_read"], row["file"]))


def too_large(found: Sequence[LargeShare], settings: Settings) -> list[LargeShare]:
    """Return those for which a run must fail."""
    limit = settings.quarantined_share_fails
    return [one for one in found if one.lost > limit * one.rows]
