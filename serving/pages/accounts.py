"""Pages for login, sign-up, logout, password and language."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from serving.access.accounts import InvitationError, SignUpOffError
from serving.access.attempts import TooManyAttemptsError
from serving.access.passwords import PasswordError
from serving.access.sessions import AccountNameError, LoginError
from serving.door import client
from serving.html import STAGE_COOKIE, THEME_COOKIE, THEMES, Html, texts_of
from serving.pages import Form, RefusedError, Shown, Visitor, local_path, set_session
from serving.texts import COOKIE as LANGUAGE_COOKIE
from serving.texts import LANGUAGES

YEAR = 365 * 24 * 3_600
router = APIRouter(include_in_schema=False)


def login_page(
    request: Request, html: Html, status: int = 200, name: str = "", next: str = "", fault: str = ""
) -> Response:
    """Return the login form."""
    settings = html.context.settings
    known = {"name": name, "next": next, "sign_up": settings.sign_up, "oidc": settings.oidc_issuer}
    return html.page(request, "login", known, status, fault=fault)


@router.get("/login")
def show_login(request: Request, html: Shown, next: str = "/", fault: str = "") -> Response:
    """Show the login form. `fault` comes from a login at a provider."""
    if not keeps_cookie(request, html):
        fault = "insecure"
    known = ("wrong", "again", "no_account", "insecure")
    said = texts_of(request)(f"login.{fault}") if fault in known else ""
    return login_page(request, html, next=local_path(next), fault=said)


@router.post("/login")
async def log_in(request: Request, html: Shown, form: Form) -> Response:
    """Begin a session, or show the form again."""
    name, password = str(form.get("name", "")), str(form.get("password", ""))
    there = local_path(form.get("next"))
    before = request.cookies.get(html.context.cookie, "")
    t, accounts = texts_of(request), html.context.accounts
    try:
        token = await hashing(request, accounts.log_in, name, password, client(request), before)
    except LoginError:
        return login_page(request, html, 401, name, there, t("login.wrong"))
    except TooManyAttemptsError:
        return login_page(request, html, 429, name, there, t("login.too_many"))
    if not keeps_cookie(request, html):
        return login_page(request, html, 400, name, there, t("login.insecure"))
    answer = RedirectResponse(there, 303)
    set_session(answer, html.context, token)
    return answer


def keeps_cookie(request: Request, html: Html) -> bool:
    """Return whether the browser keeps a Secure cookie: by https, or on the same machine."""
    url, own = request.url, ("localhost", "127.0.0.1", "[::1]", "::1")
    return url.scheme == "https" or url.hostname in own or not html.context.settings.secure_cookies


async def hashing(request: Request, work: Callable[..., str], *args: object) -> str:
    """Hash a password in own threads, so that many logins at once do not block other requests."""
    found: str = await run_sync(lambda: work(*args), limiter=request.app.state.hashing)
    return found


def sign_up_page(
    request: Request, html: Html, known: dict[str, Any], status: int = 200, fault: str = ""
) -> Response:
    """Return the sign-up form."""
    values = {"name": "", "invitation": "", "sign_up": html.context.settings.sign_up}
    return html.page(request, "sign_up", values | known, status, fault=fault)


@router.get("/sign-up")
def show_sign_up(request: Request, html: Shown, invitation: str = "") -> Response:
    """Show the sign-up form."""
    return sign_up_page(request, html, {"invitation": invitation})


@router.post("/sign-up")
async def sign_up(request: Request, html: Shown, form: Form) -> Response:
    """Make an account and its first session, or show the form again."""
    name, password = str(form.get("name", "")), str(form.get("password", ""))
    invitation, accounts = str(form.get("invitation", "")), html.context.accounts
    before = request.cookies.get(html.context.cookie, "")

    def sign_up_and_log_in() -> str:
        accounts.sign_up(name, password, invitation, client(request))
        return accounts.log_in(name, password, client(request), before)

    try:
        token = await hashing(request, sign_up_and_log_in)
    except tuple(SIGN_UP_FAULTS) as error:
        status = 429 if isinstance(error, TooManyAttemptsError) else 400
        fault = texts_of(request)(SIGN_UP_FAULTS[type(error)])
        known = {"name": name, "invitation": invitation}
        return sign_up_page(request, html, known, status, fault)
    answer = RedirectResponse("/", 303)
    set_session(answer, html.context, token)
    return answer


SIGN_UP_FAULTS: dict[type[Exception], str] = {
    SignUpOffError: "sign_up.off",
    InvitationError: "sign_up.invited",
    AccountNameError: "sign_up.taken",
    PasswordError: "sign_up.password",
    TooManyAttemptsError: "sign_up.too_many",
}


@router.post("/logout")
def log_out(request: Request, html: Shown, form: Form) -> Response:
    """End the session, in this app and in the database."""
    context = html.context
    token = request.cookies.get(context.cookie, "")
    context.visitors.log_out(token, client(request))
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(context.cookie, secure=context.settings.secure_cookies, httponly=True)
    return answer


@router.get("/account")
def account(request: Request, html: Shown, user: Visitor) -> Response:
    """Show the user's name and role, and the form to change the password."""
    return html.page(request, "account", {"here": "account"})


@router.post("/account")
async def change_password(request: Request, html: Shown, user: Visitor, form: Form) -> Response:
    """Change the password, and begin a new session in place of all others."""
    old, new = str(form.get("old", "")), str(form.get("new", ""))
    t, accounts = texts_of(request), html.context.accounts
    try:
        token = await hashing(request, accounts.change_password, user, old, new, client(request))
    except LoginError:
        return html.page(request, "account", status=401, fault=t("login.wrong"))
    except TooManyAttemptsError:
        return html.page(request, "account", status=429, fault=t("login.too_many"))
    except PasswordError:
        return html.page(request, "account", status=400, fault=t("sign_up.password"))
    request.state.user = await run_sync(accounts.user, token)
    answer = html.page(request, "account", said=t("account.changed"))
    set_session(answer, html.context, token)
    return answer


@router.post("/language")
def language(request: Request, form: Form) -> Response:
    """Set the language of this browser."""
    answer = RedirectResponse(local_path(form.get("next")), 303)
    wanted = form.get("language")
    if wanted in LANGUAGES:
        answer.set_cookie(LANGUAGE_COOKIE, str(wanted), max_age=YEAR, samesite="lax")
    return answer


@router.post("/stage")
def stage(request: Request, html: Shown, user: Visitor, form: Form) -> Response:
    """Set the stage of this browser, and open the same kind of page for it."""
    name, section = str(form.get("stage", "")), re.match(r"/[\w-]*", local_path(form.get("next")))
    if name not in html.context.open_to(user):
        raise RefusedError(403, "stage_access", audited=True)
    there = section[0] if section else "/"
    answer = RedirectResponse(f"{there}?{urlencode({'stage': name})}", 303)
    answer.set_cookie(STAGE_COOKIE, name, max_age=YEAR, samesite="lax")
    return answer


@router.post("/theme")
def theme(request: Request, form: Form) -> Response:
    """Set light or dark for this browser, or leave it to the device."""
    answer = RedirectResponse(local_path(form.get("next")), 303)
    wanted = form.get("theme")
    if wanted in THEMES:
        answer.set_cookie(THEME_COOKIE, str(wanted), max_age=YEAR, samesite="lax")
    else:
        answer.delete_cookie(THEME_COOKIE)
    return answer
