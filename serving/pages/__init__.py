"""Pages in plain HTML, and what they share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hmac import compare_digest
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, HTTPException, Request
from fastapi.responses import Response
from starlette.datastructures import FormData

from serving.access.sessions import User
from serving.context import AppContext, StageContext
from serving.html import Html, stage_of, user_of
from serving.origin import Step
from serving.records.inspections import Inspection
from serving.verdicts.uploads import MalformedError, Received, TooMuchError

WITHOUT_SESSION = ("/login", "/sign-up", "/language", "/theme")


class RefusedError(Exception):
    """The request is refused, with an HTTP status and a key of the texts.

    `audited`: whether the answer also goes to the audit.
    """

    def __init__(self, status: int, why: str, audited: bool = False) -> None:
        super().__init__(why)
        self.status, self.why, self.audited = status, why, audited


async def posted(request: Request) -> FormData:
    """Return the fields of a form. If a session is needed, the form must carry its token."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise RefusedError(415, "form")
    form = await request.form(max_fields=20)
    if request.url.path not in WITHOUT_SESSION:
        check_token(request, str(form.get("csrf", "")))
    return form


def check_token(request: Request, given: str) -> None:
    """Refuse the form if it does not carry the token that its session was given."""
    user = user_of(request)
    shown_to = user.csrf if user else ""
    if not (shown_to and compare_digest(given.encode(), shown_to.encode())):
        raise RefusedError(403, "form")


async def received(
    request: Request, context: AppContext, user: User
) -> tuple[list[Received], dict[str, str]]:
    """Receive the files and texts of a form, or refuse it: 413 too large, 400 malformed."""
    try:
        return await context.uploads.receive(request, user.name)
    except TooMuchError:
        raise RefusedError(413, "too_large") from None
    except MalformedError as error:
        raise HTTPException(400, str(error)) from None


async def visitor(request: Request) -> User:  # Async, so FastAPI needs no thread.
    """Return the user who is logged in. The door refuses all others."""
    user = user_of(request)
    if user is None:
        raise RefusedError(401, "login")
    return user


async def shown(request: Request) -> Html:
    """Return the templates of the app."""
    found: Html = request.app.state.html
    return found


def stage_for(request: Request, context: AppContext, named: bool = False) -> StageContext:
    """Return the stage of this request: by `?stage=`, else by the cookie, else the user's first.

    Args:
        request: The request.
        context: The app.
        named: Whether the request must name the stage if the user may open several, because it
            stores something: a page that was opened earlier may show another one than the cookie.
    """
    name, mine = request.query_params.get("stage", ""), context.open_to(user_of(request))
    if name and name not in context.stages:
        raise RefusedError(404, "stage")
    if not mine or (name and name not in mine):
        raise RefusedError(403, "stage_access", audited=True)
    if named and not name and len(mine) > 1:
        raise RefusedError(422, "which_stage")
    return stage_of(request, context)


async def here(request: Request) -> StageContext:
    """Return the stage that a page shows."""
    return stage_for(request, request.app.state.html.context)


async def named(request: Request) -> StageContext:
    """Return the stage that a request stores something in."""
    return stage_for(request, request.app.state.html.context, named=True)


Form = Annotated[FormData, Depends(posted)]
Visitor = Annotated[User, Depends(visitor)]
Shown = Annotated[Html, Depends(shown)]
Here = Annotated[StageContext, Depends(here)]
Named = Annotated[StageContext, Depends(named)]


def local_path(text: object) -> str:
    """Return the path to go on to: `text` if it is a path of this app, else the first page.

    >>> local_path("/lots?day=2021-09-06"), local_path("//evil.example")
    ('/lots?day=2021-09-06', '/')
    """
    there = str(text or "")
    return there if re.match(r"/(?![/\\])[^\s\\]*$", there) else "/"


def set_session(response: Response, context: AppContext, token: str) -> None:
    """Set the session's cookie."""
    response.set_cookie(
        context.cookie, token, httponly=True, secure=context.settings.secure_cookies, samesite="lax"
    )


def seen(
    context: AppContext, request: Request, user: User, inspection_id: str
) -> tuple[StageContext, Inspection]:
    """Return the inspection and its stage, whatever stage the user has chosen.

    It is refused if the user may not see it. A refusal goes to the audit.
    """
    one = context.records.find(inspection_id)
    if one is None or one.stage not in context.stages:
        raise RefusedError(404, "not_found")
    if one.stage not in context.open_to(user) or not one.may_be_seen_by(user):
        raise RefusedError(403, "forbidden", audited=True)
    request.state.here = context.stages[one.stage]
    return context.stages[one.stage], one


def mlflow_link(context: AppContext, page: str) -> str:
    """Return the address of the run in MLflow, or an empty text if MLflow has no pages."""
    uri = context.settings.mlflow_uri.rstrip("/")
    return f"{uri}/#/{page}" if page and re.match(r"https?://[^@]*$", uri) else ""


def origin_shown(
    request: Request, here: StageContext, gather: Callable[[], Sequence[Step]]
) -> dict[str, Any]:
    """Return what the section "Where this verdict comes from" needs.

    It is folded until a person opens it by `?origin=1`: only then are lake and MLflow asked.
    """
    asked = {**request.query_params, "origin": "1"}
    return {
        "origin": gather() if request.query_params.get("origin") else None,
        "origin_link": f"?{urlencode(asked)}#origin",
        "mlflow_link": lambda page: mlflow_link(here.app, page),
    }
