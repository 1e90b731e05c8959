"""Accounts of the app: who may enter, and who did what.

A session is a random token that the browser holds; the database has its SHA-256 alone.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.sql.database import Database
from serving.access import attempts, passwords
from serving.tables import api_tokens, audit, invitations, sessions, users

ROLES = ("operator", "reviewer", "admin")
"""What each may, the next may as well."""
SIGN_UP = ("open", "invitation", "off")
NAME_LENGTH = 100

SESSION = timedelta(hours=12)
IDLE = timedelta(hours=2)
INVITATION = timedelta(days=7)
UNKNOWN_INVITATION = "this invitation is unknown, used or expired; ask for another"


# Built once, because each request of a machine asks it.
_OF_TOKEN = (
    sa.select(users.c.id, users.c.name, users.c.role)
    .join(api_tokens, api_tokens.c.user_id == users.c.id)
    .where(api_tokens.c.token_sha256 == sa.bindparam("digest"), ~users.c.disabled)
)


class LoginError(PlatelakeError):
    """Name and password do not belong together, or the account is disabled: nobody learns which."""


class SignUpOffError(UsageError):
    """Nobody signs up here."""


class InvitationError(UsageError):
    """The invitation is of no use."""


class AccountNameError(UsageError):
    """The name is taken, or is none."""


@dataclass(frozen=True)
class User:
    """Somebody with an account. `csrf` is the token that the session's forms carry."""

    id: int
    name: str
    role: str
    csrf: str = ""

    def may(self, role: str) -> bool:
        """Whether this user may do what that role may."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Accounts:
    """The accounts in one database. `sign_up` says who may make one: open, invitation or off."""

    def __init__(
        self,
        database: Database,
        sign_up: str = "invitation",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if sign_up not in SIGN_UP:
            raise UsageError(f"sign_up is {', '.join(SIGN_UP)}, not {sign_up!r}")
        self.database, self.sign_up_by = database, sign_up
        self._clock = now

    # -- making and changing accounts ----------------------------------------------------------

    def add(
        self, name: str, role: str = "operator", password: str | None = None, *, by: str
    ) -> str:
        """Make an account; its password, a random one unless it is given. `by` goes to audit."""
        password = passwords.new() if password is None else password
        name = canonical(name)
        secret = passwords.hashed(password, name)
        with self._write() as connection:
            self._insert(connection, name, role, by, password_hash=secret)
        return password

    def _insert(
        self, connection: Connection, name: str, role: str, by: str, **kept: str | None
    ) -> None:
        _check_role(role)
        self._refuse_taken(connection, name)
        row = {"name": name, "role": role, "disabled": False, **kept}
        try:
            connection.execute(users.insert().values(**row, created_at=self._now()))
        except IntegrityError:  # Another process was first.
            raise AccountNameError(_taken(name)) from None
        self._note(connection, by, "account made", f"{name}: {role}")

    def _refuse_taken(self, connection: Connection, name: str) -> None:
        if connection.scalar(sa.select(users.c.id).where(users.c.name == name)) is not None:
            raise AccountNameError(_taken(name))

    def invite(self, by: str, role: str = "operator") -> str:
        """A token with which one person may sign up, once, within INVITATION."""
        _check_role(role)
        token = secrets.token_urlsafe(24)
        row = {
            "token_sha256": _digest(token),
            "role": role,
            "expires_at": self._now() + INVITATION,
        }
        with self._write() as connection:
            connection.execute(invitations.insert().values(row))
            self._note(connection, by, "invited", role)
        return token

    def sign_up(self, name: str, password: str, invitation: str = "", address: str = "") -> None:
        """Make an account of one's own, where the setting allows it.

        Counts as an attempt of the address: no password is hashed before it is known to be of use.
        """
        if self.sign_up_by == "off":
            raise SignUpOffError("nobody signs up here; ask an admin for an account")
        name = canonical(name)
        passwords.check(password, name)
        with self._write() as connection:
            attempts.begin(connection, attempts.SIGNING_UP, address, self._now())
        with self.database.transaction() as connection:
            known = invitations.c.token_sha256 == _digest(invitation)
            role = connection.scalar(sa.select(invitations.c.role).where(known))
            if self.sign_up_by == "invitation" and role is None:
                raise InvitationError(UNKNOWN_INVITATION)
            self._refuse_taken(connection, name)
        secret = passwords.hashed(password, name)
        with self._write() as connection:  # An invitation whose use fails is not used.
            role = self._role_at_sign_up(connection, invitation)
            self._insert(connection, name, role, name, password_hash=secret)

    def _role_at_sign_up(self, connection: Connection, invitation: str) -> str:
        if self.sign_up_by == "off":
            raise SignUpOffError("nobody signs up here; ask an admin for an account")
        by_invitation = self.sign_up_by == "invitation"
        return self._use(connection, invitation) if by_invitation else "operator"

    def _use(self, connection: Connection, token: str) -> str:
        mine = invitations.c.token_sha256 == _digest(token)
        found = connection.execute(sa.select(invitations).where(mine)).one_or_none()
        used = connection.execute(invitations.delete().where(mine)).rowcount
        if found is None or not used or found.expires_at < self._now():
            raise InvitationError(UNKNOWN_INVITATION)
        role: str = found.role
        return role

    def change_password(self, user: User, old: str, new: str, address: str = "") -> str:
        """Change one's own; all sessions end, the new one's token comes back."""
        self._verified(user.name, old, address)
        self._set_password(user.name, new, user.name, "password changed", address)
        return self.log_in(user.name, new, address)

    def reset(self, name: str, by: str) -> str:
        """A new random password; all sessions and tokens of the user end."""
        password = passwords.new()
        self._set_password(name, password, by, "password reset")
        return password

    def _set_password(
        self, name: str, password: str, by: str, action: str, address: str = ""
    ) -> None:
        secret = passwords.hashed(password, canonical(name))
        with self._write() as connection:
            one = self._needed(connection, name)
            mine = users.c.id == one.id
            connection.execute(users.update().where(mine).values(password_hash=secret))
            self._end_all(connection, one.id)
            self._note(connection, by, action, one.name, address)

    def disable(self, name: str, by: str, disabled: bool = True) -> None:
        """Keep the user out, at once and until further notice; or let them in again."""
        with self._write() as connection:
            one = self._needed(connection, name)
            mine = users.c.id == one.id
            connection.execute(users.update().where(mine).values(disabled=disabled))
            self._end_all(connection, one.id)
            self._note(connection, by, "disabled" if disabled else "enabled", one.name)

    def _end_all(self, connection: Connection, user_id: int) -> None:
        for table in (sessions, api_tokens):
            connection.execute(table.delete().where(table.c.user_id == user_id))

    def token(self, name: str, by: str) -> str:
        """A new token of the HTTP interface, for a machine that acts as this user.

        It is good until the user is disabled or the password is reset.
        """
        token = secrets.token_urlsafe(32)
        row = {"token_sha256": _digest(token), "created_at": self._now()}
        with self._write() as connection:
            one = self._needed(connection, name)
            connection.execute(api_tokens.insert().values(row | {"user_id": one.id}))
            self._note(connection, by, "token made", one.name)
        return token

    def everybody(self) -> list[dict[str, Any]]:
        """All accounts by name: name, role, disabled, created_at (UTC)."""
        shown = [users.c[name] for name in ("name", "role", "disabled", "created_at")]
        with self.database.transaction() as connection:
            found = connection.execute(sa.select(*shown).order_by(users.c.name))
            return [dict(row) for row in found.mappings()]

    # -- entering and leaving ------------------------------------------------------------------

    def log_in(self, name: str, password: str, address: str, before: str = "") -> str:
        """The token of a new session; the session `before` ends.

        Raises LoginError, the same in the same time whether there is such a user or not, or
        TooManyAttemptsError.
        """
        return self._begin(self._verified(name, password, address), address, before)

    def log_in_by_subject(
        self, subject: str, name: str, address: str, before: str = "", invitation: str = ""
    ) -> str:
        """The token of a new session of whom a provider knows by `subject`.

        A subject that is new signs up as `name`, where the setting allows that; an account that
        is there already is never taken over by its name. Raises LoginError or UsageError.
        """
        known = users.c.subject == _digest(subject)
        with self._write() as connection:
            one = connection.execute(sa.select(users).where(known)).one_or_none()
            if one is None:
                name = canonical(name)
                role = self._role_at_sign_up(connection, invitation)
                self._insert(connection, name, role, name, subject=_digest(subject))
                one = connection.execute(sa.select(users).where(known)).one()
        if one.disabled:
            self.record(one.name, "login refused", address=address)
            raise LoginError("this account is disabled")
        return self._begin(one, address, before)

    def _begin(self, one: Any, address: str, before: str) -> str:
        token, now = secrets.token_urlsafe(32), self._now()
        row = {
            "token_sha256": _digest(token),
            "user_id": one.id,
            "csrf": secrets.token_urlsafe(24),
            "created_at": now,
            "seen_at": now,
        }
        with self._write() as connection:
            ended = sessions.c.token_sha256 == _digest(before)
            old = sessions.c.created_at < now - SESSION
            connection.execute(sessions.delete().where(ended | old))
            connection.execute(sessions.insert().values(row))
            self._note(connection, one.name, "logged in", address=address)
        return token

    def user(self, token: str | None) -> User | None:
        """Whose session this is; None where it is unknown, ended or expired."""
        if not token:
            return None
        now = self._now()
        query = (
            sa.select(users.c.id, users.c.name, users.c.role, sessions.c.csrf, sessions.c.seen_at)
            .join(sessions, sessions.c.user_id == users.c.id)
            .where(sessions.c.token_sha256 == _digest(token), ~users.c.disabled)
            .where(sessions.c.created_at > now - SESSION, sessions.c.seen_at > now - IDLE)
        )
        with self.database.transaction() as connection:
            found = connection.execute(query).one_or_none()
        if found is None:
            return None
        if now - found.seen_at > timedelta(minutes=1):  # Not a write for each request.
            mine = sessions.c.token_sha256 == _digest(token)
            with self._write() as connection:
                connection.execute(sessions.update().where(mine).values(seen_at=now))
        return User(found.id, found.name, found.role, found.csrf)

    def machine(self, token: str) -> User | None:
        """Whose token of the HTTP interface this is; None where it is not known."""
        with self.database.transaction() as connection:
            found = connection.execute(_OF_TOKEN, {"digest": _digest(token)}).one_or_none()
        return None if found is None else User(found.id, found.name, found.role)

    def log_out(self, token: str, address: str = "") -> None:
        """End the session."""
        user = self.user(token)
        with self._write() as connection:
            mine = sessions.c.token_sha256 == _digest(token)
            connection.execute(sessions.delete().where(mine))
            if user:
                self._note(connection, user.name, "logged out", address=address)

    def _verified(self, name: str, password: str, address: str) -> Any:
        """The row of the user whose password this is."""
        try:
            name = canonical(name)
        except UsageError:  # Nobody's, but counted and compared like any other.
            name = ""
        address = address[:NAME_LENGTH]
        with self._write() as connection:
            number = attempts.begin(connection, name, address, self._now())
            one = connection.execute(sa.select(users).where(users.c.name == name)).one_or_none()
        right = passwords.matches(one.password_hash if one else None, password)
        if one is None or not right or one.disabled:
            self.record(name, "login refused", address=address)
            raise LoginError("name and password do not belong together, or the account is disabled")
        with self._write() as connection:
            attempts.succeed(connection, number)
        return one

    # -- the audit -----------------------------------------------------------------------------

    def record(self, user: str, action: str, what: str | None = None, address: str = "") -> None:
        """Who did what, to which thing, from where."""
        with self._write() as connection:
            self._note(connection, user, action, what, address)

    def audit(self, limit: int = 100) -> list[dict[str, Any]]:
        """The last entries, the newest first."""
        query = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
        with self.database.transaction() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

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

    def _needed(self, connection: Connection, name: str) -> Any:
        mine = users.c.name == canonical(name)
        one = connection.execute(sa.select(users).where(mine)).one_or_none()
        if one is None:
            raise UsageError(f"there is no user {name!r}")
        return one


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def canonical(name: str) -> str:
    """The name as it is kept, so that none looks like another's: NFKC, in lower case."""
    kept = unicodedata.normalize("NFKC", name).casefold()
    if not 1 <= len(kept) <= NAME_LENGTH or not kept.isprintable() or kept != kept.strip():
        raise AccountNameError(
            f"a user's name has 1 to {NAME_LENGTH} visible characters, with no blank at its ends"
        )
    return kept


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise UsageError(f"there is no role {role!r}; there are {', '.join(ROLES)}")


def _taken(name: str) -> str:
    return f"there is a user {name!r} already; choose another name"
