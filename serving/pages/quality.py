"""The page of the quality: failed lots over time, and what is behind them."""

from __future__ import annotations

from datetime import date
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response

from serving.pages import Here, RefusedError, Shown, Visitor
from serving.process import Period
from serving.quality import BY, failures_of, link_of

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
    """Show the failed share by day or week, the variables behind it, and the quarantine."""
    by = by or BY[0]
    try:
        first, last = (date.fromisoformat(day) if day else None for day in (first_day, last_day))
    except ValueError:
        raise RefusedError(422, "filter") from None
    if by not in BY:
        raise RefusedError(422, "filter")
    days = {"first_day": first_day, "last_day": last_day}
    known = {
        "found": failures_of(here.lots.lake, here.stage, by, Period(first, last)),
        "by": by,
        **days,
        "days": urlencode({name: day for name, day in days.items() if day}),
        "link_of": link_of,
        "variables": {variable.name: variable for variable in here.stage.variables},
        "rules": sorted(here.lots.held_back(), key=lambda one: -one[2]),
    }
    return html.page(request, "quality", known | {"here": "quality"})
