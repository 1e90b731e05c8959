"""Pages for admins: who may use the app, by which tokens, and the audit of who did what."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from lakehouse.errors import UsageError
from serving.access.sessions import ROLES, AccountNameError, User, canonical
from serving.door import client
from serving.html import Html, texts_of
from serving.pages import Form, RefusedError, Shown, Visitor
from serving.pages.inspections import csv_line

SHOWN_ROWS, CSV_ROWS = 200, 100_000
DAYS = (30, 90, 365)
"""After so many days a token ends, or never."""
COLUMNS = ("at", "user_name", "action", "object", "address")
router = APIRouter(include_in_schema=False)


@router.get("/users")
def users(request: Request, html: Shown, user: Visitor) -> Response:
    """Show all accounts and tokens."""
    return users_page(request, html)


def users_page(
    request: Request, html: Html, status: int = 200, fault: str = "", made: str = "", what: str = ""
) -> Response:
    """Return the page. `made` is a new password, code or token; `what` says which."""
    accounts = html.context.accounts
    known: dict[str, Any] = {
        "accounts": accounts.everybody(),
        "tokens": accounts.tokens(),
        "roles": ROLES,
    }
    known |= {"days": DAYS, "made": made, "what": what, "here": "users"}
    return html.page(request, "users", known, status, fault=fault)


@router.post("/users")
def change(request: Request, html: Shown, user: Visitor, form: Form) -> Response:
    """Do what the form asks for, and show what it made once."""
    given = {name: str(value) for name, value in form.items()}
    act = ACTS.get(given.get("act", ""))
    if act is None:
        raise RefusedError(422, "form")
    try:
        made = act(html, user, given)
    except AccountNameError:
        return users_page(request, html, 400, fault=texts_of(request)("sign_up.taken"))
    except UsageError:
        return users_page(request, html, 400, fault=texts_of(request)("users.not_done"))
    known = f"users.made_{given['act']}"
    what = texts_of(request)(known, name=given.get("name", "")) if made else ""
    return users_page(request, html, made=made or "", what=what)


def _add(html: Html, user: User, given: dict[str, str]) -> str:
    return html.context.accounts.add(given.get("name", ""), given.get("role", ""), by=user.name)


def _invite(html: Html, user: User, given: dict[str, str]) -> str:
    return html.context.accounts.invite(user.name, given.get("role", ""))


def _reset(html: Html, user: User, given: dict[str, str]) -> str:
    return html.context.accounts.reset(_other(user, given), user.name)


def _role(html: Html, user: User, given: dict[str, str]) -> None:
    html.context.accounts.change_role(_other(user, given), given.get("role", ""), user.name)


def _disable(html: Html, user: User, given: dict[str, str]) -> None:
    html.context.accounts.disable(_other(user, given), user.name)


def _enable(html: Html, user: User, given: dict[str, str]) -> None:
    html.context.accounts.disable(_other(user, given), user.name, False)


def _token(html: Html, user: User, given: dict[str, str]) -> str:
    text = given.get("days", "")
    if text not in ("", *map(str, DAYS)):
        raise RefusedError(422, "form")
    days = int(text) if text else None
    name = given.get("token_name", "").strip()
    return html.context.accounts.token(given.get("name", ""), user.name, name, days)


def _revoke(html: Html, user: User, given: dict[str, str]) -> None:
    html.context.accounts.revoke(given.get("token", ""), user.name)


ACTS: dict[str, Callable[[Html, User, dict[str, str]], str | None]] = {
    "add": _add,
    "invite": _invite,
    "reset": _reset,
    "role": _role,
    "disable": _disable,
    "enable": _enable,
    "token": _token,
    "revoke": _revoke,
}


def _other(user: User, given: dict[str, str]) -> str:
    """Return the name in the form. Admins change not themselves here: one always remains."""
    name = canonical(given.get("name", ""))
    if name == user.name:
        raise RefusedError(400, "own_account")
    return name


@router.get("/audit")
def audit(request: Request, html: Shown, user: Visitor) -> Response:
    """Show who did what, newest first, as searched for."""
    asked = _asked(request)
    entries = html.context.accounts.audit(SHOWN_ROWS, **_where(html, asked))
    known = {"entries": entries, "asked": asked, "query": request.url.query, "here": "audit"}
    return html.page(request, "audit", known | {"actions": html.context.accounts.actions()})


@router.get("/audit.csv")
def audit_csv(request: Request, html: Shown, user: Visitor) -> Response:
    """Return the same as csv, with times in UTC, and write down who took it."""
    accounts, asked = html.context.accounts, _asked(request)
    rows = accounts.audit(CSV_ROWS, **_where(html, asked))
    accounts.record(user.name, "took the audit", request.url.query[:500], client(request))
    lines = [
        csv_line([f"{row['at']:%Y-%m-%dT%H:%M:%SZ}", *(row[c] for c in COLUMNS[1:])])
        for row in rows
    ]
    text = "\N{BYTE ORDER MARK}" + csv_line(COLUMNS) + "".join(lines)
    head = {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=head)


def _asked(request: Request) -> dict[str, str]:
    names = ("user", "action", "first_day", "last_day")
    return {name: request.query_params.get(name, "").strip() for name in names}


def _where(html: Html, asked: dict[str, str]) -> dict[str, Any]:
    """Return the search as `Accounts.audit` takes it. A day that is none is refused."""
    try:
        first, last = (
            date.fromisoformat(asked[name]) if asked[name] else None
            for name in ("first_day", "last_day")
        )
    except ValueError:
        raise RefusedError(422, "filter") from None
    zone = html.context.first.stage.zone
    return {"user": asked["user"], "action": asked["action"], "days": (first, last), "zone": zone}
