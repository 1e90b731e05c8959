"""The door of the app: decides who may open which page, and refuses bad requests.

An ASGI middleware around everything. A page that PUBLIC does not name needs a user. ROLES names the
pages that need a role. A session comes by cookie, a machine's token by `Authorization: Bearer`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog
from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lakehouse.sql.database import SqlError
from serving.access.accounts import Accounts
from serving.access.gradio_door import BODY_BYTES, CODE, GradioDoor
from serving.access.sessions import User

if TYPE_CHECKING:
    from serving.context import AppContext
    from serving.html import Html

PUBLIC = re.compile(
    r"/(login|sign-up|oidc/\w+|language|theme|static/.+|healthz|readyz|metrics|favicon\.ico)"
    rf"|/(inspect|sensor)/\w\w({CODE})"  # Gradio's own code.
)
ROLES = (
    (re.compile(r"/review(/.*)?"), "reviewer"),
    (re.compile(r"/costs|/models/\w+/\d+/(promote|rollback)"), "engineer"),
    (re.compile(r"/(audit|users|look)([./].*)?"), "admin"),
)
"""Pages that need more than an account. A page itself checks who owns an inspection."""
UPLOADS = re.compile(
    r"/api/verdicts|/inspections|/sensor|/look|/(inspect|sensor)/\w\w/gradio_api/upload"
)
SAFE = ("GET", "HEAD", "OPTIONS")

GRADIO = re.compile(r"/(inspect|sensor)/")
OWN_PAGES = (
    "default-src 'self'; img-src 'self' data:; style-src 'self'; base-uri 'none'; object-src "
    "'none'; frame-ancestors 'none'"
)
GRADIO_PAGES = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' "
    "data:; connect-src 'self' data: blob:; worker-src 'self' blob:; base-uri 'self'; object-src "
    "'none'; frame-ancestors 'none'"
)


class _TooLargeError(Exception):
    """The body is larger than this request may be."""


class Door:
    """The middleware of an app with this context. It answers with these templates."""

    def __init__(self, app: ASGIApp, context: AppContext, html: Html) -> None:
        self.app, self.visitors, self.cookie = app, context.visitors, context.cookie
        self.upload_bytes, self.refuse = context.uploads.most_bytes, html.refuse
        self._gradio = GradioDoor()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # The app has no websocket.
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope)
        answer = await self._refusal(request)
        if answer is None and request.state.user:
            why, receive = await self._gradio.refusal(request, request.state.user, receive)
            if why == "forbidden":
                await self._note(request, "refused")
            if why:
                answer = self.refuse(request, 403 if why == "forbidden" else 404, why)
        if answer is None:
            await self._pass(request, receive, send)
        else:
            await answer(scope, receive, self._with_headers(request, send))

    async def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that may not pass, or None."""
        token, bearer = request.cookies.get(self.cookie, ""), _bearer(request.headers)
        public = PUBLIC.fullmatch(request.url.path) is not None
        try:
            user = await run_sync(self._who, token, bearer)
        except SqlError as error:
            structlog.get_logger().error("SQL is away", error=str(error))
            user = None
            if not public:
                return self.refuse(request, 503, "sql")
        request.scope.setdefault("state", {})["user"] = user
        if not self._is_own_post(request, bool(token) and not bearer):
            await self._note(request, "cross-site request refused")
            return self.refuse(request, 403, "cross_site")
        if not public and user is None:
            return self._to_login(request)
        for pattern, role in ROLES:
            if pattern.fullmatch(request.url.path) and not (user and user.may(role)):
                await self._note(request, "refused")
                return self.refuse(request, 403, role)
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._most(request):
            return self.refuse(request, 413, "too_large")
        return None

    def _to_login(self, request: Request) -> Response:
        """Send a person to the login; answer a machine with 401."""
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            there = quote(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
            return RedirectResponse(f"/login?next={there}", 303)
        return self.refuse(request, 401, "login")

    def _who(self, token: str, bearer: str) -> User | None:
        if bearer:
            return self.visitors.by_token(bearer)
        return self.visitors.by_session(token) if token else None

    def _is_own_post(self, request: Request, by_cookie: bool) -> bool:
        """Return whether a request that changes something comes from a page of this app.

        Browsers say where a POST comes from. A client that does not say is not a browser, and must
        send a token instead of a cookie.
        """
        if request.method in SAFE:
            return True
        origin = request.headers.get("origin")
        if origin is not None:
            return origin == f"{request.url.scheme}://{request.url.netloc}"
        site = request.headers.get("sec-fetch-site")
        return site in ("same-origin", "none") if site else not by_cookie

    def _most(self, request: Request) -> int:
        return self.upload_bytes if UPLOADS.fullmatch(request.url.path) else BODY_BYTES

    async def _note(self, request: Request, action: str) -> None:
        await run_sync(write_down, self.visitors.accounts, request, action)

    async def _pass(self, request: Request, receive: Receive, send: Send) -> None:
        most, size, started = self._most(request), 0, False

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > most:
                raise _TooLargeError
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await dressed(message)

        dressed = self._with_headers(request, send)
        try:
            await self.app(request.scope, counted, watched)
        except _TooLargeError:
            if not started:
                answer = self.refuse(request, 413, "too_large")
                await answer(request.scope, receive, dressed)

    def _with_headers(self, request: Request, send: Send) -> Send:
        path = request.url.path
        immutable = re.fullmatch(r"/static/.+|/(inspect|sensor)/\w\w/(assets|static)/.+", path)

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if not immutable:
                    headers["Cache-Control"] = "no-store"
                headers["Content-Security-Policy"] = (
                    GRADIO_PAGES if GRADIO.match(path) else OWN_PAGES
                )
                headers["X-Content-Type-Options"] = "nosniff"
                headers["X-Frame-Options"] = "DENY"
                headers["Referrer-Policy"] = "same-origin"
                headers["Permissions-Policy"] = "camera=(self), microphone=(), geolocation=()"
                if request.url.scheme == "https":
                    headers["Strict-Transport-Security"] = "max-age=31536000"
            await send(message)

        return dressed


def write_down(accounts: Accounts, request: Request, action: str) -> None:
    """Write to the audit, or to the log if SQL is away. The request is refused either way."""
    user: User | None = request.state.user
    name, what = user.name if user else "", f"{request.method} {request.url.path}"[:500]
    try:
        accounts.record(name, action, what, client(request))
    except SqlError as error:
        log = structlog.get_logger()
        log.error("audit not written", action=action, what=what, user=name, error=str(error))


def client(request: Request) -> str:
    """Return the client's address; behind a trusted proxy, the one that the proxy names."""
    return request.client.host if request.client else ""


def _bearer(headers: Headers) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""
