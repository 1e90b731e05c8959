"""What of Gradio's own routes is open, and to whom: its pages and their events, to who began them.

Gradio serves more than the pages need, such as copies of files and saved sessions, and knows no
owner of what it serves. What is not named here is not there; a session's events are its user's.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict

from starlette.requests import Request
from starlette.types import Message, Receive

from serving.access.accounts import User

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
"""The largest body of a request that brings no files."""


class GradioDoor:
    """Keeps who began which of Gradio's sessions."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    async def refusal(
        self, request: Request, user: User, receive: Receive
    ) -> tuple[str | None, Receive]:
        """Why the request may not pass (a key of the texts), and what brings its body."""
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
        """Whether the session is this user's, who is its owner from the first request on."""
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
    """The body; what is longer than any event of ours is cut, and then is none."""
    body = b""
    while len(body) <= BODY_BYTES:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed
