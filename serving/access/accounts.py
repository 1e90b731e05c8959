"""Accounts of the app: make them, change them, sign up, and enter by a provider."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from lakehouse.errors import UsageError
from lakehouse.sql.database import Database
from serving.access import attempts, passwords
from serving.access.sessions import (
    NAME_LENGTH,
    ROLES,
    AccountNameError,
    LoginError,
    Sessions,
    User,
    canonical,
    digest,
)
from serving.tables import api_tokens, invitations, users

SIGN_UP = ("open", "invitation", "off")
INVITATION = timedelta(days=7)
UNKNOWN_INVITATION = "this invitation is unknown, used or expired; ask for another one"


class SignUpOffError(UsageError):
    """Sign-up is off."""


class InvitationError(UsageError):
    """The invitation is not valid."""


class Accounts(Sessions):
    """The accounts in one database. `sign_up` says who may sign up: open, invitation or off."""

    def __init__(
        self,
        database: Database,
        sign_up: str = "invitation",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if sign_up not in SIGN_UP:
            raise UsageError(f"sign_up must be one of {', '.join(SIGN_UP)}, not {sign_up!r}")
        super().__init__(database, now)
        self.sign_up_by = sign_up

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
            "token_sha256": digest(token),
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
            known = invitations.c.token_sha256 == digest(invitation)
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
        mine = invitations.c.token_sha256 == digest(token)
        found = connection.execute(sa.select(invitations).where(mine)).one_or_none()
        used = connection.execute(invitations.delete().where(mine)).rowcount
        if found is None or not used or found.expires_at < self._now():
            raise InvitationError(UNKNOWN_INVITATION)
        role: str = found.role
        return role

    def log_in_by_subject(
        self, subject: str, name: str, address: str, before: str = "", invitation: str = ""
    ) -> str:
        """Begin a session of the user whom a provider calls `subject`, and return its token.

        A new subject signs up as `name`, if the setting allows it. It never takes over an existing
        account of that name. Raises LoginError or UsageError.
        """
        known = users.c.subject == digest(subject)
        with self._write() as connection:
            one = connection.execute(sa.select(users).where(known)).one_or_none()
            if one is None:
                name = canonical(name)
                role = self._role_at_sign_up(connection, invitation)
                self._insert(connection, name, role, name, subject=digest(subject))
                one = connection.execute(sa.select(users).where(known)).one()
        if one.disabled:
            self.record(one.name, "login refused", address=address)
            raise LoginError("this account is disabled")
        return self._begin(one, address, before)

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

    def change_role(self, name: str, role: str, by: str) -> None:
        """Give the user another role, from the next request on."""
        _check_role(role)
        with self._write() as connection:
            one = self._needed(connection, name)
            connection.execute(users.update().where(users.c.id == one.id).values(role=role))
            self._note(connection, by, "role changed", f"{one.name}: {one.role} to {role}")

    def token(self, name: str, by: str, label: str = "", days: int | None = None) -> str:
        """Return a new token of the HTTP interface, for a machine that acts as this user.

        It is valid until the user is disabled or the password changes, for so many days, or until
        it is revoked. `label` says which machine has it.
        """
        if len(label) > NAME_LENGTH:
            raise UsageError(f"a token's name has at most {NAME_LENGTH} characters")
        token, now = secrets.token_urlsafe(32), self._now()
        row = {"token_sha256": digest(token), "created_at": now, "name": label or None}
        row["expires_at"] = now + timedelta(days=days) if days else None
        with self._write() as connection:
            one = self._needed(connection, name)
            connection.execute(api_tokens.insert().values(row | {"user_id": one.id}))
            self._note(connection, by, "token made", f"{one.name} {label}".strip())
        return token

    def tokens(self) -> list[dict[str, Any]]:
        """Return all tokens: token_sha256, user_name, name, created_at, expires_at (UTC)."""
        shown = [api_tokens.c[one] for one in ("token_sha256", "name", "created_at", "expires_at")]
        query = sa.select(users.c.name.label("user_name"), *shown).join(users)
        with self.database.transaction() as connection:
            found = connection.execute(query.order_by(users.c.name, api_tokens.c.created_at))
            return [dict(row) for row in found.mappings()]

    def revoke(self, token_sha256: str, by: str) -> None:
        """End a token at once."""
        mine = api_tokens.c.token_sha256 == token_sha256
        query = sa.select(users.c.name.label("user"), api_tokens.c.name).join(users).where(mine)
        with self._write() as connection:
            one = connection.execute(query).one_or_none()
            if one is None:
                raise UsageError("there is no such token")
            connection.execute(api_tokens.delete().where(mine))
            self._note(connection, by, "token revoked", f"{one.user} {one.name or ''}".strip())

    def everybody(self) -> list[dict[str, Any]]:
        """Return all accounts, sorted by name: name, role, disabled, created_at (UTC)."""
        shown = [users.c[name] for name in ("name", "role", "disabled", "created_at")]
        with self.database.transaction() as connection:
            found = connection.execute(sa.select(*shown).order_by(users.c.name))
            return [dict(row) for row in found.mappings()]

    def _needed(self, connection: Connection, name: str) -> Any:
        mine = users.c.name == canonical(name)
        one = connection.execute(sa.select(users).where(mine)).one_or_none()
        if one is None:
            raise UsageError(f"there is no user {name!r}")
        return one


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise UsageError(f"there is no role {role!r}; choose one of {', '.join(ROLES)}")


def _taken(name: str) -> str:
    return f"the user {name!r} already exists; choose another name"
