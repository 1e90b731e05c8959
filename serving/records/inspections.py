"""Inspections in SQL: stores each once, finds them, and checks who may see them."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from lakehouse.sql.database import Database, SqlError
from ml.use.reasons import key_of
from serving.access.sessions import User
from serving.records.group_commit import GroupCommit
from serving.records.outbox import Outbox, Row
from serving.records.pushes import waiting_push
from serving.tables import inspections, verdict_pushes

PAGE, ROWS_AT_ONCE = 50, 1_000
OWN_SCALE = "own scale"
"""Text in the PNG of a heat map that is 0 below a threshold of its own."""

# Built once, because each verdict uses it.
_OF_PHOTO = (
    sa.select(inspections)
    .where(
        inspections.c.stage == sa.bindparam("stage"), inspections.c.sha256 == sa.bindparam("sha256")
    )
    .order_by(inspections.c.inspected_at.desc())
    .limit(PAGE)
)


@dataclass(frozen=True)
class Inspection:
    """One inspection of a photo. `inspected_at` is UTC without a zone, `heat` a grey PNG in base64.

    `probability` is the probability of bad. Below `low` the verdict is good, from `high` on it is
    bad, between them needs_human. `sampled`: a good verdict chosen at random for review. `reason`
    is why the verdict is needs_human, as a key or "key: detail"; None if the model is only unsure.
    """

    stage: str
    inspection_id: str
    inspected_at: datetime
    user_name: str
    file_name: str
    sha256: str
    size: int
    day: date | None
    lot: str | None
    model_version: int
    model: str
    model_sha256: str
    verdict: str
    probability: float
    low: float
    high: float
    heat: str
    sampled: bool
    reason: str | None = None

    @property
    def heat_png(self) -> bytes:
        """The heat map as the bytes of a PNG file."""
        return base64.b64decode(self.heat)

    @property
    def own_scale(self) -> bool:
        """Whether the heat map is 0 below a threshold of its own."""
        return OWN_SCALE.encode() in self.heat_png

    @property
    def why(self) -> str:
        """Why the verdict is so: good, bad, unsure, or a key of `ml.use.reasons`."""
        plain = "unsure" if self.verdict == "needs_human" else self.verdict
        return key_of(self.reason or "") or plain

    def may_be_seen_by(self, user: User) -> bool:
        """Return whether the user may see it: their own, or any if they are a reviewer."""
        return user.name == self.user_name or user.may("reviewer")


@dataclass(frozen=True)
class Search:
    """The values to search for; empty or None: any. Days are the plant's, both included."""

    first_day: date | None = None
    last_day: date | None = None
    lot: str = ""
    verdict: str = ""
    model_version: int | None = None
    user: str = ""


def _is_refused(error: Exception) -> bool:
    """Return whether SQL refuses a row, instead of being away."""
    return not isinstance(error, SqlError) or isinstance(
        error.__cause__, sa.exc.DataError | sa.exc.IntegrityError
    )


class Records:
    """Stores the inspections of all stages. While SQL is away they wait in the outbox.

    `pushed`: each inspection also waits to be pushed, from the transaction that stores it on.
    """

    def __init__(self, database: Database, outbox: Outbox, pushed: bool = False) -> None:
        self.database, self.outbox, self.pushed = database, outbox, pushed
        self._rows = GroupCommit(self._insert_new, _is_refused)

    def save(self, one: Inspection) -> bool:
        """Store the inspection for good, once.

        Returns:
            True if SQL has it; False if SQL is away and it waits in the outbox.
        """
        row = dict(vars(one))
        try:
            self._rows.save(row)
        except SqlError as error:
            structlog.get_logger().warning("SQL is away, the verdict waits", error=str(error))
            self.outbox.put(one.inspection_id, inspections.name, row)
            return False
        return True

    def deliver(self) -> int:
        """Deliver waiting rows to SQL, each once, and return how many.

        A row that SQL refuses stays in the outbox and does not block the others. Raises SqlError
        while SQL is away.
        """
        done = 0
        for key, _, row in self.outbox.waiting():
            try:
                self._insert(row)
            except SqlError as error:
                if not _is_refused(error):
                    raise
                structlog.get_logger().error("SQL refuses a verdict", id=key, error=str(error))
                continue
            self.outbox.drop(key)
            done += 1
        return done

    def _insert_new(self, rows: Sequence[Row]) -> None:
        """Insert rows whose ids were drawn just now."""
        with self.database.transaction(write=True) as connection:
            self._store(connection, rows)

    def _insert(self, row: Row) -> None:
        """Insert the row if its id is new: SQL may have it although its sender got an error."""
        mine = inspections.c.inspection_id == row["inspection_id"]
        with self.database.transaction(write=True) as connection:
            there = sa.select(inspections.c.inspection_id).where(mine)
            if connection.scalar(there) is None:
                self._store(connection, [row])

    def _store(self, connection: Connection, rows: Sequence[Row]) -> None:
        connection.execute(inspections.insert(), rows)
        if self.pushed:
            connection.execute(verdict_pushes.insert(), [waiting_push(row) for row in rows])

    def find(self, inspection_id: str) -> Inspection | None:
        """Return the inspection of this id, or None."""
        waiting = self.outbox.find(inspection_id)
        if waiting is not None:
            return Inspection(**waiting)
        query = sa.select(inspections).where(inspections.c.inspection_id == inspection_id)
        with self.database.transaction() as connection:
            found = connection.execute(query).one_or_none()
        return None if found is None else Inspection(**found._mapping)


class Inspections:
    """Finds the inspections of one stage."""

    def __init__(self, database: Database, stage: str, zone: ZoneInfo) -> None:
        self.database, self.stage, self.zone = database, stage, zone

    def earlier(self, sha256: str) -> list[Inspection]:
        """Return the last inspections of the same photo, newest first."""
        photo = {"stage": self.stage, "sha256": sha256}
        with self.database.transaction() as connection:
            return [Inspection(**row._mapping) for row in connection.execute(_OF_PHOTO, photo)]

    def search(self, what: Search, user: User, page: int = 1) -> tuple[list[Inspection], int]:
        """Return one page of the inspections that the user may see, and their number in all.

        Args:
            what: The values to search for.
            user: An operator finds only their own inspections.
            page: Number of the page, from 1 on. A page has PAGE rows, newest first.
        """
        where = self._where(what, user)
        order = (inspections.c.inspected_at.desc(), inspections.c.inspection_id)
        query = sa.select(inspections).where(*where).order_by(*order)
        query = query.limit(PAGE).offset((page - 1) * PAGE)
        counted = sa.select(sa.func.count()).select_from(inspections).where(*where)
        with self.database.transaction() as connection:
            found = [Inspection(**row._mapping) for row in connection.execute(query)]
            return found, connection.scalar(counted) or 0

    def verdicts(self, what: Search, user: User) -> dict[str, int]:
        """Count what `search` finds, by verdict."""
        c = inspections.c
        query = sa.select(c.verdict, sa.func.count()).where(*self._where(what, user))
        with self.database.transaction() as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(c.verdict))}

    def all_of(self, what: Search, user: User) -> Iterator[Inspection]:
        """Yield all that `search` finds, each once, even if new inspections arrive meanwhile."""
        c = inspections.c
        query = sa.select(inspections).where(*self._where(what, user)).limit(ROWS_AT_ONCE)
        query = query.order_by(c.inspected_at.desc(), c.inspection_id)
        behind: sa.ColumnElement[bool] = sa.true()
        while True:
            with self.database.transaction() as connection:
                rows = connection.execute(query.where(behind))
                found = [Inspection(**row._mapping) for row in rows]
            yield from found
            if len(found) < ROWS_AT_ONCE:
                return
            at, last = found[-1].inspected_at, found[-1].inspection_id
            same = sa.and_(c.inspected_at == at, c.inspection_id > last)
            behind = sa.or_(c.inspected_at < at, same)

    def _where(self, what: Search, user: User) -> list[sa.ColumnElement[bool]]:
        c = inspections.c
        where = [c.stage == self.stage]
        if not user.may("reviewer"):
            where.append(c.user_name == user.name)
        if what.user:
            where.append(c.user_name == what.user.strip().casefold())
        if what.lot:
            where.append(c.lot == what.lot)
        if what.verdict:
            where.append(c.verdict == what.verdict)
        if what.model_version is not None:
            where.append(c.model_version == what.model_version)
        if what.first_day:
            where.append(c.inspected_at >= midnight(what.first_day, self.zone))
        if what.last_day:
            where.append(c.inspected_at < midnight(what.last_day + timedelta(days=1), self.zone))
        return where


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the start of the plant's day, in UTC without a zone."""
    start = datetime.combine(day, time(), zone)
    return start.astimezone(ZoneInfo("UTC")).replace(tzinfo=None)
