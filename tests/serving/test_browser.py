"""The app in a real browser, and by Gradio's own client, with photos of the plant."""

import base64
import json
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, Route, expect, sync_playwright

from lakehouse.stage import load_stage
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


DONE = "#now .item:not([data-state=waiting])"
"""Photos of now that have their result."""


def inspect_upload(page: Page, *photos: Path) -> None:
    """Choose photos. They are inspected at once."""
    page.set_input_files("#files", photos)
    expect(page.locator(DONE)).to_have_count(len(photos))


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
    expect(kim.locator("#choose")).to_be_visible()
    kim.click("text=Log out")
    enter(kim, "kim", "not the password")
    expect(kim.get_by_role("alert")).to_contain_text("Wrong name or password")
    shot(kim, "wrong-password")
    enter(kim, "kim")
    expect(kim.locator("#choose")).to_be_visible()

    inspect_upload(kim, plant.good[0], plant.bad[0])
    cards = kim.locator("#now .card")
    expect(cards.nth(0)).to_contain_text("Bad")  # The bad ones first.
    expect(cards.nth(1)).to_contain_text("Good")
    expect(kim.locator("#counts")).to_contain_text("2 photos: 1 bad, 0 to check by hand, 1 good")
    for n in range(2):
        cards.nth(n).locator("summary").first.click()
        for picture in cards.nth(n).locator(".viewer img").all():
            picture.scroll_into_view_if_needed()
            expect(picture).to_have_js_property("complete", True)
            assert picture.evaluate("image => image.naturalWidth") > 100
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
    expect(page.locator("#choose")).to_have_text("사진 선택")
    assert page.locator("html").get_attribute("lang") == "ko"
    inspect_upload(page, plant.bad[0], plant.good[0])
    expect(page.locator("#now")).to_contain_text("불량 확률")
    page.wait_for_load_state("networkidle")
    shot(page, "app-korean-phone")
    day = context.first.lots.days()[0]
    lot = context.first.lots.of_day(day)[0]["lot"]
    paths = [
        "/",
        "/lots",
        f"/lots/{day}/{lot}",
        "/inspections",
        "/review",
        "/review/next",
        "/models",
    ]
    for path in ["/inspect/ko/", *paths, "/flow", "/look", "/audit", "/account", "/sensor/ko/"]:
        page.goto(path)
        page.wait_for_load_state("networkidle")
        wide = page.evaluate("document.scrollingElement.scrollWidth")
        assert wide <= PHONE["width"], path
        shot(page, f"phone{path.replace('/', '-').rstrip('-')}")
    page.goto("/lots")
    page.click("button:has-text('English')")
    expect(page.get_by_role("heading", level=1)).to_have_text("Lots")


def test_a_phone_reaches_every_page_and_shows_the_switch(
    opened: Callable[..., Page], chromium: Chromium, plant: Plant,
    make_context: Callable[..., AppContext], shot: Callable[[Page, str], None],
) -> None:  # fmt: skip
    """The bar has four pages, and More has the rest."""
    press = load_stage("chromate").model_copy(update={"name": "press", "title": "Press"})
    context = make_context(others=[press])
    context.accounts.add("kim", "admin", PASSWORD, by="test")
    with served(create_app(context)) as address:
        phone = chromium.new_context(
            base_url=address, viewport=PHONE, is_mobile=True, has_touch=True
        )
        page = phone.new_page()
        enter(page, "kim")
        for path in ("/inspect/en/", "/lots"):
            page.goto(path)
            page.wait_for_load_state("networkidle")
            for one in page.locator(".top :is(a, button, select):visible").all():
                box = one.bounding_box()
                assert box and box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"], path
            ratios = dict(page.evaluate(CONTRASTS))
            assert ratios["Press"] >= 4.5 and ratios["More"] >= 4.5, path
        page.get_by_role("button", name="More").click()
        shot(page, "phone-more")
        page.get_by_role("link", name="Data flow").click()
        expect(page).to_have_url(re.compile("/flow"))
        phone.close()


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
    expect(page.locator("#choose")).to_be_visible()
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


def test_a_sensor_file_shows_its_lots_the_bad_ones_first(
    opened: Callable[..., Page], context: AppContext, plant: Plant,
    shot: Callable[[Page, str], None],
) -> None:  # fmt: skip
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened()
    enter(page, "kim")
    page.goto("/sensor")
    page.set_input_files("#files", plant.sensor)
    expect(page.locator(DONE)).to_contain_text("8 lots: ")
    expect(page.locator("#now .of-lot")).to_have_count(8)
    page.locator("#now .of-lot summary").first.click()
    expect(page.locator("#now .of-lot[open] svg.trace")).to_have_count(3)
    shot(page, "sensor")
    page.set_input_files("#files", plant.good[0])
    expect(page.locator("#now .item.refused")).to_have_count(1)
    expect(page.locator("#earlier .of-lot")).to_have_count(8)


COPY = """async (photo) => {
    const answer = await fetch('data:image/png;base64,' + photo);
    await navigator.clipboard.write([new ClipboardItem({'image/png': await answer.blob()})]);
}"""


def test_camera_and_clipboard(
    opened: Callable[..., Page], context: AppContext, plant: Plant
) -> None:
    """The camera stays on. Space shoots, and the verdict comes by itself."""
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened(permissions=["camera", "clipboard-read", "clipboard-write"])
    enter(page, "kim")
    page.get_by_role("button", name="Live camera").click()
    page.wait_for_function("document.querySelector('#video')?.videoWidth > 0")
    page.get_by_role("button", name="Shoot and inspect").click()
    expect(page.locator(DONE)).to_have_count(1)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    expect(page.locator("#earlier .item")).to_have_count(1)
    expect(page.locator(DONE)).to_have_count(1)
    page.get_by_role("button", name="Live camera").click()
    expect(page.locator("#video")).to_be_hidden()
    page.evaluate(COPY, base64.b64encode(plant.bad[0].read_bytes()).decode())
    page.keyboard.press("Control+v")
    expect(page.locator("#now .item.bad")).to_have_count(1)
    expect(page.locator("#earlier .item")).to_have_count(2)


def test_a_mistyped_lot_keeps_the_photo(
    opened: Callable[..., Page], context: AppContext, plant: Plant
) -> None:
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened()
    enter(page, "kim")
    lot = page.get_by_label("Lot")
    lot.fill("abc")
    page.set_input_files("#files", plant.good[0])
    expect(page.locator("#notice")).to_contain_text("This is not a lot")
    expect(page.locator(DONE)).to_have_count(0)
    expect(lot).to_be_focused()
    lot.fill("2021-11-01/3")
    lot.press("Enter")
    expect(page.locator("#now .item.good")).to_have_count(1)
    expect(page.locator("#notice")).to_be_hidden()
    page.locator("#now .of-lot summary").click()
    expect(page.locator("#now svg.trace")).to_have_count(3)


def test_the_lot_field_knows_the_days_lots_and_takes_a_scanner(
    opened: Callable[..., Page], context: AppContext, plant: Plant
) -> None:
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened()
    enter(page, "kim")
    expect(page.locator("#choose")).to_be_visible()
    with page.expect_file_chooser() as chooser:
        page.keyboard.type("2021-11-01/3\n")  # A scanner types, and ends with Enter.
    expect(page.locator("#lots option")).to_have_count(8)
    assert page.locator("#lots option").first.get_attribute("value") == "2021-11-01/1"
    expect(page.locator("#lot-hint")).not_to_have_class(re.compile("warning"))
    chooser.value.set_files(plant.good[0])
    expect(page.locator("#now .item.good")).to_contain_text("2021-11-01/3")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.type("2021-11-01/99")
    expect(page.locator("#lot-hint.warning")).to_contain_text("Lot 99 of 2021-11-01 is not in")
    page.set_input_files("#files", plant.bad[0])  # It is no refusal.
    expect(page.locator("#now .item.bad .warning")).to_contain_text("Lot 99 of 2021-11-01")
    page.reload()
    expect(page.get_by_label("Lot")).to_have_value("2021-11-01/99")


def photos_at(page: Page) -> dict[str, str]:
    """The verdict that stands beside each photo, by the photo's name."""
    found: dict[str, str] = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll('.item:not(.refused)')].map(
            one => [one.querySelector('.name').textContent.split(' · ')[0], one.dataset.state]))"""
    )
    return found


SLOW = {"offline": False, "latency": 300, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
"""400 kbit/s."""


@pytest.mark.parametrize("slow", [False, True], ids=["fast", "400-kbit"])
def test_no_photo_is_lost_and_no_verdict_stands_beside_another(
    opened: Callable[..., Page], context: AppContext, plant: Plant, tmp_path: Path, slow: bool
) -> None:
    """A person chooses photos as fast as they can, whatever the network does."""
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened()
    enter(page, "kim")
    expect(page.locator("#choose")).to_be_visible()
    page.wait_for_load_state("networkidle")
    if slow:
        network = page.context.new_cdp_session(page)
        network.send("Network.enable")
        network.send("Network.emulateNetworkConditions", SLOW)
    expected = {}
    for n in range(6):
        kind = "bad" if n % 2 else "good"
        photo = tmp_path / f"{kind}-{n}.jpg"
        small(getattr(plant, kind)[n]).save(photo, quality=90)
        expected[photo.name] = kind
        page.set_input_files("#files", photo)
        for name, verdict in photos_at(page).items():
            assert verdict in ("waiting", expected[name]), name
        # The newest is in the place of now, and no verdict of an earlier act is.
        assert page.locator("#now .name", has_text=photo.name).count() == 1
        page.wait_for_timeout(150)
    expect(page.locator("[data-state=waiting]")).to_have_count(0)
    assert photos_at(page) == expected
    expect(page.locator("#now details[open], #now .item")).not_to_have_count(0)
    page.reload()  # The server has each of them, once.
    expect(page.locator("#earlier .item")).to_have_count(6)
    assert photos_at(page) == expected


def small(photo: Path) -> Image.Image:
    """The photo as a camera sends it that was told to save traffic."""
    picture = Image.open(photo).convert("RGB")
    picture.thumbnail((480, 480))
    return picture


def test_photos_wait_while_the_session_is_over(
    opened: Callable[..., Page], context: AppContext, plant: Plant
) -> None:
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened()
    enter(page, "kim")
    inspect_upload(page, plant.bad[0])
    page.context.clear_cookies()  # The session is over.
    page.set_input_files("#files", plant.good[0])
    expect(page.locator("#notice")).to_contain_text("You are logged out. Log in again in a new tab")
    expect(page.locator("#now .item")).to_have_attribute("data-state", "waiting")
    with page.context.expect_page() as tab:
        page.locator("#notice").get_by_role("link", name="Log in").click()
    enter(tab.value, "kim")
    expect(tab.value).to_have_url(re.compile("/(inspect|account)"))
    tab.value.close()
    page.evaluate("window.dispatchEvent(new Event('focus'))")  # The user comes back.
    expect(page.locator("#now .item.good")).to_have_count(1)
    expect(page.locator("#notice")).to_be_hidden()


def test_a_network_that_breaks_loses_nothing_and_inspects_nothing_twice(
    opened: Callable[..., Page], context: AppContext, plant: Plant
) -> None:
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened()
    enter(page, "kim")
    expect(page.locator("#choose")).to_be_visible()

    lost: list[Route] = []

    def lose_the_first(route: Route) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route)
        route.fetch()  # The server inspects the photo, but its answer does not arrive.
        route.abort()

    page.route("**/inspections?*", lose_the_first)
    page.set_input_files("#files", plant.bad[0])
    expect(page.locator("#notice")).to_contain_text("cannot be reached")
    expect(page.locator("#now .item.bad")).to_have_count(1)
    expect(page.locator("#notice")).to_be_hidden()
    page.goto("/inspections")
    expect(page.locator("tbody tr")).to_have_count(1)


def test_a_verdict_leaves_when_the_next_photo_is_chosen(
    opened: Callable[..., Page],
    context: AppContext,
    plant: Plant,
    shot: Callable[[Page, str], None],
) -> None:
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened(viewport=PHONE, is_mobile=True, has_touch=True)
    enter(page, "kim")
    inspect_upload(page, plant.bad[0])
    band = page.locator("#now .item.bad h2").bounding_box()
    assert band and band["y"] + band["height"] < PHONE["height"]  # No scrolling.
    expect(page.locator("#live")).to_contain_text("Bad, ")
    slow: list[Route] = []
    page.route("**/inspections?*", lambda route: slow.append(route))
    page.set_input_files("#files", plant.good[0])
    expect(page.locator("#earlier .item.bad")).to_have_count(1)  # At once.
    expect(page.locator("#now .item")).to_have_count(1)
    expect(page.locator("#now .item")).to_contain_text("Inspecting")
    shot(page, "next-photo")
    while not slow:
        page.wait_for_timeout(20)
    slow[0].continue_()
    expect(page.locator("#now .item.good")).to_have_count(1)


def test_the_map_has_no_colour_below_the_threshold(
    opened: Callable[..., Page], context: AppContext, plant: Plant
) -> None:
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened()
    enter(page, "kim")
    alpha = """async image => {
        await image.decode();
        const canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
        canvas.getContext('2d').drawImage(image, 0, 0);
        const all = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return all.filter((_, at) => at % 4 === 3).reduce((most, one) => Math.max(most, one), 0);
    }"""
    for photo, coloured in ((plant.good[0], False), (plant.bad[0], True)):
        inspect_upload(page, photo)
        over = page.locator("#now .of-map")
        over.scroll_into_view_if_needed()
        assert (over.evaluate(alpha) > 0) is coloured
    page.get_by_role("button", name="Overlay").click()
    expect(page.locator("#now .plain")).to_be_hidden()
    page.locator("#now .strength").fill("0")
    expect(over).to_have_css("opacity", "0")
    page.get_by_role("button", name="Larger").click()
    wide = "pan => pan.scrollWidth > 1.4 * pan.clientWidth"
    assert page.locator("#now .mapped .pan").evaluate(wide)
    page.get_by_role("button", name="Photo", exact=True).click()
    expect(over).to_be_hidden()


def test_a_correction_by_tap_keeps_what_was_chosen(
    opened: Callable[..., Page], context: AppContext, plant: Plant,
    shot: Callable[[Page, str], None],
) -> None:  # fmt: skip
    photos = context.first.stage.photos
    kinds = [{"name": "stain", "en": "Stain", "ko": "얼룩"}, "scratch"]
    photos = type(photos).model_validate(photos.model_dump() | {"defects": kinds})
    context.first.stage = context.first.stage.model_copy(update={"photos": photos})
    context.first.review.defects = ["stain", "scratch"]
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened()
    enter(page, "kim")
    inspect_upload(page, plant.good[0])
    page.get_by_role("link", name="Details and corrections").click()
    page.get_by_role("radio", name="Bad").check()
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#correct")).to_contain_text("Give a reason")
    expect(page.get_by_role("radio", name="Bad")).to_be_checked()  # It is kept.
    page.context.clear_cookies()
    page.get_by_role("radio", name="Stain").check()
    page.get_by_role("button", name="Send").click()
    page.get_by_role("link", name="Log in").click()
    page.fill("[name=name]", "kim")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    expect(page.get_by_role("radio", name="Stain")).to_be_checked()
    shot(page, "correction")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status").first).to_contain_text("Saved")
    expect(page.locator("tbody")).to_contain_text("Stain")


def test_every_target_is_large_enough_for_a_finger(
    opened: Callable[..., Page], context: AppContext, plant: Plant
) -> None:
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    page = opened(viewport=PHONE, is_mobile=True, has_touch=True)
    enter(page, "kim")
    inspect_upload(page, plant.bad[0])
    too_small = page.evaluate(
        """() => [...document.querySelectorAll('#intake :is(button, a.act, input, summary)')]
        .filter(e => e.checkVisibility()).map(e => [e.outerHTML, e.getBoundingClientRect()])
        .filter(([_, box]) => box.height < 44 || box.width < 44).map(([html]) => html)"""
    )
    assert too_small == []


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
    return [...document.querySelectorAll('button, a.button, select')]
        .filter(e => e.checkVisibility()).flatMap(texts).map(e => [e.textContent.trim(), ratio(e)]);
}"""
"""The texts of all buttons and choices, each with its contrast as WCAG 2 counts it."""


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
    page.get_by_role("link", name="Details and corrections").click()
    page.get_by_role("radio", name="Good").check()
    page.fill("[name=reason]", "clean")
    page.click("button:has-text('Send')")
    inspection = urlsplit(page.url).path
    page.click("text=Log out")
    enter(page, "kim")
    expect(page.locator("#choose")).to_be_visible()
    for path in (
        "/inspect/en/", "/sensor/en/", "/lots", "/inspections", inspection, "/review", "/models",
        "/flow", "/look", "/audit", "/account", "/nothing",
    ):  # fmt: skip
        look(path)
    texts = {text for _, text in seen}
    assert {"Start the review", "Choose photos", "Send", "Search", "Log in", "Log out"} <= texts
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


def test_costs_move_while_they_are_typed(
    opened: Callable[..., Page], context: AppContext, shot: Callable[[Page, str], None]
) -> None:
    context.accounts.add("lee", "engineer", PASSWORD, by="test")
    for width, height, cost in ((390, 844, "50"), (1440, 900, "0.2")):
        lee = opened(locale="en-GB", viewport={"width": width, "height": height})
        enter(lee, "lee")
        expect(lee.locator("#choose")).to_be_visible()
        lee.goto("/costs?kind=photos")
        before = lee.locator("#expected").inner_text()
        lee.fill("[name=review]:not([type=hidden])", cost)
        expect(lee.locator("#expected [name=review]")).to_have_value(cost)
        assert lee.locator("#expected").inner_text() != before
        assert lee.evaluate("document.scrollingElement.scrollWidth") <= width
        shot(lee, f"costs-{width}")
        lee.fill("[name=reason]", "a review takes an hour")
        lee.click("#save button")
        expect(lee.get_by_role("status")).to_contain_text("Saved")
    assert context.costs.of("chromate-photos")[0].costs.review == 0.2
