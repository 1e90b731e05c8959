"""The page on which an admin puts in a plant's files, corrects the guessed stage and saves it.

What it guesses and shows is that of `platelake look`.
"""

from __future__ import annotations

import difflib
from collections import Counter
from functools import partial
from typing import Any

import structlog
from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.files.photos import as_data_uri
from lakehouse.guess.folder import NothingError
from lakehouse.guess.preview import Shown as File
from lakehouse.guess.stage_file import said_lines
from serving.access.sessions import User
from serving.door import client
from serving.html import Html, texts_of
from serving.looks import NOT_SHOWN, Look, TakenError, save_stage, stages_folder
from serving.pages import Form, RefusedError, Shown, Visitor, check_token, received
from serving.receive import refused

ROWS, REASONS, THUMBS, NAMES = 8, 5, 24, 50
"""How many rows, reasons, photos and names of files are shown."""
THUMB = 128
"""Largest side of a shown photo, in pixels."""
TEXT_CHARACTERS = 200_000
SAVED, REPLACED = "saved a stage", "replaced a stage"
router = APIRouter(include_in_schema=False)


@router.get("/look")
def drop(request: Request, html: Shown, user: Visitor) -> Response:
    """Show where to put files in."""
    return _drop_page(request, html)


@router.post("/look")
async def begin(request: Request, html: Shown, user: Visitor) -> Response:
    """Receive files, guess their stage, and go on to its page."""
    files, given = await received(request, html.context, user)
    try:
        check_token(request, given.get("csrf", ""))
    except RefusedError:
        for one in files:
            html.context.uploads.drop(one)
        raise
    looks = html.context.looks

    def guessed() -> Response:
        look = looks.begin(user.name, [one for one in files if one.name])
        try:
            look.guess()
        except NothingError as error:
            return _drop_page(request, html, look, error.unread)
        except PlatelakeError as error:  # The guess makes no stage: a person can mend its text.
            structlog.get_logger().warning("look", error=str(error))
        return RedirectResponse(f"/look/{look.key}", 303)

    return await run_sync(guessed, limiter=request.app.state.looking)


@router.get("/look/{key}")
async def shown(request: Request, html: Shown, user: Visitor, key: str) -> Response:
    """Show the guesses, the stage's text and what it makes of the files."""
    look = _found(html, user, key)
    if look is None:
        raise RefusedError(404, "look_ended")
    return await run_sync(_page, request, html, look, limiter=request.app.state.looking)


@router.post("/look/{key}")
async def change(request: Request, html: Shown, user: Visitor, form: Form, key: str) -> Response:
    """Take the text over; show what it makes of the files, or save it.

    A look that has ended goes on without its files, so that no text is lost.
    """
    act = str(form.get("act", ""))
    if act not in ("check", "save"):
        raise RefusedError(422, "form")
    look = _found(html, user, key) or html.context.looks.begin(user.name, [])
    look.text = str(form.get("text", ""))[:TEXT_CHARACTERS].replace("\r\n", "\n")
    look.name = str(form.get("name", "")).strip()
    replaces = str(form.get("replaces", ""))

    def done() -> Response:
        if act == "check":
            return _page(request, html, look)
        return _save(request, html, user, look, replaces)

    return await run_sync(done, limiter=request.app.state.looking)


def _found(html: Html, user: User, key: str) -> Look | None:
    look = html.context.looks.find(key)
    if look and look.user_name != user.name:
        raise RefusedError(403, "forbidden", audited=True)
    return look


def _save(request: Request, html: Html, user: User, look: Look, replaces: str) -> Response:
    """Save the stage. One that is there is shown first, and replaced if the user then agrees."""
    context, t = html.context, texts_of(request)
    if look.name in context.stages and look.name not in context.open_to(user):
        raise RefusedError(403, "stage_access", audited=True)

    def audit(replaced: bool) -> None:
        action = REPLACED if replaced else SAVED
        context.accounts.record(user.name, action, look.name, client(request))

    try:
        save_stage(look.name, look.text, audit, replaces)
    except TakenError as error:
        known = {"taken": error.sha256, "difference": _difference(error.text, look)}
        return _page(request, html, look, 409, known, fault=t("look.taken", name=look.name))
    except UsageError as error:
        return _page(request, html, look, 400, fault=f"{t('look.not_saved')} {error}")
    except OSError as error:
        said = t("look.not_written", folder=stages_folder(), reason=error.strerror or error)
        return _page(request, html, look, 500, fault=said)
    return _page(request, html, look, said=t("look.saved", name=look.name))


def _difference(before: str, look: Look) -> list[str]:
    """Return the lines that saving would take out and put in, with what stands around them."""
    lines = difflib.unified_diff(before.splitlines(), look.text.splitlines(), lineterm="", n=1)
    return [line for line in lines if not line.startswith(("---", "+++"))]


def _drop_page(
    request: Request,
    html: Html,
    look: Look | None = None,
    unread: dict[str, str] | None = None,
) -> Response:
    """Return the page that takes files. `look`: one of which no file can be read."""
    t = texts_of(request)
    known: dict[str, Any] = {"here": "look", "unread": unread or {}, "faults": []}
    known |= {"most": html.context.settings.upload_files}
    if look is None:
        return html.page(request, "look", known)
    known["faults"] = _faults(request, html, look)
    return html.page(request, "look", known, 422, fault=t("look.nothing"))


def _faults(request: Request, html: Html, look: Look) -> list[tuple[str, str]]:
    t = texts_of(request)
    return [(n, refused(html.context, t, n, rule).said) for n, rule in look.faults.items()]


def _page(
    request: Request,
    html: Html,
    look: Look,
    status: int = 200,
    more: dict[str, Any] | None = None,
    said: str = "",
    fault: str = "",
) -> Response:
    """Return the page of a look, with what its text makes of its files."""
    stage, files = None, list[File]()
    try:
        stage = look.stage()
        files = look.shown(html.context.settings)
    except UsageError as error:
        fault = fault or f"{texts_of(request)('look.no_stage')} {error}"
        status = 400 if status == 200 else status
    lines = said_lines(look.text)
    known = {
        "here": "look",
        "look": look,
        "stage": stage,
        "faults": _faults(request, html, look),
        "unread": look.found.unread if look.found else {},
        "lines": [line for line in lines if line.key not in ("title", "files", "labels")],
        "doubts": Counter(line.certainty for line in lines),
        "texts": [one for one in files if one.rows and not one.rule],
        "photos": [one for one in files if one.picture],
        "refused": [one for one in files if one.rule and one.rule != NOT_SHOWN],
        "not_shown": [one.name for one in files if one.rule == NOT_SHOWN],
        "unmatched": [one.name for one in files if one.kind is None and not one.rule],
        "rows": ROWS,
        "reasons": REASONS,
        "thumbs": THUMBS,
        "names": NAMES,
        "thumb": partial(as_data_uri, side=THUMB, quality=85),
        "taken": "",
        "difference": [],
    }
    return html.page(request, "looked", known | (more or {}), status, said, fault)
