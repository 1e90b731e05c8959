"""The app: its pages and interfaces, behind one door."""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import structlog
from anyio import CapacityLimiter
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.sessions import SessionMiddleware
from starlette.routing import Mount, Route

from lakehouse.sql.database import SqlError
from serving import api
from serving.answers import as_verdict
from serving.below import Below, WholePath, check_root
from serving.context import AppContext
from serving.door import GRADIO, Door, write_down
from serving.html import STATIC, Html, query_of, texts_of
from serving.pages import (
    Here,
    RefusedError,
    accounts,
    costs,
    home,
    inspections,
    intake,
    lake,
    look,
    oidc,
    process,
    promotions,
    quality,
    review,
    users,
)
from serving.records.inspections import Inspection
from serving.records.pushes import Pusher
from serving.verdicts.inspector import AT_ONCE

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
PUSH_SECONDS = 1.0
LOOK_SECONDS = 5.0
"""The app asks for a new champion and delivers waiting rows to SQL at this interval."""


def create_app(
    context: AppContext, look_seconds: float = LOOK_SECONDS, gradio: bool = True
) -> FastAPI:
    """Return the app of this context, ready for uvicorn.

    Args:
        context: What the app is made of.
        look_seconds: Seconds between two calls of `context.look_around`.
        gradio: Whether it has the pages below /inspect and /sensor. Gradio takes seconds to build
            them; without them, the other pages and the HTTP interface are there at once.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(context.uploads.folder)  # Gradio may read here.
    from serving.pages import gradio_pages  # Gradio takes this folder when it is imported.

    app = FastAPI(
        title="platelake",
        docs_url=None,
        redoc_url=None,
        lifespan=_watching(context, look_seconds, _pusher(context)),
    )
    html = Html(context)
    app.state.hashing = CapacityLimiter(os.cpu_count() or 1)
    app.state.inspecting, app.state.looking = CapacityLimiter(AT_ONCE), CapacityLimiter(1)
    app.state.html, app.state.provider = html, oidc.provider(context.settings)

    @app.get("/inspect", include_in_schema=False)
    def inspect(request: Request, here: Here) -> Response:
        if here.photos is None or here.photo_champion.model is None:
            known = {"stage": here.stage.name, "photos": here.photos is not None}
            return html.page(request, "no_champion", known | {"here": "inspect"})
        return RedirectResponse(f"/inspect/{texts_of(request).language}/{query_of(here)}", 303)

    @app.get("/sensor", include_in_schema=False)
    def sensor(request: Request, here: Here) -> Response:
        return RedirectResponse(f"/sensor/{texts_of(request).language}/{query_of(here)}", 303)

    _answer_errors(app, html)
    app.mount("/static", StaticFiles(directory=STATIC))
    pages = (
        home, accounts, intake, inspections, review, lake, costs, promotions,
        process, quality, look, users, oidc, api
    )  # fmt: skip
    routers = [*(one.router for one in pages), gradio_pages.file_routes]
    for router in routers:
        app.include_router(router)
    if gradio:
        gradio_pages.mount(app, html)
    root, secure = context.settings.root_path, context.settings.secure_cookies
    if root:
        app.servers = [{"url": root}]
        app.add_middleware(WholePath, root=root, pages=GRADIO)
    # Holds a login in progress at a provider. A restart ends only such logins.
    app.add_middleware(
        SessionMiddleware, secret_key=secrets.token_hex(32), max_age=600, https_only=secure,
        session_cookie="platelake_login",
    )  # fmt: skip
    app.add_middleware(Door, context=context, html=html)
    if root:
        routes = [route for one in (app, *routers) for route in one.routes]
        own = {route.path for route in routes if isinstance(route, Route)}
        own |= {f"{mount.path}/" for mount in routes if isinstance(mount, Mount)}
        check_root(root, own)
        app.add_middleware(Below, root=root, own=own)
    return app


def _answer_errors(app: FastAPI, html: Html) -> None:
    """Answer every error with a page for a person or JSON for a machine, never a stack trace."""

    @app.exception_handler(RefusedError)
    def refused(request: Request, error: RefusedError) -> Response:
        if error.audited:
            write_down(html.context.accounts, request, "refused")
        return html.refuse(request, error.status, error.why)

    @app.exception_handler(SqlError)
    def sql_away(request: Request, error: SqlError) -> Response:
        structlog.get_logger().error("SQL is away", error=str(error))
        return html.refuse(request, 503, "sql")

    @app.exception_handler(HTTPException)
    def not_there(request: Request, error: HTTPException) -> Response:
        return html.refuse(request, error.status_code, "not_found", str(error.detail))

    @app.exception_handler(RequestValidationError)
    def not_meant(request: Request, error: RequestValidationError) -> Response:
        return html.refuse(request, 422, "not_found")

    @app.exception_handler(Exception)
    def broken(request: Request, error: Exception) -> Response:
        return html.refuse(request, 500, "broken")


def _pusher(context: AppContext) -> Pusher | None:
    """Return what sends verdicts to the webhook, if the settings name one."""
    settings = context.settings

    def body(row: Mapping[str, Any]) -> bytes:
        one = Inspection(**row)
        verdict = as_verdict(one, settings.root_path).model_dump(mode="json")
        return json.dumps({"stage": one.stage, **verdict}, ensure_ascii=False).encode()

    url, secret = settings.verdict_webhook, settings.verdict_webhook_secret
    return Pusher(context.records.database, url, secret, body) if url else None


def _watching(
    context: AppContext, seconds: float, pusher: Pusher | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return a lifespan in which a thread calls `look_around` every so many seconds.

    A second thread pushes verdicts, so that a slow receiver holds up nothing else.
    """
    ended = threading.Event()

    def watch() -> None:
        _try(context.warm)
        _repeat(ended, seconds, context.look_around, context.warm)

    works: dict[str, Callable[[], None]] = {"look-around": watch}
    if pusher:
        works["push-verdicts"] = partial(_repeat, ended, PUSH_SECONDS, pusher.push_due)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        threads = [
            threading.Thread(target=work, name=name, daemon=True) for name, work in works.items()
        ]
        for thread in threads:
            thread.start()
        yield
        ended.set()
        for thread in threads:
            thread.join(seconds)
        if pusher:
            pusher.close()

    return lifespan


def _repeat(ended: threading.Event, seconds: float, *works: Callable[[], object]) -> None:
    """Do this work every so many seconds, until the app ends."""
    while not ended.wait(seconds):
        for work in works:
            _try(work)


def _try(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception as error:  # The next try may succeed.
        structlog.get_logger().error("cannot refresh the app", error=str(error))
