"""The costs of a wrong verdict and of a review, as an engineer set them. Rows never change.

The last row of a model counts for its next study. A model in use keeps the thresholds that it was
made with, so each verdict belongs to the costs in its model's card.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from lakehouse.errors import UsageError
from lakehouse.settings import Settings
from lakehouse.sql.database import Database
from ml.figures.thresholds import Costs, costs_of
from serving.access.accounts import Accounts
from serving.records.review import REASON_LENGTH
from serving.tables import costs as table

NAMES = ("escape", "scrap", "review")
MOST, SHOWN = 1e9, 20


class CostsError(UsageError):
    """The costs cannot be used. `why` is costs or reason."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the costs cannot be used: {why}")
        self.why = why


@dataclass(frozen=True)
class SavedCosts:
    """Costs, who set them, when (UTC without a zone), and why."""

    costs: Costs
    set_by: str
    set_at: datetime
    reason: str


def checked(given: dict[str, str], before: Costs) -> Costs:
    """Return the costs of a form; what it does not name stays as before.

    Raises:
        CostsError: A cost is not a number above 0 and at most a billion.
    """
    found = dict(vars(before))
    for name in NAMES:
        text = given.get(name, "").strip()
        try:
            found[name] = float(text) if text else found[name]
        except ValueError:
            raise CostsError("costs") from None
        if not (math.isfinite(found[name]) and 0 < found[name] <= MOST):
            raise CostsError("costs")
    return Costs(**found)


class CostHistory:
    """The costs of all models in one database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def of(self, model: str) -> list[SavedCosts]:
        """Return the last costs of a registered model, the newest first."""
        query = sa.select(table).where(table.c.model == model)
        query = query.order_by(table.c.id.desc()).limit(SHOWN)
        with self.database.transaction() as connection:
            return [_saved(row) for row in connection.execute(query)]

    def now(self, model: str, settings: Settings) -> Costs:
        """Return the costs that count now: the last ones set, else those of the settings."""
        saved = self.of(model)
        return saved[0].costs if saved else costs_of(settings)

    def save(self, accounts: Accounts, user: str, model: str, new: Costs, reason: str) -> None:
        """Store the costs, and write to the audit who set them from what to what.

        Raises:
            CostsError: There is no reason, or it is too long.
        """
        reason = " ".join(reason.split())
        if not 0 < len(reason) <= REASON_LENGTH:
            raise CostsError("reason")
        row = {"model": model, "reason": reason, "set_by": user, **vars(new)}
        row["set_at"] = datetime.now(UTC).replace(tzinfo=None)
        with self.database.transaction(write=True) as connection:
            connection.execute(table.insert().values(row))
        accounts.record(user, "costs set", f"{model}: {in_words(new)}: {reason}")


def in_words(costs: Costs) -> str:
    """Say the three costs in one line.

    >>> in_words(Costs(100.0, 10.0, 0.5))
    'escape 100, scrap 10, review 0.5'
    """
    return ", ".join(f"{name} {getattr(costs, name):g}" for name in NAMES)


def _saved(row: Any) -> SavedCosts:
    return SavedCosts(Costs(row.escape, row.scrap, row.review), row.set_by, row.set_at, row.reason)
