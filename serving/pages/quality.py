"""The page of the quality: failed lots over time, what is behind them, and verdicts on photos."""

from __future__ import annotations

from datetime import date
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from lakehouse.sql.database import SqlError
from serving.context import StageContext
from serving.pages import Here, RefusedError, Shown, Visitor
from serving.process import Period
from serving.quality import BY, PhotoFigures, failures_of, link_of, photo_figures
from serving.records.verdict_days import MOST_DAYS

router = APIRouter(include_in_schema=False)


@router.get("/quality")
def quality(
    request: Request,
    html: Shown,
    user: Visitor,
    here: Here,
    by: str = "",
    first_day: str = "",
    last_day: str = "",
) -> Response:
    """Show the failed share by day or week, the variables behind it, and the quarantine.

    Reviewers also see the verdicts on photos, which an operator sees only of their own.
    """
    by = by or BY[0]
    try:
        first, last = (date.fromisoformat(day) if day else None for day in (first_day, last_day))
    except ValueError:
        raise RefusedError(422, "filter") from None
    if by not in BY:
        raise RefusedError(422, "filter")
    period = Period(first, last)
    days = {"first_day": first_day, "last_day": last_day}
    known = {
        "found": failures_of(here.lots.lake, here.stage, by, period),
        "photos": _photos(here, period) if user.may("reviewer") else None,
        "by": by,
        **days,
        "days": urlencode({name: day for name, day in days.items() if day}),
        "link_of": link_of,
        "most_days": MOST_DAYS,
        "variables": {variable.name: variable for variable in here.stage.variables},
        "rules": sorted(here.lots.held_back(), key=lambda one: -one[2]),
    }
    return html.page(request, "quality", known | {"here": "quality"})


def _photos(here: StageContext, period: Period) -> PhotoFigures | None:
    try:
        return photo_figures(here.verdict_days, period)
    except SqlError:  # The banner says so; the lake can still be read.
        return None
