"""What Inspect's own component asks for: one file in, its result as HTML out."""

from __future__ import annotations

import re
from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from lakehouse.errors import UsageError
from serving.access.sessions import User
from serving.context import AppContext, StageContext
from serving.html import share, texts_of
from serving.pages import Here, Named, RefusedError, Shown, Visitor, received, seen
from serving.receive import Result, inspect_upload, refused
from serving.records.inspections import Search
from serving.texts import LANGUAGES, Texts, texts
from serving.verdicts.inspector import Lot
from serving.verdicts.uploads import Received

LATEST, SHOWN_ROWS = 20, 200
KEY = re.compile(r"[0-9a-f]{32}")
router = APIRouter(include_in_schema=False)


@router.post("/inspections")
async def inspect_photo(
    request: Request, html: Shown, user: Visitor, here: Named, language: str = ""
) -> Response:
    """Inspect one photo. The page's `key` names the inspection, so a second try is the same one."""
    context, t = html.context, _texts(request, language)
    one, given = await _received(request, context, user)
    try:
        lot = here.inspector.lot(given.get("lot", ""))
    except UsageError:
        context.uploads.drop(one)
        return JSONResponse({"rule": "lot", "detail": t("fault.lot")}, 422)
    key = given.get("key", "")
    key = key if KEY.fullmatch(key) else ""

    def inspected() -> dict[str, Any]:
        result = inspect_upload(here, t, user, one, lot, key)
        text = html.text(here, "inspected_one", t, user, "/inspect", _shown(here, result, lot))
        return {"html": text, "said": _said(t, result)}

    found = await run_sync(inspected, limiter=request.app.state.inspecting)
    return JSONResponse(found)


@router.post("/sensor")
async def check_sensor_file(
    request: Request, html: Shown, user: Visitor, here: Named, language: str = ""
) -> Response:
    """Check one sensor file, and store nothing."""
    context, t = html.context, _texts(request, language)
    one, _ = await _received(request, context, user)

    def checked() -> dict[str, Any]:
        known = read_sensor(here, t, one)
        text = html.text(here, "checked_file", t, user, "/sensor", known)
        return {"html": text, "said": known["fault"] or sensor_counts(t, known)}

    return JSONResponse(await run_sync(checked, limiter=request.app.state.inspecting))


@router.get("/inspections/latest")
def latest(
    request: Request, html: Shown, user: Visitor, here: Here, language: str = ""
) -> Response:
    """Return the user's last inspections of this production day, to open one by one."""
    t, today = _texts(request, language), here.stage.production_day()
    found, _ = here.inspections.search(Search(user=user.name, first_day=today), user)
    text = html.text(here, "latest", t, user, "/inspect", {"found": found[:LATEST]})
    return JSONResponse({"html": text, "stage": here.stage.name})


@router.get("/inspections/{inspection_id}/card")
def card(
    request: Request, html: Shown, user: Visitor, inspection_id: str, language: str = ""
) -> Response:
    """Return what an opened inspection shows."""
    here, one = seen(html.context, request, user, inspection_id)
    text = html.text(here, "opened", _texts(request, language), user, "/inspect", {"one": one})
    return JSONResponse({"html": text})


@router.get("/inspections/{inspection_id}/lot")
def lot_of(
    request: Request, html: Shown, user: Visitor, inspection_id: str, language: str = ""
) -> Response:
    """Return the lot of an inspection with its readings."""
    here, one = seen(html.context, request, user, inspection_id)
    if one.day is None or one.lot is None:
        raise RefusedError(404, "not_found")
    known = {"lot": here.lots.view(one.day, one.lot)}
    text = html.text(here, "opened_lot", _texts(request, language), user, "/inspect", known)
    return JSONResponse({"html": text})


async def _received(
    request: Request, context: AppContext, user: User
) -> tuple[Received, dict[str, str]]:
    """Receive one file and the text fields."""
    files, given = await received(request, context, user)
    if len(files) != 1:
        for one in files:
            context.uploads.drop(one)
        raise HTTPException(422, "send one file")
    return files[0], given


def _texts(request: Request, language: str) -> Texts:
    """Return the texts of the page that asks, else those that the browser accepts."""
    return texts(language) if language in LANGUAGES else texts_of(request)


def _shown(here: StageContext, result: Result, lot: Lot | None) -> dict[str, Any]:
    missing = lot is not None and lot.name not in here.lots.names(lot.day)
    return {"result": result, "missing": missing}


def _said(t: Texts, result: Result) -> str:
    """Return the result in a few words, for a screen reader."""
    one = result.inspection
    if not one:
        return result.said
    return f"{t(f'verdict.{one.verdict}')}, {share(one.probability, one.low, one.high)}"


def read_sensor(here: StageContext, t: Texts, one: Received | None) -> dict[str, Any]:
    """Read an uploaded sensor file and remove it. Return what its page shows."""
    known: dict[str, Any] = {"name": one.name if one else "", "lots": [], "bad": [], "fault": ""}
    if one is None or one.fault:
        return known | {"fault": refused(here.app, t, "", one.fault if one else "gone").said}
    try:
        with one.path.open("rb") as stream:
            fault, lots, held = here.lots.check_file(stream, one.name)
    finally:
        here.app.uploads.drop(one)
    if fault:
        rule, reason = fault
        return known | {"fault": f"{t(f'rule.{rule}')} ({reason})"}
    model = here.lot_champion.model is not None
    known |= {"lots": lots, "bad": held[:SHOWN_ROWS], "bad_count": len(held)}
    known |= {"model": model, "stage": here.stage.name}
    return known | {"counts": sensor_counts(t, known)}


def sensor_counts(t: Texts, known: dict[str, Any]) -> str:
    """Return how many lots a file has, and how many of each verdict."""
    words = [lot.verdict.verdict for lot in known["lots"] if lot.verdict]
    if not words:
        return t("sensor.count", lots=len(known["lots"]))
    each = {word: words.count(word) for word in ("bad", "needs_human", "good")}
    return t("sensor.counts", lots=len(known["lots"]), **each)
