"""Pages as HTML, in the reader's language. The templates escape every value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from serving.access.sessions import User
from serving.below import prefixed
from serving.context import AppContext, StageContext
from serving.texts import COOKIE, LANGUAGES, Texts, chosen, texts
from serving.words import feature_words, reason_words, rule_words, variable_words, word_of

HERE = Path(__file__).parent
STATIC = HERE / "static"
THEMES = ("light", "dark")
THEME_COOKIE = "platelake_theme"
STAGE_COOKIE = "platelake_stage"
MENU = (
    ("home", "/", "operator"),
    ("inspect", "/inspect", "operator"),
    ("review", "/review", "reviewer"),
    ("history", "/inspections", "operator"),
    ("lots", "/lots", "operator"),
    ("process", "/process", "operator"),
    ("quality", "/quality", "operator"),
    ("models", "/models", "operator"),
    ("costs", "/costs", "engineer"),
    ("flow", "/flow", "operator"),
    ("look", "/look", "admin"),
    ("users", "/users", "admin"),
    ("audit", "/audit", "admin"),
)
"""Each page of the menu: key of its text and icon, address, role that may open it."""
NAMES = tuple((code, texts(code)("language")) for code in LANGUAGES)


class Html:
    """The templates, and the values that all of them need."""

    def __init__(self, context: AppContext) -> None:
        self.context = context
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def page(
        self,
        request: Request,
        name: str,
        values: Mapping[str, Any] | None = None,
        status: int = 200,
        said: str = "",
        fault: str = "",
    ) -> Response:
        """Return the template as an answer. `said` and `fault` are messages at the top."""
        known = {"theme": theme_of(request), **(values or {}), "said": said, "fault": fault}
        t, user, path = texts_of(request), user_of(request), _page(request)
        here = stage_of(request, self.context)
        return HTMLResponse(self.text(here, name, t, user, path, known), status)

    def text(
        self,
        here: StageContext,
        name: str,
        t: Texts,
        user: User | None,
        path: str,
        values: Mapping[str, Any],
    ) -> str:
        """Return the template as HTML. `here` is the stage that it shows."""

        def local(moment: datetime) -> str:
            """Return a UTC moment, with or without its zone, as the plant's clock shows it."""
            at = moment.replace(tzinfo=UTC).astimezone(here.stage.zone)
            return f"{at:%Y-%m-%d %H:%M:%S}"

        known = {
            "t": t,
            "user": user,
            "path": path,
            "here": "",
            "said": "",
            "fault": "",
            "theme": "",
            "menu": MENU,
            "languages": NAMES,
            "stages": [one.stage for one in self.context.open_to(user).values()] if user else [],
            "stage_here": here.stage,
            "local": local,
            "share": share,
            "ago": ago,
            "feature": lambda name: feature_words(name, here.stage, t),
            "variable": lambda one: variable_words(one, t),
            "rule": lambda name: rule_words(name, t),
            "reason_words": lambda reason: reason_words(reason, here.stage, t),
            "word_of": lambda group, name: word_of(group, name, t),
            "away": {
                "sql": self.context.sql_away,
                "mlflow": self.context.mlflow_away,
                "waiting": self.context.outbox.count() if user else 0,
            },
        }
        page = self._templates.get_template(f"{name}.html").render(known | dict(values))
        return self.linked(page)

    def linked(self, page: str) -> str:
        """Return HTML whose links lead to where people reach the app."""
        return prefixed(page, self.context.settings.root_path)

    def address(self, request: Request, path: str) -> str:
        """Return the whole address of a path of the app, as people reach it."""
        whole = f"{self.context.settings.root_path}{path}"
        return str(request.url.replace(path=whole, query=""))

    def refuse(self, request: Request, status: int, why: str, detail: str = "") -> Response:
        """Refuse the request: return a page for a person, JSON for a machine.

        `why` is a key of the texts below `refused`. A machine gets `detail`, if there is one.
        """
        said = texts_of(request)(f"refused.{why}")
        for_person = "text/html" in request.headers.get("accept", "")
        if for_person and not request.url.path.startswith("/api/"):
            again = _page(request) if why == "login" else ""
            titles = texts_of(request).sentences
            title = titles.get(f"refused_title.{why}", titles["refused.title"])
            known = {"why": said, "again": again, "title": title}
            return self.page(request, "refused", known, status)
        if why == "login":
            said = texts_of(request)("refused.token")
        return JSONResponse({"detail": detail or said}, status)


def share(p: float, *others: float) -> str:
    """Return a probability as per cent, for people. Only 0 and 1 are 0 % and 100 %.

    It has one digit more, or up to three, where it would else read like one of the others, as a
    probability just below a threshold does.

    >>> share(0.846), share(0.0004), share(0.9996), share(0.0312), share(1.0)
    ('85 %', '< 0.1 %', '> 99.9 %', '3.1 %', '100 %')
    >>> share(0.1996, 0.2004, 0.39), share(0.2004, 0.1996), share(0.39, 0.1996)
    ('19.96 %', '20.04 %', '39 %')
    """
    if p in (0, 1):
        return f"{p:.0%}".replace("%", " %")
    if p < 0.001:
        return "< 0.1 %"
    if p > 0.999:
        return "> 99.9 %"
    digits = 0 if 0.1 <= p <= 0.9 else 1
    unlike = [q for q in others if q != p]
    while digits < 3 and _percent(p, digits) in {_percent(q, digits) for q in unlike}:
        digits += 1
    return _percent(p, digits)


def _percent(p: float, digits: int) -> str:
    return f"{100 * p:.{digits}f} %"


def ago(moment: datetime, t: Texts) -> str:
    """Return how long ago a moment was, in words: `5 minutes`, `3 days`.

    >>> from datetime import timedelta
    >>> ago(datetime.now(UTC) - timedelta(hours=5), texts("en"))
    '5 hours'
    """
    seconds = max((datetime.now(UTC) - moment.replace(tzinfo=UTC)).total_seconds(), 0)
    for name, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length or name == "minutes":
            return t(f"time.{name}", count=int(seconds // length))
    raise AssertionError("minutes are the last")


def _page(request: Request) -> str:
    """Return the address to open again after the user changes the language."""
    if request.method != "GET":
        return request.url.path.removesuffix("/corrections")
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def user_of(request: Request) -> User | None:
    """Return the user, whom the door has identified, or None."""
    found: User | None = getattr(request.state, "user", None)
    return found


def stage_of(request: Request, context: AppContext) -> StageContext:
    """Return the stage of this request: of what it shows, else of `?stage=` or the cookie.

    A stage that the user may not open gives the first one; `serving.pages.stage_for` refuses it.
    """
    shown: StageContext | None = getattr(request.state, "here", None)
    if shown is not None:
        return shown
    name = request.query_params.get("stage") or request.cookies.get(STAGE_COOKIE, "")
    mine = context.open_to(user_of(request)) or context.stages
    return mine.get(name) or next(iter(mine.values()))


def query_of(here: StageContext) -> str:
    """Return `?stage=NAME`, or an empty text if the app serves one stage."""
    return f"?{urlencode({'stage': here.stage.name})}" if len(here.app.stages) > 1 else ""


def theme_of(request: Request) -> str:
    """Return light or dark as the user chose; empty: as the device says."""
    chosen_theme = request.cookies.get(THEME_COOKIE, "")
    return chosen_theme if chosen_theme in THEMES else ""


def texts_of(request: Request) -> Texts:
    """Return the texts in the language of this request."""
    accepted = request.headers.get("accept-language", "")
    return texts(chosen(request.cookies.get(COOKIE), accepted))
