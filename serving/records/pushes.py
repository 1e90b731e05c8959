"""Push of verdicts to the plant's own systems: a webhook, with retries, from rows in SQL.

A row is made in the transaction that stores the verdict, and is dropped after the receiver has
answered with 2xx. So every verdict arrives at least once, and a verdict never waits for it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import sqlalchemy as sa
import structlog

from lakehouse.sql.database import Database
from serving.tables import inspections, verdict_pushes

AT_ONCE, TIMEOUT, LONGEST = 50, 10.0, 3_600.0
CLAIM = timedelta(seconds=60)
"""A process that has begun to send a row has it for so long; after that, another one may."""


def waiting_push(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row that lets an inspection wait to be pushed."""
    return {"inspection_id": row["inspection_id"], "tries": 0, "due_at": row["inspected_at"]}


def waiting_pushes(database: Database) -> int:
    """Count the verdicts that wait to be pushed."""
    with database.transaction() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(verdict_pushes)) or 0


class Pusher:
    """Sends what waits to one address. Several processes may do so; each row is sent by one.

    Args:
        database: where the rows are.
        url: of the receiver. It gets a POST with JSON.
        secret: signs the body, if there is one.
        body: makes the JSON of an inspection's row.
        now: the clock, in UTC.
    """

    def __init__(
        self,
        database: Database,
        url: str,
        secret: str,
        body: Callable[[Mapping[str, Any]], bytes],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.database, self.url, self.secret, self._body = database, url, secret, body
        self._clock = now
        self._http = httpx.Client(timeout=TIMEOUT, follow_redirects=False)

    def push_due(self) -> int:
        """Send what is due, the oldest first, and return how many were delivered.

        After a failure it stops, because the receiver is probably away; the row waits for twice as
        long as before, at most an hour. Raises SqlError while SQL is away.
        """
        done = 0
        for row in self._due():
            if not self._claimed(row):
                continue
            error = self._sent(row)
            if error:
                self._wait(row, error)
                break
            with self.database.transaction(write=True) as connection:
                mine = verdict_pushes.c.id == row["push_id"]
                connection.execute(verdict_pushes.delete().where(mine))
            done += 1
        return done

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC).replace(tzinfo=None)

    def _due(self) -> list[dict[str, Any]]:
        push, one = verdict_pushes.c, inspections.c
        query = sa.select(push.id.label("push_id"), push.tries, push.due_at, inspections)
        query = query.join(inspections, one.inspection_id == push.inspection_id)
        query = query.where(push.due_at <= self._now()).order_by(push.id).limit(AT_ONCE)
        with self.database.transaction() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _claimed(self, row: Mapping[str, Any]) -> bool:
        """Take the row, unless another process has just taken it."""
        push = verdict_pushes.c
        same = (push.id == row["push_id"], push.tries == row["tries"])
        taken = {"tries": row["tries"] + 1, "due_at": self._now() + CLAIM}
        with self.database.transaction(write=True) as connection:
            found = connection.execute(verdict_pushes.update().where(*same).values(taken))
        return found.rowcount == 1

    def _sent(self, row: Mapping[str, Any]) -> str:
        """Send the verdict; return what went wrong, or an empty text."""
        inspection = {c.name: row[c.name] for c in inspections.columns}
        content = self._body(inspection)
        headers = {
            "Content-Type": "application/json",
            "X-Platelake-Id": inspection["inspection_id"],
        }
        if self.secret:
            signed = hmac.new(self.secret.encode(), content, hashlib.sha256).hexdigest()
            headers["X-Platelake-Signature"] = f"sha256={signed}"
        try:
            answer = self._http.post(self.url, content=content, headers=headers)
        except httpx.HTTPError as error:
            return type(error).__name__  # Its text may name what is in the address.
        return "" if answer.is_success else f"HTTP {answer.status_code}"

    def _wait(self, row: Mapping[str, Any], error: str) -> None:
        tries = row["tries"] + 1
        again = self._now() + timedelta(seconds=min(2.0**tries, LONGEST))
        mine = verdict_pushes.c.id == row["push_id"]
        with self.database.transaction(write=True) as connection:
            known = {"due_at": again, "error": error}
            connection.execute(verdict_pushes.update().where(mine).values(known))
        log = structlog.get_logger()
        log.warning("a verdict cannot be pushed", id=row["inspection_id"], tries=tries, error=error)
