"""The app below a path of its host, such as https://HOST/quality/, which a proxy passes on.

Inside, each path is that of an app at the root of its host. The prefix is added and taken away at
the edge: here for requests, redirects and cookies, and by `prefixed` for what a page links to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lakehouse.errors import SettingError

ADDRESSES = re.compile(r'(\s(?:href|src|action|data-(?:to|earlier|load|lots))=")/(?!/)')
"""Where a page names a path of this app. Values are escaped, so no other text looks like it."""
COOKIE_PATH = re.compile(r"; path=/(?=;|$)", re.IGNORECASE)


def prefixed(page: str, root: str) -> str:
    """Return the HTML with the prefix before each path of this app.

    >>> prefixed('<a href="/lots">, <a href="?page=2">, <a href="https://a.example">', "/quality")
    '<a href="/quality/lots">, <a href="?page=2">, <a href="https://a.example">'
    """
    return ADDRESSES.sub(rf"\g<1>{root}/", page) if root else page


def check_root(root: str, paths: Iterable[str]) -> None:
    """Raise SettingError if the prefix cannot be told from one of the app's own paths."""
    taken = sorted(path for path in paths if path.startswith(f"{root}/"))
    if taken:
        raise SettingError(
            "root_path",
            f"root_path is {root}, and the app itself has pages there, such as {taken[0]}: choose "
            "another path for the app, and set it in the proxy too",
        )


class Below:
    """The middleware of an app below this path. The proxy may keep the prefix or take it away."""

    def __init__(self, app: ASGIApp, root: str, own: set[str]) -> None:
        self.app, self.root, self.own = app, root, own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on without the prefix, and its answer back with it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        inner = {**scope, "path": self._without(scope["path"])}
        inner["raw_path"] = self._without(scope["raw_path"].decode("ascii")).encode("ascii")

        async def outward(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if "location" in headers:
                    headers["location"] = self._location(headers["location"], inner)
                message["headers"] = [
                    (name, self._cookie(value) if name.lower() == b"set-cookie" else value)
                    for name, value in message["headers"]
                ]
            await send(message)

        await self.app(inner, receive, outward)

    def _without(self, path: str) -> str:
        """Return the path of the app. `/quality` alone may be a page of it, and the prefix too."""
        if path.startswith(f"{self.root}/"):
            return path.removeprefix(self.root)
        return "/" if path == self.root and path not in self.own else path

    def _location(self, there: str, scope: Scope) -> str:
        """Return where a redirect of the app leads. Another site's address stays."""
        found, path = urlsplit(there), scope["path"]
        # The router adds a missing slash by a whole address. A provider may share our host.
        mine = found.netloc == Headers(scope=scope).get("host") and (
            found.path.rstrip("/") == path.rstrip("/")
        )
        if found.netloc and not mine:
            return there
        there = found._replace(scheme="", netloc="").geturl()
        return self.root + there if there.startswith("/") else there

    def _cookie(self, value: bytes) -> bytes:
        return COOKIE_PATH.sub(f"; Path={self.root}", value.decode("latin-1")).encode("latin-1")


class WholePath:
    """The middleware that gives these pages the prefix back: Gradio names its addresses by it."""

    def __init__(self, app: ASGIApp, root: str, pages: re.Pattern[str]) -> None:
        self.app, self.root, self.pages = app, root, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its whole path, as ASGI has it for an app below a path."""
        if scope["type"] == "http" and self.pages.match(scope["path"]):
            raw = self.root.encode() + scope["raw_path"]
            path = self.root + scope["path"]
            scope = {**scope, "path": path, "raw_path": raw, "root_path": self.root}
        await self.app(scope, receive, send)
