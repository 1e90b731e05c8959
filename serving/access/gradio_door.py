"""Which of Gradio's own routes are open, and to whom.

Gradio serves more than the pages need, such as copies of files and saved sessions, and does not
know owners. A route that is not named in this module answers 404. Only the user who began a session
gets its events.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict

from starlette.requests import Request
from starlette.types import Message, Receive

from serving.access.sessions import User

PAGES = re.compile(r"/(inspect|sensor)/\w\w(?P<path>/.*)?")
CODE = r"/(assets|static|svelte)/.+|/theme\.css"
OPEN = {
    "GET": re.compile(
        rf"/?|/config|{CODE}|/gradio_api/(info|startup-events|upload_progress|theme\.css|file=.+"
        r"|queue/data|heartbeat/[\w-]+)"
    ),
    "POST": re.compile(r"/gradio_api/(upload|queue/join|cancel)"),
}
WITH_SESSION = re.compile(r"/gradio_api/(queue/(join|data)|cancel|heartbeat/(?P<hash>[\w-]+))")
KNOWN_SESSIONS = 100_000
BODY_BYTES = 1 << 20
"""Largest body of a request without files."""


class GradioDoor:
    """Remembers which user began which of Gradio's sessions."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    async def refusal(
        self, request: Request, user: User, receive: Receive
    ) -> tuple[str | None, Receive]:
        """Return why the request may not pass (a key of the texts) or None, and its `receive`."""
        found = PAGES.fullmatch(request.url.path)
        if found is None:
            return None, receive
        path = found["path"] or ""
        allowed = OPEN.get(request.method)
        if allowed is None or not allowed.fullmatch(path):
            return "not_found", receive
        session = WITH_SESSION.fullmatch(path)
        if session is None:
            return None, receive
        token = session["hash"] or request.query_params.get("session_hash", "")
        if request.method == "POST":
            body = await _read(receive)
            token, receive = _session_hash(body), _again(body, receive)
        return None if token and self._is_own(token, user.name) else "forbidden", receive

    def _is_own(self, token: str, name: str) -> bool:
        """Return whether the user owns the session. The user of its first request owns it."""
        with self._lock:
            owner = self._owners.setdefault(token, name)
            self._owners.move_to_end(token)
            while len(self._owners) > KNOWN_SESSIONS:
                self._owners.popitem(last=False)
        return owner == name


def _session_hash(body: bytes) -> str:
    try:
        found = json.loads(body)
        token = found.get("session_hash")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return token if isinstance(token, str) and re.fullmatch(r"[\w-]{1,100}", token) else ""


async def _read(receive: Receive) -> bytes:
    """Read the body. A body longer than any event of the app is cut, and is then not valid."""
    body = b""
    while len(body) <= BODY_BYTES:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body again, then what follows it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed
