"""Accounts of the app: who may enter, and who did what.

A session is a random token that the browser holds. The database has only its SHA-256.
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
"""Each role may do all that the roles before it may do."""
SIGN_UP = ("open", "invitation", "off")
NAME_LENGTH = 100

SESSION = timedelta(hours=12)
IDLE = timedelta(hours=2)
INVITATION = timedelta(days=7)
UNKNOWN_INVITATION = "this invitation is unknown, used or expired; ask for another one"


# Built once, because each request of a machine uses it.
_OF_TOKEN = (
    sa.select(users.c.id, users.c.name, users.c.role)
    .join(api_tokens, api_tokens.c.user_id == users.c.id)
    .where(api_tokens.c.token_sha256 == sa.bindparam("digest"), ~users.c.disabled)
)


class LoginError(PlatelakeError):
    """Name or password is wrong, or the account is disabled. The error does not say which."""


class SignUpOffError(UsageError):
    """Sign-up is off."""


class InvitationError(UsageError):
    """The invitation is not valid."""


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


class Accounts:
    """The accounts in one database. `sign_up` says who may sign up: open, invitation or off."""

    def __init__(
        self,
        database: Database,
        sign_up: str = "invitation",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if sign_up not in SIGN_UP:
            raise UsageError(f"sign_up must be one of {', '.join(SIGN_UP)}, not {sign_up!r}")
        self.database, self.sign_up_by = database, sign_up
        self._clock = now

    # -- making and changing accounts ----------------------------------------------------------

    def add(
        self, name: str, role: str = "operator", password: str | None = None, *, by: str
    ) -> str:
        """Make an account and return its password, a random one by default. `by`: for the audit."""
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
        """Return a token with which one person may sign up, once, within INVITATION."""
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
        """Make an own account, if the setting allows it.

        Counts as an attempt of the address. Checks all else before it hashes the password, which
        is slow.
        """
        if self.sign_up_by == "off":
            raise SignUpOffError("sign-up is off; ask an admin for an account")
        name = canonical(name)
        passwords.check(password, name)
        with self._attempt() as connection:
            attempts.begin(connection, attempts.SIGNING_UP, address, self._now())
        with self.database.transaction() as connection:
            known = invitations.c.token_sha256 == _digest(invitation)
            role = connection.scalar(sa.select(invitations.c.role).where(known))
            if self.sign_up_by == "invitation" and role is None:
                raise InvitationError(UNKNOWN_INVITATION)
            self._refuse_taken(connection, name)
        secret = passwords.hashed(password, name)
        with self._write() as connection:  # If this fails, the invitation stays unused.
            role = self._role_at_sign_up(connection, invitation)
            self._insert(connection, name, role, name, password_hash=secret)

    def _role_at_sign_up(self, connection: Connection, invitation: str) -> str:
        if self.sign_up_by == "off":
            raise SignUpOffError("sign-up is off; ask an admin for an account")
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
        """Change the user's own password, end all sessions, and return the token of a new one."""
        self._verified(user.name, old, address)
        self._set_password(user.name, new, user.name, "password changed", address)
        return self.log_in(user.name, new, address)

    def reset(self, name: str, by: str) -> str:
        """Set and return a new random password. All sessions and tokens of the user end."""
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
        """Disable the user at once until enabled again; or, with `disabled` false, enable them."""
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
        """Return a new token of the HTTP interface, for a machine that acts as this user.

        It is valid until the user is disabled or the password changes.
        """
        token = secrets.token_urlsafe(32)
        row = {"token_sha256": _digest(token), "created_at": self._now()}
        with self._write() as connection:
            one = self._needed(connection, name)
            connection.execute(api_tokens.insert().values(row | {"user_id": one.id}))
            self._note(connection, by, "token made", one.name)
        return token

    def everybody(self) -> list[dict[str, Any]]:
        """Return all accounts, sorted by name: name, role, disabled, created_at (UTC)."""
        shown = [users.c[name] for name in ("name", "role", "disabled", "created_at")]
        with self.database.transaction() as connection:
            found = connection.execute(sa.select(*shown).order_by(users.c.name))
            return [dict(row) for row in found.mappings()]

    # -- entering and leaving ------------------------------------------------------------------

    def log_in(self, name: str, password: str, address: str, before: str = "") -> str:
        """Begin a new session and return its token. The session `before` ends.

        Raises:
            LoginError: Text and time are the same whether the user exists or not.
            TooManyAttemptsError: The password was not checked.
        """
        return self._begin(self._verified(name, password, address), address, before)

    def log_in_by_subject(
        self, subject: str, name: str, address: str, before: str = "", invitation: str = ""
    ) -> str:
        """Begin a session of the user whom a provider calls `subject`, and return its token.

        A new subject signs up as `name`, if the setting allows it. It never takes over an existing
        account of that name. Raises LoginError or UsageError.
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
        """Return the user of this session; None if it is unknown, ended or expired."""
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
        if now - found.seen_at > timedelta(minutes=1):  # Do not write for each request.
            mine = sessions.c.token_sha256 == _digest(token)
            with self._write() as connection:
                connection.execute(sessions.update().where(mine).values(seen_at=now))
        return User(found.id, found.name, found.role, found.csrf)

    def machine(self, token: str) -> User | None:
        """Return the user of this token of the HTTP interface; None if it is not known."""
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

    def audit(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return the last entries of the audit, newest first."""
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

    def _attempt(self) -> AbstractContextManager[Connection]:
        return self.database.transaction(write=True, alone="attempts")

    def _needed(self, connection: Connection, name: str) -> Any:
        mine = users.c.name == canonical(name)
        one = connection.execute(sa.select(users).where(mine)).one_or_none()
        if one is None:
            raise UsageError(f"there is no user {name!r}")
        return one


def _digest(token: str) -> str:
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


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise UsageError(f"there is no role {role!r}; choose one of {', '.join(ROLES)}")


def _taken(name: str) -> str:
    return f"the user {name!r} already exists; choose another name"
