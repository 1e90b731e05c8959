"""The first page: today at a glance, each figure with a link to its cause."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from lakehouse.sql.database import SqlError
from serving.access.sessions import User
from serving.context import StageContext
from serving.lots import Lots
from serving.pages import Here, Shown, Visitor
from serving.records.inspections import Inspection, Search

LAST = 8
router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Today:
    """The user's photos of today by verdict, the last ones, and how many wait for review.

    `reachable`: whether SQL could be asked.
    """

    reachable: bool = True
    verdicts: dict[str, int] = field(default_factory=dict)
    last: list[Inspection] = field(default_factory=list)
    waiting: int = 0

    @property
    def total(self) -> int:
        """Number of photos of today."""
        return sum(self.verdicts.values())


@router.get("/")
def home(request: Request, html: Shown, user: Visitor, here: Here) -> Response:
    """Show today's photos, and to reviewers also the lots, the review and the data flow."""
    now = datetime.now(here.stage.zone)
    known: dict[str, Any] = {"today": now.date(), "photos": photos_of(here, user, now.date())}
    if user.may("reviewer"):
        known |= {"plant": plant_of(here.lots), "age": now}
    return html.page(request, "home", known | {"here": "home"})


def photos_of(here: StageContext, user: User, day: date) -> Today:
    """Ask SQL for the photos that the user may see."""
    inspections = here.inspections
    try:
        last, _ = inspections.search(Search(), user)
        verdicts = inspections.verdicts(Search(first_day=day, last_day=day), user)
        waiting = here.review.queue(user)[1] if user.may("reviewer") else 0
    except SqlError:  # The banner says so; the lake can still be read.
        return Today(reachable=False)
    return Today(True, verdicts, last[:LAST], waiting)


def plant_of(lots: Lots) -> dict[str, Any]:
    """Read the last day's lots, the last run and the quarantine from the lake."""
    days = lots.days()
    rows = lots.of_day(days[0]) if days else []
    runs = lots.runs()
    return {
        "day": days[0] if days else None,
        "lots": len(rows),
        "failed": sum(row["label"] == "failed" for row in rows),
        "unknown": sum(row["label"] == "unknown" for row in rows),
        "bad": sum(row["verdict"] == "bad" for row in rows),
        "check": sum(row["verdict"] == "needs_human" for row in rows),
        "last_reading": lots.last_reading(),
        "run": runs[0] if runs else None,
        "quarantined": sum(count for _, _, count in lots.held_back()),
        "unmatched": len(lots.unmatched()),
    }
