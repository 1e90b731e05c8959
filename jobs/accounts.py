"""Accounts of the app, as the command line opens them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.access.accounts import Accounts

COMMAND_LINE = "(command line)"
"""Who acts, in the audit, if no user of the app does."""


def open_accounts(lake: str | None, sql_url: str | None) -> Accounts:
    """The accounts in the summaries' database."""
    from lakehouse.settings import load_settings
    from lakehouse.sql.database import Database
    from serving.access.accounts import Accounts

    return Accounts(Database(load_settings(lake=lake, sql_url=sql_url).sql_address()))
