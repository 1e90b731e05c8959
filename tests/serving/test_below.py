"""The app below a path, behind a proxy that takes the path away, and behind one that keeps it."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from lakehouse.errors import SettingError, UsageError
from lakehouse.settings import load_settings
from lakehouse.stage import load_stage
from serving.app import create_app
from serving.context import AppContext
from tests.serving.conftest import PASSWORD, Plant, opened_context
from tests.serving.live import served
from tests.serving.provider import CLIENT, SECRET, Provider

pytestmark = pytest.mark.heavy

ROOT = "/quality"
NOT_OURS = '<link rel="manifest" href="/manifest.json" />'
"""Gradio's page names it, wherever the app is, and the app has none."""
LINK = re.compile(r'\s(href|src|action|data-(?:to|earlier|load|lots))="([^"]*)"')


@pytest.fixture
def make(tmp_path: Path, landing: Path) -> Iterator[Callable[..., AppContext]]:
    """Parts of an app without data; settings as keywords."""
    made = []

    def context_of(**options: Any) -> AppContext:
        options = {"lake": str(tmp_path / "lake"), **options}
        made.append(opened_context(tmp_path, landing, [load_stage("chromate")], **options))
        return made[-1]

    yield context_of
    for context in made:
        context.outbox.close()
        context.accounts.database.engine.dispose()


@contextmanager
def proxied(context: AppContext, keeps: bool) -> Iterator[tuple[str, list[str]]]:
    """The app behind a proxy: the proxy's address, and what it was asked for beside the path."""
    beside: list[str] = []
    with served(create_app(context)) as behind:
        client = httpx.AsyncClient(base_url=behind, timeout=120)

        async def passed(request: Request) -> Response:
            path = request.scope["raw_path"].decode()
            if path != ROOT and not path.startswith(f"{ROOT}/"):
                beside.append(path)
                return PlainTextResponse("another site", 404)
            path = path if keeps else path.removeprefix(ROOT) or "/"
            target = f"{path}?{request.url.query}" if request.url.query else path
            asked = client.build_request(
                request.method, target, headers=request.headers.raw, content=await request.body()
            )
            found = await client.send(asked, stream=True)
            answer = StreamingResponse(
                found.aiter_raw(), found.status_code, background=BackgroundTask(found.aclose)
            )
            answer.raw_headers = found.headers.raw
            return answer

        methods = ["GET", "POST", "HEAD"]
        with served(Starlette(routes=[Route("/{path:path}", passed, methods=methods)])) as address:
            yield address, beside


def log_in(address: str, context: AppContext) -> httpx.Client:
    """An admin at the app, with the cookies of a browser."""
    context.accounts.add("boss", "admin", PASSWORD, by="test")
    client = httpx.Client(headers={"accept": "text/html", "origin": address}, timeout=120)
    answer = client.post(f"{address}{ROOT}/login", data={"name": "boss", "password": PASSWORD})
    assert answer.status_code == 303 and answer.headers["location"] == f"{ROOT}/"
    assert {cookie.path for cookie in client.cookies.jar} == {ROOT}
    return client


def follow_all(
    client: httpx.Client, first: str, most: int = 300
) -> tuple[set[str], dict[str, Any]]:
    """Follow each link of each page. Return the paths that answered, and what is wrong."""
    todo = [first]
    seen: set[str] = set()
    wrong: dict[str, Any] = {}
    while todo and len(seen) < most:
        address = todo.pop()
        answer = client.get(address)
        seen.add(urlsplit(address).path)
        if answer.status_code in (302, 303, 307):
            todo.append(urljoin(address, answer.headers["location"]))
            continue
        if answer.status_code != 200:
            wrong[address] = answer.status_code
        if "text/html" not in answer.headers["content-type"]:
            continue
        for name, link in LINK.findall(answer.text.replace(NOT_OURS, "")):
            there = urljoin(address, unescape(link)).partition("#")[0]
            if not urlsplit(there).path.startswith((f"{ROOT}/", ROOT)):
                wrong[f"{name} of {address}"] = link
            new = urlsplit(there).path not in seen and there not in todo
            if new and (name in ("href", "src") or ("data" in name and "to" not in name)):
                todo.append(there)
    return seen, wrong


@pytest.mark.parametrize("keeps", [False, True])
def test_no_link_leaves_the_path(make: Callable[..., AppContext], keeps: bool) -> None:
    context = make(root_path=ROOT, secure_cookies=False)
    with proxied(context, keeps) as (address, beside):
        seen, wrong = follow_all(log_in(address, context), f"{address}{ROOT}/")
    assert wrong == {} and beside == []
    pages = {
        f"{ROOT}{one}" for one in ("/", "/lots", "/quality", "/users", "/look", "/audit", "/flow")
    }
    assert seen >= pages | {f"{ROOT}/static/parts.css", f"{ROOT}/sensor/en/"}


def test_redirects_and_cookies_have_the_path(make: Callable[..., AppContext]) -> None:
    context = make(root_path=f"{ROOT}/")
    host = "https://plant.test"
    http = TestClient(create_app(context), base_url=host, follow_redirects=False)
    http.headers |= {"origin": host, "accept": "text/html"}
    asked = http.get("/lots?day=2021-09-06")
    assert asked.headers["location"] == f"{ROOT}/login?next=/lots%3Fday%3D2021-09-06"
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    sent = {"name": "kim", "password": PASSWORD, "next": "/lots"}
    answer = http.post(f"{ROOT}/login", data=sent)
    assert answer.headers["location"] == f"{ROOT}/lots"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Secure-platelake_session=") and f"; Path={ROOT};" in cookie
    assert "secure" in cookie.lower() and "httponly" in cookie.lower()
    assert http.get(f"{ROOT}/account").status_code == 200
    for path, there in (("/sensor/en", "/sensor/en/"), ("/lots/", "/lots")):
        asked = http.get(f"{ROOT}{path}")
        assert asked.headers["location"].removeprefix(host) == f"{ROOT}{there}"
    assert http.get(f"{ROOT}/openapi.json").json()["servers"] == [{"url": ROOT}]
    evil = http.post(f"{ROOT}/language", data={"language": "ko", "next": "//evil.example"})
    assert evil.headers["location"] == f"{ROOT}/"


def test_a_provider_sends_people_back_below_the_path(make: Callable[..., AppContext]) -> None:
    provider, host = Provider(), "https://plant.test"
    with served(provider.app) as issuer:
        provider.issuer = issuer
        known = {"oidc_client_id": CLIENT, "oidc_client_secret": SECRET, "oidc_issuer": issuer}
        context = make(root_path=ROOT, **known)
        http = TestClient(create_app(context, gradio=False), base_url=host, follow_redirects=False)
        asked = http.get(f"{ROOT}/oidc/start").headers["location"]
        assert parse_qs(urlsplit(asked).query)["redirect_uri"] == [f"{host}{ROOT}/oidc/back"]
        back = httpx.get(asked).headers["location"]
        assert http.get(back).headers["location"] == f"{ROOT}/"
        assert http.get(f"{ROOT}/account", headers={"accept": "text/html"}).status_code == 200


@pytest.mark.parametrize("root", ["/lots", "/inspections", "/inspect", "/static"])
def test_a_path_of_the_app_is_refused(make: Callable[..., AppContext], root: str) -> None:
    with pytest.raises(SettingError, match="choose another path"):
        create_app(make(root_path=root))


@pytest.mark.parametrize("root", ["quality", "//host", "/a b", "/a/../b", "/<b>"])
def test_what_is_no_path_is_refused(root: str) -> None:
    with pytest.raises(UsageError, match="root_path: is not a path such as /quality"):
        load_settings(root_path=root)


@pytest.mark.heavy
def test_inspect_below_the_path(make_context: Callable[..., AppContext], plant: Plant) -> None:
    from playwright.sync_api import expect, sync_playwright

    from tests.serving.test_browser import FLAGS, PROGRAM, inspect_upload

    context = make_context(root_path=ROOT)
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    with (
        proxied(context, keeps=False) as (address, beside),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{address}{ROOT}/inspect")
        page.fill("[name=name]", "kim")
        page.fill("[name=password]", PASSWORD)
        page.press("[name=password]", "Enter")
        inspect_upload(page, plant.bad[0])
        shown = page.locator("#now img.of-map").first
        expect(shown).to_have_js_property("complete", True)
        assert shown.evaluate("image => image.naturalWidth") > 0
        page.locator("#now a.act").first.click()
        page.wait_for_url(f"{address}{ROOT}/inspections/**")
        browser.close()
        day = f"{address}{ROOT}/lots?day={context.first.lots.days()[0]}"
        boss = log_in(address, context)
        # Browsers send Secure cookies to their own machine by http too; httpx does not.
        boss.headers["cookie"] = "; ".join(f"{one.name}={one.value}" for one in boss.cookies.jar)
        seen, wrong = follow_all(boss, day, most=40)
    assert set(beside) <= {"/favicon.ico", "/manifest.json"}  # Gradio's page, NOT_OURS.
    assert wrong == {} and any(one.startswith(f"{ROOT}/lots/") for one in seen)
