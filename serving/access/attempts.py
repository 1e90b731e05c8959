"""Count login attempts by account and address.

The limits stop somebody who guesses passwords, but not a user at an address they used before.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lakehouse.errors import PlatelakeError
from serving.tables import attempts

WINDOW = timedelta(minutes=15)
KNOWN = timedelta(days=30)
"""An address where a user logged in is known this long. Guesses from elsewhere do not block it."""
PAIR_LIMIT, ACCOUNT_LIMIT, ADDRESS_LIMIT = 5, 20, 50
"""Most wrong passwords within WINDOW: for one account from one address; for one account, before
unknown addresses are blocked; from one address for any accounts."""
SIGN_UP_LIMIT = 20
"""Most attempts to sign up from one address within WINDOW."""
SIGNING_UP = "\n(signing up)"
"""Name for counting sign-ups. It is not a valid user name."""


class TooManyAttemptsError(PlatelakeError):
    """There were too many attempts just now. This one was not checked."""


def begin(connection: Connection, name: str, address: str, now: datetime) -> Any:
    """Count an attempt as failed until `succeed`, and return its number.

    It is counted before it is checked, and in a transaction that runs alone, so that guesses at
    the same moment count too. Raises TooManyAttemptsError.
    """
    connection.execute(attempts.delete().where(attempts.c.at < now - KNOWN))
    if _is_guessing(connection, name, address, now):
        minutes = WINDOW // timedelta(minutes=1)
        raise TooManyAttemptsError(
            f"too many attempts; wait {minutes} minutes, or ask an admin to reset your password"
        )
    tried = {"name": name, "address": address, "succeeded": False, "at": now}
    made = connection.execute(attempts.insert().values(tried))
    return made.inserted_primary_key[0] if made.inserted_primary_key else None


def succeed(connection: Connection, number: Any) -> None:
    """Mark the attempt as successful."""
    mine = attempts.c.id == number
    connection.execute(attempts.update().where(mine).values(succeeded=True))


def _is_guessing(connection: Connection, name: str, address: str, now: datetime) -> bool:
    of_name, of_address = attempts.c.name == name, attempts.c.address == address

    def count(*where: sa.ColumnElement[bool]) -> int:
        query = sa.select(sa.func.count()).select_from(attempts).where(*where)
        return connection.scalar(query) or 0

    recent = (attempts.c.at > now - WINDOW, ~attempts.c.succeeded)
    if count(of_address, *recent) >= ADDRESS_LIMIT:
        return True
    if name == SIGNING_UP:
        return count(of_name, of_address, *recent) >= SIGN_UP_LIMIT
    if count(of_name, of_address, *recent) >= PAIR_LIMIT:
        return True
    known = count(of_name, of_address, attempts.c.succeeded) > 0
    return not known and count(of_name, *recent) >= ACCOUNT_LIMIT
