"""Pages for lots, models and the data flow."""

from __future__ import annotations

from datetime import date

from fastapi import APIRouter, Request
from fastapi.responses import Response

from ml.figures.savings import most_missed
from serving.lots import SORTS
from serving.origin import of_lot
from serving.pages import Here, RefusedError, Shown, Visitor, mlflow_link, origin_shown
from serving.pages.promotions import promotions
from serving.records.inspections import Search

router = APIRouter(include_in_schema=False)


@router.get("/lots")
def of_day(
    request: Request, html: Shown, user: Visitor, here: Here, day: str = "", sort: str = "risk"
) -> Response:
    """Show the lots of a day, highest risk first by default."""
    lots = here.lots
    days, sort = lots.days(), sort if sort in SORTS else SORTS[0]
    when = _day(day) or (days[0] if days else None)
    rows = lots.of_day(when, sort) if when else []
    known = {"day": when or "", "days": days, "rows": rows, "sort": sort, "here": "lots"}
    before, after = lots.next_to(when) if when else (None, None)
    model = {"model": lots.champion.model is not None, "stage": here.stage.name}
    return html.page(request, "lots", {**known, **model, "before": before, "after": after})


@router.get("/lots/{day}/{name}")
def lot(request: Request, html: Shown, user: Visitor, here: Here, day: str, name: str) -> Response:
    """Show the readings of a lot, its verdict and its inspected photos."""
    when = _day(day)
    if when is None or not here.stage.is_lot(name):
        raise RefusedError(404, "not_found")
    rows = {row["lot"]: row for row in here.lots.of_day(when, "lot")}
    names = list(rows)
    at = names.index(name) if name in rows else -1
    found = [one for one in here.inspections.all_of(Search(lot=name), user) if one.day == when]
    known = {
        "lot": here.lots.view(when, name),
        "known": name in rows,
        "label": rows[name]["label"] if name in rows else "",
        "before": names[at - 1] if at > 0 else "",
        "after": names[at + 1] if 0 <= at < len(names) - 1 else "",
        "model": here.lot_champion.model is not None,
        "found": found,
        "stage": here.stage.name,
        "here": "lots",
        **origin_shown(request, here, lambda: of_lot(here.sources, when, name)),
    }
    return html.page(request, "lot", known)


@router.get("/models")
def models(request: Request, html: Shown, user: Visitor, here: Here) -> Response:
    """Show the champions, with the figures of their evaluation."""
    champions = here.champions.items()
    found = [(kind, one, mlflow_link(html.context, one.honest.page)) for kind, one in champions]
    known = {"champions": found, "stage": here.stage.name, "here": "models"}
    happened = {kind: promotions(here.app.registry, one) for kind, one in champions}
    return html.page(request, "models", known | {"happened": happened, "most_missed": most_missed})


@router.get("/models/{kind}")
def model_card(request: Request, html: Shown, user: Visitor, here: Here, kind: str) -> Response:
    """Show the model card of a champion: data, test, figures, examples, limits."""
    champion = here.champions.get(kind)
    if champion is None or champion.model is None:
        raise RefusedError(404, "not_found")
    known = {"card": champion.card(), "kind": kind, "version": champion.model.version}
    return html.page(request, "model_card", known | {"here": "models"})


@router.get("/flow")
def flow(request: Request, html: Shown, user: Visitor, here: Here) -> Response:
    """Show the last runs, the quarantine, and the mix of verdicts."""
    lots = here.lots
    known = {
        "runs": lots.runs(),
        "held": lots.held_back(),
        "unmatched": lots.unmatched(),
        "much": lots.much_quarantined(),
        "mix": lots.verdict_mix(),
    }
    return html.page(request, "flow", known | {"here": "flow"})


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
