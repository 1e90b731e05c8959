"""What each job of a run has: options, lake, stage, and what the run has done so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from jobs.options import Options
from lakehouse.delta.lake import Lake
from lakehouse.errors import UsageError
from lakehouse.ingest.context import IngestContext
from lakehouse.ingest.ledger import Counts
from lakehouse.landing.stable import Looks
from lakehouse.settings import Settings
from lakehouse.stage import Stage


@dataclass
class RunContext:
    """What a run has: lake, stage, settings and options; and what its jobs leave for the report.

    `looks` are the run's looks at the landing zone; None if it has none.
    """

    lake: Lake
    stage: Stage
    settings: Settings
    options: Options
    run_id: str
    started_at: datetime
    looks: Looks | None = None
    counts: Counts = field(default_factory=Counts)
    unmatched: int = 0
    sql_rows: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    maintained: dict[str, dict[str, int]] = field(default_factory=dict)

    again: dict[str, frozenset[str]] = field(default_factory=dict)
    only_again: bool = False
    withdraw: frozenset[str] = frozenset()

    def ingest(self, kind: str) -> IngestContext:
        """What the ingest of that kind of file needs."""
        if not self.options.landing or self.looks is None:
            raise UsageError("no landing directory; give the plant's folder by --landing")
        return IngestContext(
            self.lake,
            self.stage,
            self.settings,
            self.options.landing,
            self.looks,
            self.run_id,
            self.again.get(kind, frozenset()),
            self.options.first_day,
            self.options.last_day,
            self.only_again,
            self.withdraw,
            self.options.allow_loss,
        )
