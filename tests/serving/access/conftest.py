"""A database with one account, and a clock that a test moves."""

from datetime import UTC, datetime, timedelta

import pytest

from lakehouse.sql.database import Database
from serving.access.accounts import Accounts
from serving.access.sessions import LoginError

PASSWORD, HOME = "correct horse battery", "10.0.0.7"


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 25, 8, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def move(self, by: timedelta) -> None:
        self.time += by


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(sql_url: str, clock: Clock) -> Accounts:
    found = Accounts(Database(sql_url), now=clock)
    found.add("kim", password=PASSWORD, by="test")
    return found


def refused(accounts: Accounts, name: str, password: str, address: str = "10.9.9.9") -> str:
    with pytest.raises(LoginError) as caught:
        accounts.log_in(name, password, address)
    return str(caught.value)
