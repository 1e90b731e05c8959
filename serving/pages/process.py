"""The page of the process: control charts of each variable."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from serving.context import StageContext
from serving.pages import Here, RefusedError, Shown, Visitor
from serving.pages.inspections import csv_line
from serving.process import CHARTS, RULES, Period, ProcessView

router = APIRouter(include_in_schema=False)
DAYS = ("first_day", "last_day", "base_first", "base_last")


@router.get("/process")
def process(request: Request, html: Shown, user: Visitor, here: Here) -> Response:
    """Show the control chart of a variable, with its rules and its capability."""
    if not here.stage.variables:
        return html.page(request, "process", {"view": None, "here": "process"})
    asked = _asked(request, here)
    known = {"view": _view(here, asked), "asked": asked, "query": urlencode(asked)}
    variables = {"variables": here.stage.variables, "charts": CHARTS, "sets": list(RULES)}
    return html.page(request, "process", known | variables | {"here": "process"})


@router.get("/process.csv")
def process_csv(request: Request, user: Visitor, here: Here) -> Response:
    """Return the points of the chart as csv."""
    if not here.stage.variables:
        raise RefusedError(404, "not_found")
    view = _view(here, _asked(request, here))
    head = {"Content-Disposition": 'attachment; filename="process.csv"'}
    return StreamingResponse(_lines(view), media_type="text/csv; charset=utf-8", headers=head)


def _asked(request: Request, here: StageContext) -> dict[str, str]:
    """Return what the address asks for; a name or day that cannot be meant is refused."""
    given = request.query_params
    names = [variable.name for variable in here.stage.variables]
    asked = {
        "variable": given.get("variable") or names[0],
        "chart": given.get("chart") or CHARTS[0],
        "rules": given.get("rules") or next(iter(RULES)),
        **{name: given.get(name, "") for name in DAYS},
    }
    if asked["variable"] not in names or asked["chart"] not in CHARTS:
        raise RefusedError(422, "filter")
    if asked["rules"] not in RULES:
        raise RefusedError(422, "filter")
    for name in DAYS:
        _day(asked[name])
    return asked


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise RefusedError(422, "filter") from None


def _view(here: StageContext, asked: dict[str, str]) -> ProcessView:
    variable = next(one for one in here.stage.variables if one.name == asked["variable"])
    first, last, base_first, base_last = (_day(asked[name]) for name in DAYS)
    periods = Period(first, last), Period(base_first, base_last)
    return here.process.view(variable, asked["chart"], *periods, asked["rules"])


def _lines(view: ProcessView) -> Iterator[str]:
    names = ("day", "lot", "label", view.variable.name, "lower", "upper", "rules")
    yield "\N{BYTE ORDER MARK}" + csv_line(names)
    for point in view.points:
        told = (point.day, point.lot, point.label, point.value, point.low, point.high)
        yield csv_line([*told, " ".join(point.rules)])
