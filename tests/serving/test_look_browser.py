"""The page Add a stage in a real browser: a folder is put in, corrected, and saved."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from lakehouse.settings import conf_directory
from lakehouse.stage import load_stage
from serving.context import AppContext
from tests.serving.conftest import PASSWORD, opened_context
from tests.serving.test_axe import RULES, SIZES
from tests.serving.test_browser import address, chromium, opened, shot

__all__ = ["address", "chromium", "opened", "shot"]

pytestmark = pytest.mark.heavy

ROWS = "".join(f"06.09.2021;08:00:{n:02};{n // 3 + 1};7,{n % 10}\n" for n in range(30))
LOG = f"Datum;Zeit;Los;pH\n{ROWS}06.09.2021;08:01:00;1\n"


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppContext]:
    shutil.copytree(conf_directory(), tmp_path / "conf")
    monkeypatch.setenv("PLATELAKE_CONF", str(tmp_path / "conf"))
    made = opened_context(
        tmp_path, tmp_path / "landing", [load_stage("chromate")], lake=str(tmp_path / "lake"),
        secure_cookies=False,
    )  # fmt: skip
    yield made
    made.outbox.close()
    made.accounts.database.engine.dispose()


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    folder = tmp_path / "plant"
    (folder / "sensor").mkdir(parents=True)
    (folder / "photos" / "ng").mkdir(parents=True)
    (folder / "sensor" / "log 1.csv").write_text(LOG)
    pixels = np.tile(np.linspace(30, 250, 64, dtype="uint8"), (48, 1))
    Image.fromarray(pixels).save(folder / "photos" / "ng" / "1.png")
    return folder


@pytest.mark.parametrize("width", SIZES)
@pytest.mark.parametrize(("locale", "saved"), [("en", "is saved"), ("ko-KR", "저장했습니다")])
def test_a_folder_becomes_a_stage(
    opened: Callable[..., Page], context: AppContext, plant: Path, tmp_path: Path,
    shot: Callable[[Page, str], None], locale: str, saved: str, width: int,
) -> None:  # fmt: skip
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    context.accounts.add("kim", "admin", PASSWORD, by="test")
    size = {"width": width, "height": SIZES[width]}
    page = opened(locale=locale, viewport=size, bypass_csp=True)
    found: dict[str, Any] = {}

    def check(name: str) -> None:
        shot(page, f"look-{locale[:2]}-{width}-{name}")
        if violations := axe.run(page, options=RULES).response["violations"]:
            found[name] = [(one["id"], one["nodes"][0]["html"][:200]) for one in violations]
        if (wide := page.evaluate("document.scrollingElement.scrollWidth")) > width:
            found[f"{name} is wide"] = wide

    page.goto("/login?next=/look")
    page.fill("[name=name]", "kim")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    expect(page.locator("[name=files]")).to_be_visible()
    check("drop")
    page.set_input_files("[name=folder]", plant)
    page.click("form.form button")
    expect(page.locator(".shown h2").first).to_have_text("sensor/log 1.csv")
    expect(page.locator(".shown img")).to_have_count(1)
    check("looked")
    text = page.input_value("#stage-text")
    page.fill("#stage-text", text.replace('lot = "Los"', 'lot = "Charge"'))
    page.click("[name=act][value=check]")
    expect(page.locator("#refused")).to_contain_text("no column Charge")
    page.fill("#stage-text", text)
    page.fill("#stage-text ~ .search [name=name]", "chromate")
    page.click(".stage-text [value=save]")
    expect(page.locator("#taken .out").first).to_be_visible()
    check("taken")
    page.fill(".stage-text [name=name]", "plating")
    page.click(".stage-text [value=save]")
    expect(page.locator(".said")).to_contain_text(saved)
    check("saved")
    assert (tmp_path / "conf" / "stages" / "plating.toml").read_text() == text
    assert found == {}
