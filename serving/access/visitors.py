"""Visitors: find the user of a cookie or token, even while SQL is away."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

from lakehouse.sql.database import SqlError
from serving.access.accounts import Accounts
from serving.access.sessions import IDLE, User

KNOWN_USERS = 10_000


class Visitors:
    """Finds the user of a cookie or token. While SQL is away, the last known user counts."""

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        self._last: OrderedDict[tuple[str, str], tuple[User, float]] = OrderedDict()
        self._ended: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def by_session(self, token: str) -> User | None:
        """Return the user of a session; None once it ended in this app, even with SQL away."""
        with self._lock:
            if token in self._ended:
                return None
        return self._found("session", token, self.accounts.user)

    def by_token(self, token: str) -> User | None:
        """Return the user of a machine's token, or None."""
        return self._found("token", token, self.accounts.machine)

    def log_out(self, token: str, address: str) -> None:
        """End the session: in this app at once, in SQL now or at the next `end_sessions`."""
        with self._lock:
            self._last.pop(("session", token), None)
            self._ended[token] = address
            while len(self._ended) > KNOWN_USERS:
                self._ended.popitem(last=False)
        with suppress(SqlError):
            self.end_sessions()

    def end_sessions(self) -> None:
        """Tell SQL which sessions have ended. Raises SqlError while it is away."""
        with self._lock:
            ended = list(self._ended.items())
        for token, address in ended:
            self.accounts.log_out(token, address)
            with self._lock:
                self._ended.pop(token, None)

    def _found(self, kind: str, token: str, look: Callable[[str], User | None]) -> User | None:
        try:
            user = look(token)
        except SqlError:
            with self._lock:
                user, at = self._last.get((kind, token), (None, 0.0))
            if user is None or time.monotonic() - at > IDLE.total_seconds():
                raise
            return user
        with self._lock:
            self._last.pop((kind, token), None)
            if user:
                self._last[kind, token] = (user, time.monotonic())
                while len(self._last) > KNOWN_USERS:
                    self._last.popitem(last=False)
        return user
