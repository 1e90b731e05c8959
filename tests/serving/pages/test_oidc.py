"""Login through a provider that is started here; nothing of it is believed unchecked."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from lakehouse.errors import UsageError
from serving.app import create_app
from serving.context import AppContext
from tests.serving.conftest import PASSWORD, Browser
from tests.serving.live import served
from tests.serving.provider import CLIENT, SECRET, Provider

pytestmark = pytest.mark.heavy


@pytest.fixture
def provider() -> Iterator[Provider]:
    found = Provider()
    with served(found.app) as address:
        found.issuer = address
        yield found


@pytest.fixture
def make_browser(
    make_context: Callable[..., AppContext], provider: Provider
) -> Callable[..., Browser]:
    def make(**settings: Any) -> Browser:
        known = {"oidc_client_id": CLIENT, "oidc_client_secret": SECRET, **settings}
        context = make_context(oidc_issuer=provider.issuer, **known)
        return Browser(create_app(context, gradio=False), context)

    return make


def enter(browser: Browser, invitation: str = "") -> str:
    """Through the provider and back; where that leads to."""
    answer = browser.get("/oidc/start", params={"invitation": invitation})
    there = httpx.get(answer.headers["location"])
    back = urlsplit(there.headers["location"])
    return str(browser.get(f"{back.path}?{back.query}").headers["location"])


def test_in_by_the_provider(make_browser: Callable[..., Browser], provider: Provider) -> None:
    browser = make_browser()
    assert "Log in through your organisation" in browser.get("/login").text
    provider.claims = {"sub": "42", "email": "Kim@plant.example", "email_verified": True}
    assert enter(browser) == "/"
    assert "kim@plant.example" in browser.get("/account").text
    provider.claims["email"] = "kim@elsewhere.example"  # The same person, by the subject.
    assert enter(browser) == "/"
    assert "kim@plant.example" in browser.get("/account").text
    assert [one["role"] for one in browser.context.accounts.everybody()] == ["operator"]


@pytest.mark.parametrize("wrong", ["state", "nonce", "key", "audience", "issuer", "expired"])
def test_what_the_provider_says_is_checked(
    make_browser: Callable[..., Browser], provider: Provider, wrong: str
) -> None:
    browser = make_browser()
    provider.wrong = wrong
    assert enter(browser) == "/login?fault=again"
    assert browser.get("/account").status_code == 303
    assert browser.context.accounts.everybody() == []


def test_a_provider_that_names_nobody(
    make_browser: Callable[..., Browser], provider: Provider
) -> None:
    browser = make_browser()
    provider.claims = {"email": "kim@plant.example", "email_verified": True}
    assert enter(browser) == "/login?fault=again"
    assert browser.context.accounts.everybody() == []


def test_an_account_is_not_taken_over_by_its_name(
    make_browser: Callable[..., Browser], provider: Provider
) -> None:
    browser = make_browser()
    browser.context.accounts.add("boss", "admin", PASSWORD, by="test")
    provider.claims = {"sub": "evil", "preferred_username": "boss"}
    assert enter(browser) == "/login?fault=no_account"
    assert browser.get("/account").status_code == 303


def test_by_invitation(make_browser: Callable[..., Browser], provider: Provider) -> None:
    browser = make_browser(sign_up="invitation")
    assert enter(browser) == "/login?fault=no_account"
    assert "You have no account" in browser.get("/login?fault=no_account").text
    code = browser.context.accounts.invite("test", "reviewer")
    assert enter(browser, code) == "/"
    assert browser.get("/review").status_code == 200


def test_a_stranger_brings_no_login(
    make_browser: Callable[..., Browser], provider: Provider
) -> None:
    """Nobody is logged in as the attacker by a link of the attacker's."""
    browser, victim = make_browser(), make_browser()
    answer = browser.get("/oidc/start")
    back = urlsplit(httpx.get(answer.headers["location"]).headers["location"])
    assert victim.get(f"{back.path}?{back.query}").headers["location"] == "/login?fault=again"


def test_settings_that_are_half(make_browser: Callable[..., Browser]) -> None:
    with pytest.raises(UsageError, match="OIDC_CLIENT_SECRET"):
        make_browser(oidc_client_secret="")


def test_a_provider_that_is_away(make_browser: Callable[..., Browser], provider: Provider) -> None:
    browser = make_browser()
    browser.http.app.state.provider = None
    assert browser.get("/oidc/start").status_code == 404
