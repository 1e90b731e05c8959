"""Passwords: what is one, and what is kept of it, Argon2id (RFC 9106)."""

from __future__ import annotations

import functools
import os
import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from lakehouse.errors import UsageError

LENGTH = (10, 200)
"""Characters, at least and at most (NIST SP 800-63B asks for 8 and allows a limit of 64)."""

_HASHER = PasswordHasher()
_HASHING = threading.BoundedSemaphore(os.cpu_count() or 1)
"""A hash takes 64 MiB: a crowd that logs in at once waits in line."""


class PasswordError(UsageError):
    """What is given is no password."""


def new() -> str:
    """A random one."""
    return secrets.token_urlsafe(12)


def check(password: str, name: str) -> None:
    """Raise PasswordError unless the user of that name may have it."""
    least, most = LENGTH
    if not least <= len(password) <= most:
        raise PasswordError(f"a password has {least} to {most} characters")
    if password.casefold() == name:
        raise PasswordError("the name is no password")


def hashed(password: str, name: str) -> str:
    """What is kept of a password; raises PasswordError where it is none."""
    check(password, name)
    with _HASHING:
        return _HASHER.hash(password)


def matches(kept: str | None, password: str) -> bool:
    """Whether it is the password; takes as long where nothing is kept."""
    try:
        with _HASHING:
            _HASHER.verify(kept or _nobodys(), password[: LENGTH[1]])
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None


@functools.cache
def _nobodys() -> str:
    """What the password of an unknown user is compared with, so that it takes as long."""
    return _HASHER.hash(secrets.token_urlsafe())
