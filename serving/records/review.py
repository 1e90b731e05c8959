"""The review of verdicts: corrections, never changed, and labels on which two reviewers agree."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lakehouse.errors import UsageError
from lakehouse.sql.database import Database
from serving.access.sessions import User
from serving.records.inspections import Inspection
from serving.tables import agreed_labels, corrections, inspections

GOOD = "good"
SAYS = (GOOD, "bad")
OPERATOR = "operator"
REASON_LENGTH = 1_000
PAGE = 20


class CorrectionError(UsageError):
    """The correction cannot be stored. `why` is agreed, spoken, reason, says, defect or waits."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the correction cannot be stored: {why}")
        self.why = why


@dataclass(frozen=True)
class Discussion:
    """What people said of one photo: corrections, oldest first, and the label.

    `closed`: no more corrections are possible.
    """

    corrections: list[dict[str, Any]]
    label: str | None
    closed: bool

    def words(self) -> dict[str, dict[str, Any]]:
        """Return the last correction of each reviewer, by name."""
        return {c["user_name"]: c for c in self.corrections if c["role"] != OPERATOR}


class Review:
    """The corrections and labels of one stage."""

    def __init__(self, database: Database, stage: str, defects: Collection[str] = ()) -> None:
        self.database, self.stage = database, stage
        self.defects = defects

    def correct(
        self, user: User, one: Inspection, says: str, reason: str, defect: str = ""
    ) -> str | None:
        """Store what the user says of the photo.

        If reviewers disagree, each may correct again; the last correction counts.

        Args:
            user: Who corrects.
            one: The inspection of the photo.
            says: good or bad.
            reason: At most REASON_LENGTH characters. Required if `says` contradicts the verdict and
                there is no `defect`.
            defect: Kind of defect of a bad part, by its name in the stage file; empty: not said.

        Returns:
            The label, if two reviewers agree now; else None.

        Raises:
            CorrectionError: The correction cannot be stored; its `why` says why.
        """
        reason = " ".join(reason.split())
        if says not in SAYS:
            raise CorrectionError("says")
        if defect and (says == GOOD or defect not in self.defects):
            raise CorrectionError("defect")
        if says != one.verdict and one.verdict in SAYS and not (reason or defect):
            raise CorrectionError("reason")
        if len(reason) > REASON_LENGTH:
            raise CorrectionError("reason")
        row = {
            "stage": self.stage,
            "correction_id": uuid.uuid4().hex,
            "inspection_id": one.inspection_id,
            "sha256": one.sha256,
            "corrected_at": datetime.now(UTC).replace(tzinfo=None),
            "user_name": user.name,
            "role": user.role,
            "says": says,
            "reason": reason,
            "verdict": one.verdict,
            "model": one.model,
            "model_version": one.model_version,
            "defect": defect or None,
        }
        with self.database.transaction(write=True) as connection:
            self._one_at_a_time(connection, one)
            said = self._said(connection, one.sha256)
            if said.closed:
                raise CorrectionError("agreed")
            if said.words().get(user.name, {}).get("says") == says:
                raise CorrectionError("spoken")
            connection.execute(corrections.insert().values(row))
            return self._agree(connection, row, said)

    def _one_at_a_time(self, connection: Connection, one: Inspection) -> None:
        """Lock the photo, so that two reviewers at the same moment see each other's correction."""
        photo = (inspections.c.stage == self.stage, inspections.c.sha256 == one.sha256)
        query = sa.select(inspections.c.inspection_id).where(*photo).with_for_update()
        if connection.execute(query).first() is None:
            raise CorrectionError("waits")

    def _agree(self, connection: Connection, row: dict[str, Any], said: Discussion) -> str | None:
        """Store the label once a second reviewer says the same as an earlier one, and return it."""
        if row["role"] == OPERATOR:
            return None
        words = said.words().values()
        others = [
            c for c in words if c["says"] == row["says"] and c["user_name"] != row["user_name"]
        ]
        if not others:
            return None
        label = {
            "stage": self.stage,
            "sha256": row["sha256"],
            "label": row["says"],
            "agreed_at": row["corrected_at"],
            "first_correction": others[0]["correction_id"],
            "second_correction": row["correction_id"],
        }
        connection.execute(agreed_labels.insert().values(label))
        found: str = row["says"]
        return found

    def said(self, sha256: str) -> Discussion:
        """Return what people said of the photo."""
        with self.database.transaction() as connection:
            return self._said(connection, sha256)

    def _said(self, connection: Connection, sha256: str) -> Discussion:
        own = (corrections.c.stage == self.stage, corrections.c.sha256 == sha256)
        query = sa.select(corrections).where(*own).order_by(corrections.c.corrected_at)
        rows = [dict(row._mapping) for row in connection.execute(query)]
        mine = (agreed_labels.c.stage == self.stage, agreed_labels.c.sha256 == sha256)
        label = connection.scalar(sa.select(agreed_labels.c.label).where(*mine))
        return Discussion(rows, label, closed=label is not None)

    def queue(
        self, user: User, start: int = 0, at_most: int = PAGE
    ) -> tuple[list[tuple[Inspection, str]], int]:
        """Return photos that wait for this reviewer, each with its reason, and the total.

        A photo waits once, by its latest inspection. First come those on which somebody disagrees,
        then those that need a human; of each, the oldest comes first. A photo needs a human,
        somebody disagrees, or it is in the random sample of good verdicts. It has no label, and
        this reviewer has not corrected it yet, or reviewers contradict each other.
        """
        later = inspections.alias("later")
        one, said = inspections.c, corrections.c

        def of_photo(table: sa.FromClause) -> sa.ColumnElement[bool]:
            return sa.and_(table.c.stage == one.stage, table.c.sha256 == one.sha256)

        newer = sa.or_(
            later.c.inspected_at > one.inspected_at,
            sa.and_(
                later.c.inspected_at == one.inspected_at,
                later.c.inspection_id > one.inspection_id,
            ),
        )
        disagreed = sa.exists().where(of_photo(corrections), said.says != said.verdict)
        of_reviewers = sa.and_(of_photo(corrections), said.role != OPERATOR)
        spoken = sa.exists().where(of_reviewers, said.user_name == user.name)
        disputed = sa.and_(*(sa.exists().where(of_reviewers, said.says == word) for word in SAYS))
        sampled = sa.exists().where(of_photo(later), later.c.sampled)
        needs = one.verdict == "needs_human"
        where = (
            one.stage == self.stage,
            ~sa.exists().where(of_photo(later), newer),
            ~sa.exists().where(of_photo(agreed_labels)),
            ~spoken | disputed,
            sa.or_(needs, disagreed, sampled),
        )
        why = sa.case((disagreed, "disagreement"), (needs, "needs_human"), else_="sample")
        rank = sa.case((disagreed, 0), (needs, 1), else_=2)
        query = sa.select(inspections, why.label("why")).where(*where)
        query = query.order_by(rank, one.inspected_at, one.inspection_id)
        query = query.offset(start).limit(at_most)
        counted = sa.select(sa.func.count()).select_from(inspections).where(*where)
        with self.database.transaction() as connection:
            found = []
            for row in connection.execute(query):
                values = dict(row._mapping)
                reason = values.pop("why")
                found.append((Inspection(**values), reason))
            return found, connection.scalar(counted) or 0
