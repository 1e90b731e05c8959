"""Every page by axe, WCAG 2.2 AA, at three widths, in both themes and languages."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from serving.context import AppContext
from tests.serving.conftest import PASSWORD, Plant
from tests.serving.test_browser import (  # noqa: F401, fixtures
    address,
    chromium,
    enter,
    inspect_upload,
    opened,
    shot,
)

pytestmark = pytest.mark.heavy

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
SIZES = {390: 844, 1024: 768, 1440: 900}


@pytest.mark.parametrize(
    ("scheme", "width", "locale"),
    [
        ("light", 1440, "en-GB"),
        ("dark", 1440, "ko-KR"),
        ("light", 390, "ko-KR"),
        ("dark", 1024, "en-GB"),
    ],
)
def test_no_page_keeps_anybody_out(
    opened: Callable[..., Page],  # noqa: F811
    context: AppContext,
    plant: Plant,
    shot: Callable[[Page, str], None],  # noqa: F811
    scheme: str,
    width: int,
    locale: str,
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context.accounts.add("kim", "admin", PASSWORD, by="test")
    size = {"width": width, "height": SIZES[width]}
    page = opened(color_scheme=scheme, viewport=size, locale=locale, bypass_csp=True)
    page.set_default_navigation_timeout(180_000)  # The first lot loads the explainer.
    found: dict[str, Any] = {}

    def look(path: str) -> None:
        page.goto(path)
        page.wait_for_load_state("networkidle")
        check(path)

    def check(path: str) -> None:
        shot(page, f"{locale[:2]}-{scheme}-{width}{path.replace('/', '-')}")
        violations = axe.run(page, options=RULES).response["violations"]
        if violations:
            found[path] = [(one["id"], one["nodes"][0]["html"][:200]) for one in violations]
        wide = page.evaluate("document.scrollingElement.scrollWidth")
        if wide > width:
            found[f"{path} is wide"] = wide

    look("/login")
    look("/sign-up")
    enter(page, "kim")
    inspect_upload(page, plant.bad[0], plant.good[0])
    check("/inspect with verdicts")
    lots = context.first.lots
    day = lots.days()[0]
    lot = lots.of_day(day)[0]["lot"]
    paths = (
        "/", "/inspect", "/sensor", "/review", "/review/next", "/inspections",
        "/inspections?lot=999", "/lots", f"/lots/{day}/{lot}", f"/lots/{day}/999", "/models",
        "/flow", "/look", "/audit", "/account", "/nothing", "/process", "/quality", "/costs",
        "/models/photos/1", "/models/lots/1",
    )  # fmt: skip
    for path in paths:
        look(path)
    page.goto("/inspections")
    page.locator("td a.go").first.click()
    page.wait_for_load_state("networkidle")
    check("/inspections/one")
    assert found == {}
