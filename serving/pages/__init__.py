"""Pages in plain HTML, and what they share."""

from __future__ import annotations

import re
from hmac import compare_digest
from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import Response
from starlette.datastructures import FormData

from serving.access.sessions import User
from serving.context import AppContext, StageContext
from serving.door import write_down
from serving.html import Html, stage_of, user_of
from serving.records.inspections import Inspection

WITHOUT_SESSION = ("/login", "/sign-up", "/language", "/theme")


class RefusedError(Exception):
    """The request is refused, with an HTTP status and a key of the texts."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


async def posted(request: Request) -> FormData:
    """Return the fields of a form. If a session is needed, the form must carry its token."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise RefusedError(415, "form")
    form, user = await request.form(max_fields=20), user_of(request)
    needed = request.url.path not in WITHOUT_SESSION
    shown_to, given = user.csrf if user else "", str(form.get("csrf", ""))
    if needed and not (shown_to and compare_digest(given.encode(), shown_to.encode())):
        raise RefusedError(403, "form")
    return form


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


async def here(request: Request) -> StageContext:
    """Return the stage of this request. A name in `?stage=` that the app does not serve is 404."""
    context, name = request.app.state.html.context, request.query_params.get("stage")
    if name and name not in context.stages:
        raise RefusedError(404, "stage")
    return stage_of(request, context)


Form = Annotated[FormData, Depends(posted)]
Visitor = Annotated[User, Depends(visitor)]
Shown = Annotated[Html, Depends(shown)]
Here = Annotated[StageContext, Depends(here)]


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
    if not one.may_be_seen_by(user):
        write_down(context.accounts, request, "refused")
        raise RefusedError(403, "forbidden")
    request.state.here = context.stages[one.stage]
    return context.stages[one.stage], one
