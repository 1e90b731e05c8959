"""Login through an OpenID Connect provider: authorization code with PKCE, with Authlib."""

from __future__ import annotations

from typing import Any

import httpx
import structlog
from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from joserfc.errors import JoseError
from starlette.concurrency import run_in_threadpool

from lakehouse.errors import SettingError, UsageError
from lakehouse.settings import Settings
from serving.access.sessions import LoginError
from serving.door import client
from serving.pages import RefusedError, Shown, set_session

INVITATION, BACK = "invitation", "/oidc/back"
router = APIRouter(include_in_schema=False)


def provider(settings: Settings) -> Any:
    """Return the provider of the settings, or None."""
    if not settings.oidc_issuer:
        return None
    if not settings.oidc_client_id or not settings.oidc_client_secret:
        raise SettingError(
            "oidc_issuer",
            "oidc_issuer is set without oidc_client_id and PLATELAKE_OIDC_CLIENT_SECRET; set all "
            "three, as the provider gave them",
        )
    found = OAuth()
    found.register(
        "provider",
        server_metadata_url=f"{settings.oidc_issuer.rstrip('/')}/.well-known/openid-configuration",
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret,
        client_kwargs={"scope": "openid email profile", "code_challenge_method": "S256"},
    )
    return found.provider


@router.get("/oidc/start")
async def start(request: Request, html: Shown, invitation: str = "") -> Response:
    """Send the browser to the provider. The session remembers the invitation meanwhile."""
    known = request.app.state.provider
    if known is None:
        raise RefusedError(404, "not_found")
    request.session[INVITATION] = invitation[:100]
    try:
        back_here = html.address(request, BACK)
        answer: Response = await known.authorize_redirect(request, back_here)
    except (OAuthError, httpx.HTTPError, ValueError, RuntimeError) as error:
        structlog.get_logger().error("the provider does not answer", error=str(error))
        return RedirectResponse("/login?fault=again", 303)
    return answer


@router.get(BACK)
async def back(request: Request, html: Shown) -> Response:
    """Log in the user whom the provider proves. Authlib checks state, nonce and signature."""
    known = request.app.state.provider
    if known is None:
        raise RefusedError(404, "not_found")
    try:
        token = await known.authorize_access_token(request)
    except (OAuthError, JoseError, httpx.HTTPError, ValueError) as error:
        structlog.get_logger().warning("login by the provider refused", error=str(error))
        return RedirectResponse("/login?fault=again", 303)
    claims = token.get("userinfo") or {}
    if not claims.get("sub"):
        structlog.get_logger().warning("the provider names no user")
        return RedirectResponse("/login?fault=again", 303)
    context = html.context
    subject = f"{context.settings.oidc_issuer}\n{claims.get('sub')}"
    invitation = request.session.pop(INVITATION, "")
    before = request.cookies.get(context.cookie, "")

    def log_in() -> str:
        return context.accounts.log_in_by_subject(
            subject, _name(claims), client(request), before, invitation
        )

    try:
        session = await run_in_threadpool(log_in)
    except LoginError:
        return RedirectResponse("/login?fault=wrong", 303)
    except UsageError as error:
        structlog.get_logger().warning("sign-up by the provider refused", error=str(error))
        return RedirectResponse("/login?fault=no_account", 303)
    answer = RedirectResponse("/", 303)
    set_session(answer, context, session)
    return answer


def _name(claims: dict[str, Any]) -> str:
    """Return the name of a new account: a verified address, else the provider's user name."""
    if claims.get("email") and claims.get("email_verified"):
        return str(claims["email"])
    return str(claims.get("preferred_username") or claims.get("sub"))
