"""The page of the costs: what thresholds, cost and review load would be, and the costs saved."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from ml.figures.thresholds import Costs
from ml.figures.what_if import Expected, expected
from serving.context import StageContext
from serving.html import Html, texts_of
from serving.pages import Form, Here, Named, RefusedError, Shown, Visitor
from serving.records.costs import NAMES, CostsError, checked
from serving.verdicts.champion import Champion

router = APIRouter(include_in_schema=False)


@router.get("/costs")
def costs(request: Request, html: Shown, user: Visitor, here: Here) -> Response:
    """Show what the model would do with the costs in the address, next to those now."""
    return _page(request, html, here, dict(request.query_params))


@router.post("/costs")
def save(request: Request, html: Shown, user: Visitor, here: Named, form: Form) -> Response:
    """Save the costs for the next study of the model, and write to the audit who did."""
    given = {name: str(value) for name, value in form.items()}
    champion = _champion(here, given.get("kind", ""))
    known, name = html.context.costs, champion.name
    try:
        new = checked(given, known.now(name, here.settings))
        known.save(html.context.accounts, user.name, name, new, given.get("reason", ""))
    except CostsError as error:
        said = texts_of(request)(f"costs.wrong_{error.why}")
        kept = {} if error.why == "costs" else given
        return _page(request, html, here, {"kind": given.get("kind", ""), **kept}, 400, said)
    return RedirectResponse(f"/costs?kind={given['kind']}&stage={here.stage.name}&saved=1", 303)


def _page(
    request: Request,
    html: Html,
    here: StageContext,
    given: dict[str, str],
    status: int = 200,
    fault: str = "",
) -> Response:
    kind = given.get("kind") or _first(here)
    champion = _champion(here, kind)
    history = html.context.costs.of(champion.name)
    now = html.context.costs.now(champion.name, here.settings)
    try:
        wanted = checked(given, now)
    except CostsError:
        wanted, status, fault = now, 422, texts_of(request)("costs.wrong_costs")
    known: dict[str, Any] = {
        "kind": kind,
        "kinds": list(here.champions),
        "champion": champion.model,
        "names": NAMES,
        "now": now,
        "wanted": wanted,
        "found": _compared(champion, now, wanted),
        "reason": given.get("reason", ""),
        "history": history,
        "here": "costs",
    }
    saved = texts_of(request)("costs.saved") if given.get("saved") else ""
    return html.page(request, "costs", known, status, saved, fault)


def _compared(champion: Champion, now: Costs, wanted: Costs) -> tuple[Expected, Expected] | None:
    """Return what the model would do with both costs; None if its predictions are not known."""
    tested = champion.tested()
    if tested is None:
        return None
    before = expected(tested, now)
    return before, before if wanted == now else expected(tested, wanted)


def _first(here: StageContext) -> str:
    """Return the kind of model to begin with: one that is in use."""
    return next((kind for kind, one in here.champions.items() if one.model is not None), "photos")


def _champion(here: StageContext, kind: str) -> Champion:
    if kind not in here.champions:
        raise RefusedError(422, "filter")
    return here.champions[kind]
