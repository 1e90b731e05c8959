"""What the app's verdicts come to: their mix and the reviews by day, and the labelled sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lakehouse.sql.database import Database
from serving.records.inspections import midnight
from serving.records.review import OPERATOR
from serving.tables import agreed_labels, corrections, inspections

MOST_DAYS = 62
"""So many days are counted, the last ones."""


@dataclass(frozen=True)
class VerdictDay:
    """A day of the plant: verdicts by name, photos that came to review, and reviews done."""

    day: date
    verdicts: dict[str, int] = field(default_factory=dict)
    to_review: int = 0
    reviews: int = 0

    @property
    def total(self) -> int:
        """Number of verdicts."""
        return sum(self.verdicts.values())


@dataclass(frozen=True)
class Sample:
    """Photos in the random sample of good verdicts: all, those with a label, and the bad ones."""

    photos: int
    labelled: int
    bad: int


class VerdictDays:
    """Counts the verdicts, corrections and labels of one stage in SQL."""

    def __init__(self, database: Database, stage: str, zone: ZoneInfo) -> None:
        self.database, self.stage, self.zone = database, stage, zone

    def days(self, first: date | None, last: date | None) -> list[VerdictDay]:
        """Return the days with a verdict or a review, the newest first; at most MOST_DAYS.

        A photo comes to review if a verdict of the day needs a human, or is in the random sample. A
        review is what a reviewer, not an operator, said of a photo on that day.
        """
        at, said = inspections.c, corrections.c
        waits = sa.or_(at.verdict == "needs_human", at.sampled)
        photos = sa.func.count(sa.distinct(sa.case((waits, at.sha256))))
        reviewers = sa.and_(said.stage == self.stage, said.role != OPERATOR)
        with self.database.transaction() as connection:
            last = last or self._last_day(connection)
            first = max(first or date.min, last - timedelta(days=MOST_DAYS - 1))
            if first > last:
                return []
            verdicts: dict[date, dict[str, int]] = {}
            own = self._between(at.stage == self.stage, at.inspected_at, first, last)
            day = self._day(at.inspected_at, first, last)
            query = sa.select(day, at.verdict, sa.func.count()).where(*own)
            for number, verdict, count in connection.execute(query.group_by(day, at.verdict)):
                verdicts.setdefault(first + timedelta(number), {})[verdict] = count
            counted = sa.select(day, photos).where(*own).group_by(day)
            to_review = dict(_days(first, connection.execute(counted)))
            day = self._day(said.corrected_at, first, last)
            own = self._between(reviewers, said.corrected_at, first, last)
            counted = sa.select(day, sa.func.count()).where(*own).group_by(day)
            reviews = dict(_days(first, connection.execute(counted)))
        return [
            VerdictDay(one, verdicts.get(one, {}), to_review.get(one, 0), reviews.get(one, 0))
            for one in sorted({*verdicts, *reviews}, reverse=True)
        ]

    def sample(self, first: date | None, last: date | None) -> Sample:
        """Count the photos of the random sample of these days; a label is of two reviewers."""
        one, label = inspections.c, agreed_labels.c
        own = self._between(one.stage == self.stage, one.inspected_at, first, last)
        of_photo = sa.and_(label.stage == one.stage, label.sha256 == one.sha256)
        query = (
            sa.select(label.label, sa.func.count(sa.distinct(one.sha256)))
            .select_from(inspections.outerjoin(agreed_labels, of_photo))
            .where(*own, one.sampled)
            .group_by(label.label)
        )
        with self.database.transaction() as connection:
            found = {row[0]: row[1] for row in connection.execute(query)}
        photos = sum(found.values())
        return Sample(photos, photos - found.get(None, 0), found.get("bad", 0))

    def _last_day(self, connection: Connection) -> date:
        """Return the day of the last verdict; today if there is none."""
        newest = sa.select(sa.func.max(inspections.c.inspected_at))
        found = connection.scalar(newest.where(inspections.c.stage == self.stage))
        moment = found.replace(tzinfo=UTC) if found else datetime.now(UTC)
        return moment.astimezone(self.zone).date()

    def _between(
        self, own: Any, at: sa.ColumnElement[Any], first: date | None, last: date | None
    ) -> list[sa.ColumnElement[bool]]:
        where = [own]
        if first:
            where.append(at >= midnight(first, self.zone))
        if last:
            where.append(at < midnight(last + timedelta(days=1), self.zone))
        return where

    def _day(self, at: sa.ColumnElement[Any], first: date, last: date) -> sa.ColumnElement[int]:
        """Return how many days of the plant lie between `first` and that time.

        The database knows no zones, so each day is named by its midnight in UTC.
        """
        count = (last - first).days + 1
        days: list[tuple[Any, Any]] = [
            (at < midnight(first + timedelta(n + 1), self.zone), sa.literal_column(str(n)))
            for n in range(count)
        ]
        return sa.case(*days, else_=sa.literal_column(str(count))).label("day_number")


def _days(first: date, rows: Any) -> Iterator[tuple[date, int]]:
    return ((first + timedelta(number), count) for number, count in rows)
