"""Sessions of the app: who enters, by which token, and the audit of who did what.

A session is a random token that the browser holds. The database has only its SHA-256.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.sql.database import Database
from serving.access import attempts, passwords
from serving.tables import api_tokens, audit, sessions, users

ROLES = ("operator", "reviewer", "engineer", "admin")
"""Each role may do all that the roles before it may do."""
NAME_LENGTH = 100

SESSION = timedelta(hours=12)
IDLE = timedelta(hours=2)

# Built once, because each request of a machine uses it.
_OF_TOKEN = (
    sa.select(users.c.id, users.c.name, users.c.role)
    .join(api_tokens, api_tokens.c.user_id == users.c.id)
    .where(api_tokens.c.token_sha256 == sa.bindparam("digest"), ~users.c.disabled)
    .where(api_tokens.c.expires_at.is_(None) | (api_tokens.c.expires_at > sa.bindparam("now")))
)


class LoginError(PlatelakeError):
    """Name or password is wrong, or the account is disabled. The error does not say which."""


class AccountNameError(UsageError):
    """The name is taken or not allowed."""


@dataclass(frozen=True)
class User:
    """A person or machine with an account. `csrf` is the token in the forms of the session."""

    id: int
    name: str
    role: str
    csrf: str = ""

    def may(self, role: str) -> bool:
        """Return whether this user may do what that role may do."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Sessions:
    """The sessions in one database, and its audit."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self.database = database
        self._clock = now

    def log_in(self, name: str, password: str, address: str, before: str = "") -> str:
        """Begin a new session and return its token. The session `before` ends.

        Raises:
            LoginError: Text and time are the same whether the user exists or not.
            TooManyAttemptsError: The password was not checked.
        """
        return self._begin(self._verified(name, password, address), address, before)

    def _begin(self, one: Any, address: str, before: str) -> str:
        token, now = secrets.token_urlsafe(32), self._now()
        row = {
            "token_sha256": digest(token),
            "user_id": one.id,
            "csrf": secrets.token_urlsafe(24),
            "created_at": now,
            "seen_at": now,
        }
        with self._write() as connection:
            ended = sessions.c.token_sha256 == digest(before)
            old = sessions.c.created_at < now - SESSION
            connection.execute(sessions.delete().where(ended | old))
            connection.execute(sessions.insert().values(row))
            self._note(connection, one.name, "logged in", address=address)
        return token

    def user(self, token: str | None) -> User | None:
        """Return the user of this session; None if it is unknown, ended or expired."""
        if not token:
            return None
        now = self._now()
        query = (
            sa.select(users.c.id, users.c.name, users.c.role, sessions.c.csrf, sessions.c.seen_at)
            .join(sessions, sessions.c.user_id == users.c.id)
            .where(sessions.c.token_sha256 == digest(token), ~users.c.disabled)
            .where(sessions.c.created_at > now - SESSION, sessions.c.seen_at > now - IDLE)
        )
        with self.database.transaction() as connection:
            found = connection.execute(query).one_or_none()
        if found is None:
            return None
        if now - found.seen_at > timedelta(minutes=1):  # Do not write for each request.
            mine = sessions.c.token_sha256 == digest(token)
            with self._write() as connection:
                connection.execute(sessions.update().where(mine).values(seen_at=now))
        return User(found.id, found.name, found.role, found.csrf)

    def machine(self, token: str) -> User | None:
        """Return the user of this token of the HTTP interface; None if it is not known."""
        with self.database.transaction() as connection:
            known = {"digest": digest(token), "now": self._now()}
            found = connection.execute(_OF_TOKEN, known).one_or_none()
        return None if found is None else User(found.id, found.name, found.role)

    def log_out(self, token: str, address: str = "") -> None:
        """End the session."""
        user = self.user(token)
        with self._write() as connection:
            mine = sessions.c.token_sha256 == digest(token)
            connection.execute(sessions.delete().where(mine))
            if user:
                self._note(connection, user.name, "logged out", address=address)

    def _end_all(self, connection: Connection, user_id: int) -> None:
        for table in (sessions, api_tokens):
            connection.execute(table.delete().where(table.c.user_id == user_id))

    def _verified(self, name: str, password: str, address: str) -> Any:
        """Check the password, count the attempt, and return the row of the user."""
        try:
            name = canonical(name)
        except UsageError:  # No user has it, but it is counted and compared as any name.
            name = ""
        address = address[:NAME_LENGTH]
        with self._attempt() as connection:
            number = attempts.begin(connection, name, address, self._now())
            one = connection.execute(sa.select(users).where(users.c.name == name)).one_or_none()
        right = passwords.matches(one.password_hash if one else None, password)
        if one is None or not right or one.disabled:
            self.record(name, "login refused", address=address)
            raise LoginError("name or password is wrong, or the account is disabled")
        with self._write() as connection:
            attempts.succeed(connection, number)
        return one

    # -- the audit -----------------------------------------------------------------------------

    def record(self, user: str, action: str, what: str | None = None, address: str = "") -> None:
        """Write to the audit who did what, to which object, from which address."""
        with self._write() as connection:
            self._note(connection, user, action, what, address)

    def audit(
        self,
        limit: int = 100,
        user: str = "",
        action: str = "",
        days: tuple[date | None, date | None] = (None, None),
        zone: tzinfo = UTC,
    ) -> list[dict[str, Any]]:
        """Return the last entries of the audit, newest first.

        Args:
            limit: Most entries.
            user: Only of this user; empty: of all.
            action: Only this action; empty: all.
            days: First and last day by the clock of `zone`, both included; None: any.
            zone: Time zone of the days.
        """
        query = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
        if user:
            query = query.where(audit.c.user_name == user.casefold())
        if action:
            query = query.where(audit.c.action == action)
        first, last = days
        if first:
            query = query.where(audit.c.at >= _midnight(first, zone))
        if last and last < date.max:
            query = query.where(audit.c.at < _midnight(last + timedelta(days=1), zone))
        with self.database.transaction() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def actions(self) -> list[str]:
        """Return the actions that the audit has, sorted."""
        query = sa.select(audit.c.action).distinct().order_by(audit.c.action)
        with self.database.transaction() as connection:
            return list(connection.scalars(query))

    def _note(
        self,
        connection: Connection,
        user: str,
        action: str,
        what: str | None = None,
        address: str = "",
    ) -> None:
        row = {"at": self._now(), "user_name": user, "action": action}
        row |= {"object": what, "address": address or None}
        connection.execute(audit.insert().values(row))

    # -- helpers -------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC).replace(tzinfo=None)

    def _write(self) -> AbstractContextManager[Connection]:
        return self.database.transaction(write=True)

    def _attempt(self) -> AbstractContextManager[Connection]:
        return self.database.transaction(write=True, alone="attempts")


def _midnight(day: date, zone: tzinfo) -> datetime:
    """Return the start of a day, in UTC without a zone."""
    try:
        return datetime.combine(day, time(), zone).astimezone(UTC).replace(tzinfo=None)
    except OverflowError:  # The first day of the calendar, east of Greenwich.
        return datetime.min


def digest(token: str) -> str:
    """Hash a token, as the database keeps it."""
    return hashlib.sha256(token.encode()).hexdigest()


def canonical(name: str) -> str:
    """Return the name as it is stored: NFKC, in lower case, so that names that look alike are one.

    >>> canonical("Kim")
    'kim'
    """
    kept = unicodedata.normalize("NFKC", name).casefold()
    if not 1 <= len(kept) <= NAME_LENGTH or not kept.isprintable() or kept != kept.strip():
        raise AccountNameError(
            f"a user's name has 1 to {NAME_LENGTH} visible characters and no space at its ends"
        )
    return kept
