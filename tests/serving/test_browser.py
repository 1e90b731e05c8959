"""The app in a real browser, and by Gradio's own client, with photos of the plant."""

import base64
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, Route, expect, sync_playwright

from serving.app import create_app
from serving.context import AppContext
from tests.conftest import unavailable
from tests.serving.conftest import PASSWORD, Plant
from tests.serving.live import served

pytestmark = pytest.mark.heavy

PROGRAM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
TIMEOUT = 60_000  # Milliseconds.
expect.set_options(timeout=TIMEOUT)
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    if not PROGRAM.exists():
        unavailable("Chromium is not installed; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def address(context: AppContext) -> Iterator[str]:
    with served(create_app(context)) as found:
        yield found


@pytest.fixture
def opened(chromium: Chromium, address: str) -> Iterator[Callable[..., Page]]:
    """A page of a browser of its own; what it asks for anywhere else fails the test."""
    elsewhere: list[str] = []
    contexts = []

    def open_page(**how: Any) -> Page:
        context = chromium.new_context(base_url=address, **how)
        context.set_default_timeout(TIMEOUT)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "request",
            lambda asked: (
                elsewhere.append(asked.url)
                if not asked.url.startswith((address, "data:", "blob:"))
                else None
            ),
        )
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert elsewhere == []  # Plants have no internet.


@pytest.fixture
def shot(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Page, str], None]:
    """Keep what the page shows, where `--screenshots` says."""
    folder = Path(request.config.getoption("--screenshots") or tmp_path)

    def keep(page: Page, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png", full_page=True)

    return keep


def enter(page: Page, name: str, password: str = PASSWORD) -> None:
    page.goto("/login?next=/inspect")
    page.fill("[name=name]", name)
    page.fill("[name=password]", password)
    page.press("[name=password]", "Enter")


class Gate:
    """Holds up what it stands before until it is opened; the real thing is done then."""

    def __init__(self, done: Callable[..., Any]) -> None:
        self._done, self.opened = done, threading.Event()

    def __call__(self, *given: Any) -> Any:
        assert self.opened.wait(TIMEOUT / 1000)
        return self._done(*given)


def choose(page: Page, *photos: Path, box: str = "#files") -> None:
    """Put files into a box, where they are listed once they are uploaded."""
    page.set_input_files(f"{box} input[type=file]", photos)
    for photo in photos:  # A long name is shown in two parts.
        expect(page.locator(box)).to_contain_text(photo.stem[:10])


def inspect_upload(page: Page, *photos: Path) -> None:
    choose(page, *photos)
    page.click("#inspect")
    expect(page.locator("#results .card")).to_have_count(len(photos))


def test_the_whole_way(
    opened: Callable[..., Page],
    context: AppContext,
    plant: Plant,
    shot: Callable[[Page, str], None],
) -> None:
    kim = opened(locale="en-GB")
    kim.goto("/")
    expect(kim).to_have_url(re.compile("/login"))
    kim.click("text=Sign up")
    kim.fill("[name=name]", "kim")
    kim.fill("[name=password]", PASSWORD)
    kim.click("button:has-text('Create account')")
    expect(kim.get_by_text("No photos inspected yet")).to_be_visible()
    kim.click("a:has-text('Inspect photos')")
    expect(kim.locator("#inspect")).to_be_visible()
    kim.click("text=Log out")
    enter(kim, "kim", "not the password")
    expect(kim.get_by_role("alert")).to_contain_text("Wrong name or password")
    shot(kim, "wrong-password")
    enter(kim, "kim")
    expect(kim.locator("#inspect")).to_be_visible()

    inspect_upload(kim, plant.good[0], plant.bad[0])
    cards = kim.locator("#results .card")
    expect(cards.nth(0)).to_contain_text("Good")
    expect(cards.nth(1)).to_contain_text("Bad")
    for n in range(2):
        heat = cards.nth(n).locator("img")
        heat.scroll_into_view_if_needed()
        expect(heat).to_have_js_property("complete", True)
        assert heat.evaluate("image => image.naturalWidth") > 100
        assert cards.nth(n).get_by_role("img", name=re.compile("below .* good")).is_visible()
    shot(kim, "app-inspect")

    kim.click("nav >> text=History")
    expect(kim.locator("tbody tr")).to_have_count(2)
    shot(kim, "history")
    kim.locator("tbody tr", has_text=plant.good[0].name).locator("a").first.click()
    expect(kim.get_by_text("Permanent link")).to_be_visible()
    link = kim.url
    kim.get_by_role("radio", name="Bad").check()
    kim.fill("[name=reason]", "a stain at the bend")
    kim.click("button:has-text('Send')")
    expect(kim.get_by_role("status").first).to_contain_text("Saved")
    shot(kim, "detail")

    for name in ("ann", "ben"):
        context.accounts.add(name, "reviewer", PASSWORD, by="test")
        reviewer = opened()
        enter(reviewer, name)
        reviewer.click("nav >> text=Review")
        expect(reviewer.locator(".queue li")).to_have_count(1)
        shot(reviewer, "review")
        reviewer.click("text=Start the review")
        expect(reviewer.get_by_text("Photo 1 of 1")).to_be_visible()
        assert "a stain" not in reviewer.inner_text("main")
        shot(reviewer, "review-next")
        reviewer.keyboard.press("2")
        expect(reviewer.get_by_text("You and the model differ")).to_be_visible()
        reviewer.keyboard.type("I see 2 spots")  # Not a key of the review.
        reviewer.click("button:has-text('Save and go on')")
        expect(reviewer.get_by_role("status").first).to_contain_text("You:")
        expect(reviewer.get_by_text("No photos to review")).to_be_visible()
    reviewer.click("text=Details")
    expect(reviewer.get_by_text("Label agreed by two reviewers:")).to_be_visible()
    reviewer.click("nav >> text=Review")
    expect(reviewer.locator(".queue li")).to_have_count(0)

    kim.goto(link)
    kim.click("text=Log out")
    expect(kim).to_have_url(re.compile("/login"))
    kim.go_back()
    expect(kim).to_have_url(re.compile("/login"))
    assert plant.good[0].name not in kim.content()


def test_korean_on_a_phone(
    opened: Callable[..., Page],
    context: AppContext,
    plant: Plant,
    shot: Callable[[Page, str], None],
) -> None:
    context.accounts.add("김작업", "admin", PASSWORD, by="test")
    page = opened(locale="ko-KR", viewport=PHONE, is_mobile=True, has_touch=True)
    enter(page, "김작업")
    expect(page.locator("#inspect")).to_have_text("검사")
    assert page.locator("html").get_attribute("lang") == "ko"
    inspect_upload(page, plant.bad[0], plant.good[0])
    expect(page.locator("#results")).to_contain_text("불량 확률")
    page.locator("#results img").nth(1).scroll_into_view_if_needed()
    page.wait_for_load_state("networkidle")
    shot(page, "app-korean-phone")
    day = context.lots.days()[0]
    lot = context.lots.of_day(day)[0]["lot"]
    paths = [
        "/",
        "/lots",
        f"/lots/{day}/{lot}",
        "/inspections",
        "/review",
        "/review/next",
        "/models",
    ]
    for path in ["/inspect/ko/", *paths, "/flow", "/audit", "/account", "/sensor/ko/"]:
        page.goto(path)
        page.wait_for_load_state("networkidle")
        wide = page.evaluate("document.scrollingElement.scrollWidth")
        assert wide <= PHONE["width"], path
        shot(page, f"phone{path.replace('/', '-').rstrip('-')}")
    page.goto("/lots")
    page.click("button:has-text('English')")
    expect(page.get_by_role("heading", level=1)).to_have_text("Lots")


def test_dark_and_by_keyboard(
    opened: Callable[..., Page],
    context: AppContext,
    plant: Plant,
    shot: Callable[[Page, str], None],
) -> None:
    context.accounts.add("kim", "admin", PASSWORD, by="test")
    page = opened(color_scheme="dark")
    page.goto("/login?next=/inspect")
    expect(page.get_by_label("Name")).to_be_focused()
    for text in ("kim", PASSWORD):
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#inspect")).to_be_visible()
    inspect_upload(page, plant.bad[1])
    shot(page, "dark-inspect")
    for path in ("/lots", "/inspections", "/models"):
        page.goto(path)
        page.keyboard.press("Tab")
        expect(page.locator("a.skip")).to_be_focused()
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll('input:not([type=hidden]), select, textarea')]
            .filter(e => !e.labels?.length && !e.ariaLabel).map(e => e.name)"""
        )
        assert unnamed == [], path
        assert page.locator("img:not([alt])").count() == 0
        assert page.locator("html[lang]").count() == 1 and page.locator("h1").count() == 1
        shot(page, f"dark{path.replace('/', '-')}")


def test_a_sensor_file_is_dropped_in(
    opened: Callable[..., Page], context: AppContext, plant: Plant,
    shot: Callable[[Page, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    gate = Gate(context.lots.check_file)
    monkeypatch.setattr(context.lots, "check_file", gate)
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened()
    enter(page, "kim")
    page.goto("/sensor")
    choose(page, plant.sensor, box="#file")
    page.click("#inspect")
    expect(page.locator("#inspect")).to_be_disabled()
    assert page.locator("#form").evaluate("form => form.inert")
    gate.opened.set()
    expect(page.locator("#inspect")).to_be_enabled()
    expect(page.locator("#results")).to_contain_text("Lots in this file: 8")
    expect(page.locator("#results svg.trace")).to_have_count(24)
    shot(page, "sensor")


COPY = """async (photo) => {
    const answer = await fetch('data:image/png;base64,' + photo);
    await navigator.clipboard.write([new ClipboardItem({'image/png': await answer.blob()})]);
}"""


def test_camera_and_clipboard(
    opened: Callable[..., Page], context: AppContext, plant: Plant
) -> None:
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened(permissions=["camera", "clipboard-read", "clipboard-write"])
    enter(page, "kim")
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('#snapshot video')?.videoWidth > 0")
    page.locator("#snapshot").get_by_role("button", name="capture photo").click()
    expect(page.locator("#snapshot img")).to_be_visible()
    page.click("#inspect")
    expect(page.locator("#results .card img")).to_have_count(1)
    page.goto("/inspect/en/")
    expect(page.locator("#inspect")).to_be_visible()
    page.evaluate(COPY, base64.b64encode(plant.bad[0].read_bytes()).decode())
    page.locator("#snapshot").get_by_role("button", name="Paste from clipboard").click()
    expect(page.locator("#snapshot img")).to_be_visible()
    page.click("#inspect")
    expect(page.locator("#results .card.bad")).to_have_count(1)


def test_a_mistyped_lot_leaves_the_photos(
    opened: Callable[..., Page], context: AppContext, plant: Plant
) -> None:
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened()
    enter(page, "kim")
    page.set_input_files("#files input[type=file]", plant.good[0])
    expect(page.locator("#files")).to_contain_text(plant.good[0].stem[:10])
    page.get_by_label("Lot").fill("abc")
    page.click("#inspect")
    expect(page.locator("#results")).to_contain_text("Enter the lot")
    expect(page.locator("#results")).to_have_attribute("aria-live", "polite")
    page.get_by_label("Lot").fill("2021-11-01/3")
    page.click("#inspect")
    expect(page.locator("#results .card.good")).to_have_count(1)
    expect(page.locator("#results svg.trace")).to_have_count(3)
    expect(page.locator("#files")).not_to_contain_text(plant.good[0].stem[:10])


def test_no_photo_is_lost_while_another_is_judged(
    opened: Callable[..., Page], context: AppContext, plant: Plant,
    shot: Callable[[Page, str], None],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    gate = Gate(context.lots.view)
    monkeypatch.setattr(context.lots, "view", gate)
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened()
    enter(page, "kim")
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    first.write_bytes(plant.good[0].read_bytes())
    second.write_bytes(plant.bad[0].read_bytes())
    choose(page, first)
    page.get_by_label("Lot").fill("2021-11-01/99")
    button = page.locator("#inspect")
    button.click()
    expect(page.locator("#results .card.good")).to_have_count(1)  # Its lot is still at work.
    expect(button).to_be_disabled()
    expect(button).to_have_text("Inspecting…")
    box = page.locator("#files").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    choose(page, second)  # No person gets there; an upload that was on its way may.
    button.dispatch_event("click")
    shot(page, "judging")
    gate.opened.set()
    expect(page.locator("#results")).to_contain_text("no readings of this lot")
    expect(page.locator("#results .card.good")).to_have_count(1)
    expect(page.locator("#files")).not_to_contain_text(first.stem[:10])
    expect(page.locator("#files")).to_contain_text(second.stem[:10])
    expect(button).to_be_enabled()
    button.click()
    expect(page.locator("#results .card.bad")).to_have_count(1)
    expect(page.locator("#results .card.good")).to_have_count(0)
    expect(page.locator("#files")).not_to_contain_text(second.stem[:10])
    page.click("nav >> text=History")
    expect(page.locator("tbody tr")).to_have_count(2)


def test_photos_stay_in_the_box_where_judging_fails(
    opened: Callable[..., Page], context: AppContext, plant: Plant
) -> None:
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened()
    enter(page, "kim")
    inspect_upload(page, plant.bad[0])
    choose(page, plant.good[0])
    page.context.clear_cookies()  # The session is over.
    page.click("#inspect")
    expect(page.get_by_text("Please log in again")).to_be_visible()
    expect(page.locator("#inspect")).to_be_enabled()
    expect(page.locator("#files")).to_contain_text(plant.good[0].stem[:10])
    assert page.locator("#form").evaluate("form => form.inert") is False
    expect(page.locator("#results .card")).to_have_count(0)


def test_a_verdict_leaves_when_the_next_photo_is_chosen(
    opened: Callable[..., Page],
    context: AppContext,
    plant: Plant,
    shot: Callable[[Page, str], None],
) -> None:
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened()
    enter(page, "kim")
    cards = page.locator("#results .card")
    inspect_upload(page, plant.bad[0])
    slow: list[Route] = []
    page.route("**/gradio_api/upload*", lambda route: slow.append(route))
    page.set_input_files("#files input[type=file]", plant.good[0])
    expect(cards).to_have_count(0)  # Its upload has only begun.
    while not slow:
        page.wait_for_timeout(20)
    slow[0].continue_()
    page.unroute("**/gradio_api/upload*")
    expect(page.locator("#files")).to_contain_text(plant.good[0].stem[:10])
    shot(page, "next-photo")
    page.click("#inspect")
    expect(cards).to_have_count(1)
    page.get_by_text("Click to Access Webcam").click()
    expect(cards).to_have_count(0)
    page.goto("/sensor")
    choose(page, plant.sensor, box="#file")
    page.click("#inspect")
    expect(page.locator("#results")).to_contain_text("Lots in this file: 8")
    page.get_by_role("button", name="Clear").click()
    page.set_input_files("#file input[type=file]", plant.sensor)
    expect(page.locator("#results")).not_to_contain_text("Lots in this file")


CONTRASTS = """() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const over = (color, below) => {  // What one sees of a color on that ground.
        canvas.fillStyle = `rgb(${below})`;
        canvas.fillRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const ground = e => {
        const below = e.parentElement ? ground(e.parentElement) : [255, 255, 255];
        return over(getComputedStyle(e).backgroundColor, below);
    };
    const light = rgb => rgb.map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, n) => sum + part * [0.2126, 0.7152, 0.0722][n], 0);
    const ratio = e => {
        const [a, b] = [over(getComputedStyle(e).color, ground(e)), ground(e)].map(light);
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    };
    const texts = e => [e, ...e.querySelectorAll('*')].filter(
        one => [...one.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
    return [...document.querySelectorAll('button, a.button')].filter(e => e.checkVisibility())
        .flatMap(texts).map(e => [e.textContent.trim(), ratio(e)]);
}"""
"""The texts of all buttons, each with its contrast as WCAG 2 counts it."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_button_can_be_read(
    opened: Callable[..., Page], context: AppContext, plant: Plant, scheme: str,
    shot: Callable[[Page, str], None],
) -> None:  # fmt: skip
    for name, role in (("lee", "operator"), ("kim", "admin")):
        context.accounts.add(name, role, PASSWORD, by="test")
    page = opened(color_scheme=scheme)
    seen = {}

    def look(path: str) -> None:
        page.goto(path)
        page.wait_for_load_state("networkidle")
        shot(page, f"{scheme}{path.replace('/', '-')}")
        seen.update({(path, text): ratio for text, ratio in page.evaluate(CONTRASTS)})

    look("/login")
    look("/sign-up")
    enter(page, "lee")
    inspect_upload(page, plant.bad[0])
    page.click("#results .card a")
    page.get_by_role("radio", name="Good").check()
    page.fill("[name=reason]", "clean")
    page.click("button:has-text('Send')")
    inspection = urlsplit(page.url).path
    page.click("text=Log out")
    enter(page, "kim")
    expect(page.locator("#inspect")).to_be_visible()
    for path in (
        "/inspect/en/", "/sensor/en/", "/lots", "/inspections", inspection, "/review", "/models",
        "/flow", "/audit", "/account", "/nothing",
    ):  # fmt: skip
        look(path)
    texts = {text for _, text in seen}
    assert {"Start the review", "Inspect", "Send", "Search", "Log in", "Log out"} <= texts
    assert {where: ratio for where, ratio in seen.items() if ratio < 4.5} == {}


def bearer(context: AppContext, name: str) -> dict[str, str]:
    """What a machine of a new user sends."""
    context.accounts.add(name, password=PASSWORD, by="test")
    return {"Authorization": f"Bearer {context.accounts.token(name, 'test')}"}


def test_gradio_client(context: AppContext, address: str, plant: Plant) -> None:
    from gradio_client import Client, handle_file

    client = Client(f"{address}/inspect/en/", headers=bearer(context, "line"), verbose=False)
    files = [handle_file(str(photo)) for photo in (plant.good[0], plant.bad[0])]
    html, answers = client.predict(files, None, "", api_name="/verdicts")
    assert [one["verdict"]["verdict"] for one in answers] == ["good", "bad"]
    assert "card good" in html and "card bad" in html
    with pytest.raises(Exception, match=r"401|[Ll]og ?in"):
        Client(f"{address}/inspect/en/", verbose=False)


def test_an_upload_is_its_owners(context: AppContext, address: str, plant: Plant) -> None:
    tokens = {name: bearer(context, name) for name in ("kim", "lee")}
    api = f"{address}/inspect/en/gradio_api"
    files = {"files": (plant.bad[0].name, plant.bad[0].read_bytes())}
    (path,) = httpx.post(f"{api}/upload", files=files, headers=tokens["kim"]).json()
    assert httpx.get(f"{api}/file={path}", headers=tokens["kim"]).status_code == 200
    assert httpx.get(f"{api}/file={path}", headers=tokens["lee"]).status_code == 403
    for other in ("/etc/passwd", "../../../etc/passwd", f"{path}/../x", context.settings.lake):
        assert httpx.get(f"{api}/file={other}", headers=tokens["kim"]).status_code in (403, 404)
    for method in ("HEAD", "GET"):
        for route in (f"file={path}", f"file/{path}"):
            answer = httpx.request(method, f"{api}/{route}", headers=tokens["lee"])
            assert answer.status_code in (403, 404), (method, route)
    html, (one,) = called(api, [path], tokens["lee"])
    assert "Another user uploaded this file" in html and one["verdict"] is None
    for foreign in ("/proc/self/environ", "/dev/zero", str(context.settings.app_address())):
        assert "not uploaded" in str(called(api, [foreign], tokens["kim"]))
    assert httpx.get(f"{address}/healthz").status_code == 200
    copies = [file for file in context.uploads.folder.rglob("*") if file.is_file()]
    assert [str(file) for file in copies] == [path]
    actions = {(e["user_name"], e["action"]) for e in context.accounts.audit()}
    assert ("lee", "another user's upload refused") in actions and ("lee", "refused") in actions


def called(api: str, paths: list[str], token: dict[str, str], session: str = "") -> Any:
    """What the page answers to these uploads: its outputs, or why there are none."""
    session = session or secrets.token_hex(6)
    files = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths]
    config = httpx.get(f"{api.removesuffix('/gradio_api')}/config", headers=token).json()
    (number,) = (d["id"] for d in config["dependencies"] if d["api_name"] == "verdicts")
    event = {"data": [files, None, ""], "fn_index": number, "session_hash": session}
    joined = httpx.post(f"{api}/queue/join", json=event, headers=token)
    if joined.status_code != 200:
        return joined.status_code
    asked = {"session_hash": session}
    with httpx.stream(
        "GET", f"{api}/queue/data", params=asked, headers=token, timeout=60
    ) as events:
        for line in events.iter_lines():
            if line.startswith("data:"):
                said = json.loads(line.removeprefix("data:"))
                if said["msg"] == "process_completed":
                    return said["output"].get("data") or said["output"].get("error")
    raise AssertionError("no answer")


def test_a_gradio_session_is_its_users(context: AppContext, address: str, plant: Plant) -> None:
    tokens = {name: bearer(context, name) for name in ("kim", "lee")}
    page = f"{address}/inspect/en"
    api = f"{page}/gradio_api"
    files = {"files": ("secret.png", plant.bad[0].read_bytes())}
    paths = httpx.post(f"{api}/upload", files=files, headers=tokens["kim"]).json()
    assert "secret.png" in called(api, paths, tokens["kim"], "kims")[0]
    assert called(api, [], tokens["lee"], "kims") == 403
    asked = {"session_hash": "kims"}
    for path in ("queue/data", "heartbeat/kims"):
        answer = httpx.get(f"{api}/{path}", params=asked, headers=tokens["lee"])
        assert answer.status_code == 403, path
    event = {"session_hash": "kims", "fn_index": 1, "event_id": "x"}
    for body in (event, {}, {"session_hash": 1}, [], None):
        answer = httpx.post(f"{api}/cancel", json=body, headers=tokens["lee"])
        assert answer.status_code == 403
    refused = [e["object"] for e in context.accounts.audit() if e["action"] == "refused"]
    assert any("queue/data" in what for what in refused)
    for path in (
        "deep_link?session_hash=kims", "call/verdicts/x", "run/verdicts", "api/verdicts",
        "proxy=http://127.0.0.1", "stream/x/1/1/playlist.m3u8", "openapi.json", "app_id", "token",
    ):  # fmt: skip
        assert httpx.get(f"{api}/{path}", headers=tokens["kim"]).status_code == 404, path
        assert httpx.post(f"{api}/{path}", headers=tokens["kim"]).status_code == 404, path
    for path in ("monitoring", "monitoring/summary", "gradio_api/deep_link", "login", "logout"):
        assert httpx.get(f"{page}/{path}", headers=tokens["kim"]).status_code == 404, path


def test_fifty_files_where_twenty_are_allowed(
    context: AppContext, address: str, plant: Plant
) -> None:
    """However many uploads they come in."""
    token = bearer(context, "kim")
    api = f"{address}/inspect/en/gradio_api"
    files = [("files", (f"{n}.png", plant.good[0].read_bytes())) for n in range(25)]
    paths = []
    for _ in range(2):
        paths += httpx.post(f"{api}/upload", files=files, headers=token, timeout=60).json()
    assert len(set(paths)) == 50
    found = called(api, paths, token)[1]
    assert [one["rule"] for one in found] == [None] * 20 + ["too_many"] * 30
