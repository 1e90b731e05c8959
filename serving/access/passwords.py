"""Passwords: the rules for them, and their hashes with Argon2id (RFC 9106)."""

from __future__ import annotations

import functools
import os
import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from lakehouse.errors import UsageError

LENGTH = (10, 200)
"""Least and most characters (NIST SP 800-63B asks for 8 and allows a limit of 64)."""

_HASHER = PasswordHasher()
_HASHING = threading.BoundedSemaphore(os.cpu_count() or 1)
"""A hash takes 64 MiB, so many logins at once wait in line."""


class PasswordError(UsageError):
    """The password breaks a rule."""


def new() -> str:
    """Return a random password."""
    return secrets.token_urlsafe(12)


def check(password: str, name: str) -> None:
    """Raise PasswordError if the user of this name may not have this password."""
    least, most = LENGTH
    if not least <= len(password) <= most:
        raise PasswordError(f"a password has {least} to {most} characters")
    if password.casefold() == name:
        raise PasswordError("the password must differ from the name")


def hashed(password: str, name: str) -> str:
    """Return the hash to store. Raises PasswordError if the password breaks a rule."""
    check(password, name)
    with _HASHING:
        return _HASHER.hash(password)


def matches(kept: str | None, password: str) -> bool:
    """Return whether the password is right. Takes as long if `kept` is None."""
    try:
        with _HASHING:
            _HASHER.verify(kept or _nobodys(), password[: LENGTH[1]])
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None


@functools.cache
def _nobodys() -> str:
    """Return the hash for an unknown user, so that the comparison takes as long."""
    return _HASHER.hash(secrets.token_urlsafe())
