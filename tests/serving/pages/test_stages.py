"""An app of several stages: the switch, who may open which, and nothing in another stage."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lakehouse.stage import Stage, load_stage
from serving.app import create_app
from serving.context import AppContext
from tests.serving.conftest import Browser, Plant, opened_context

pytestmark = pytest.mark.heavy

CHROMATE = load_stage("chromate")
POLISH = CHROMATE.model_copy(update={"name": "polish", "title": "Polish <1>"})
PRESS = CHROMATE.model_copy(update={"name": "press", "title": "Press", "photos": None})
Make = Callable[..., AppContext]


@pytest.fixture
def make(tmp_path: Path, landing: Path) -> Iterator[Make]:
    """Parts of an app of stages without data; settings as keywords."""
    made = []

    def context_of(*stages: Stage, **options: Any) -> AppContext:
        options = {"lake": str(tmp_path / "lake"), **options}
        made.append(opened_context(tmp_path, landing, stages, **options))
        return made[-1]

    yield context_of
    for context in made:
        context.outbox.close()
        context.accounts.database.engine.dispose()


def shown(page: Any) -> str:
    """The stage that the switch of the page shows."""
    found = re.search(r'<option value="(\w+)" selected>', page.text)
    return found[1] if found else ""


def test_one_stage_has_no_switch(make: Make) -> None:
    context = make(CHROMATE)
    kim = Browser(create_app(context, gradio=False), context, "kim")
    assert "at-stage" not in kim.get("/lots").text
    assert kim.get("/sensor").headers["location"] == "/sensor/en/"


def test_the_switch_leads_to_the_same_page_of_another_stage(make: Make) -> None:
    context = make(CHROMATE, POLISH, PRESS)
    kim = Browser(create_app(context, gradio=False), context, "kim")
    page = kim.get("/lots")
    assert shown(page) == "chromate" and "Polish &lt;1&gt;" in page.text
    answer = kim.post("/stage", stage="polish", next="/lots?day=2021-09-06")
    assert answer.headers["location"] == "/lots?stage=polish"
    assert shown(kim.get("/lots")) == shown(kim.get("/flow")) == "polish"
    assert shown(kim.get("/models?stage=press")) == "press"
    assert "platelake promote press-lots" in (
        Browser(create_app(context, gradio=False), context, "boss", "admin")
        .get("/models?stage=press")
        .text
    )
    assert kim.get("/inspect?stage=chromate").text.count("chromate-photos") == 1
    none = kim.get("/inspect?stage=press").text
    assert "takes no photos" in none and "promote" not in none
    for path in ("/", "/lots", "/flow", "/models", "/inspections", "/inspections.csv", "/sensor"):
        assert kim.get(f"{path}?stage=nowhere").status_code == 404, path
        assert kim.get(f"{path}?stage=press").status_code in (200, 303), path


def test_what_is_stored_names_its_stage(make: Make) -> None:
    context = make(CHROMATE, PRESS)
    kim = Browser(create_app(context, gradio=False), context, "kim")
    photo = ("a.png", b"x")
    assert kim.inspect_upload(photo).status_code == 422
    page = {"accept": "application/json"}
    for path in ("/inspections", "/sensor"):
        answer = kim.http.post(path, files={"files": photo}, headers=page)
        assert answer.status_code == 422 and "?stage=" in answer.json()["detail"], path
    found = kim.http.post("/api/verdicts?stage=press", files={"files": photo}).json()
    assert found["results"][0]["rule"] == "no_photos"


def test_who_may_open_which_stage(make: Make) -> None:
    access = {"kim": ["press"], "reviewer": ["chromate", "press"], "lee": []}
    context = make(CHROMATE, POLISH, PRESS, stage_access=access)
    app = create_app(context, gradio=False)
    kim, ann = Browser(app, context, "Kim"), Browser(app, context, "ann", "reviewer")
    lee, boss = Browser(app, context, "lee"), Browser(app, context, "boss", "admin")
    assert "at-stage" not in kim.get("/lots").text  # One stage needs no switch.
    assert "Polish" not in ann.get("/lots").text and "Polish" in boss.get("/lots").text
    for one, name, status in (
        (kim, "press", 200), (kim, "chromate", 403), (ann, "chromate", 200), (ann, "polish", 403),
        (boss, "polish", 200),
    ):  # fmt: skip
        assert one.get(f"/lots?stage={name}").status_code == status, (one.name, name)
        assert one.get(f"/api/lots?stage={name}").status_code == status, (one.name, name)
    assert lee.get("/lots").status_code == 403
    assert kim.post("/stage", stage="polish", next="/").status_code == 403
    kim.http.cookies.set("platelake_stage", "polish")  # A cookie of an earlier right.
    assert kim.get("/lots").status_code == 200
    asked = {(row["user_name"], row["object"]) for row in context.accounts.audit()}
    assert {("kim", "GET /lots"), ("ann", "GET /api/lots"), ("kim", "POST /stage")} <= asked


@pytest.mark.heavy  # For the plant's champions.
def test_two_tabs_on_two_stages(make_context: Callable[..., AppContext], plant: Plant) -> None:
    """The tab that was opened first stores in its own stage, whatever the cookie says now."""
    context = make_context(others=[POLISH], stage_access={"lee": ["chromate"]})
    polish = context.stages["polish"]
    polish.inspector.champion = polish.photo_champion = context.first.photo_champion
    app = create_app(context, gradio=False)
    kim, content = Browser(app, context, "kim", "reviewer"), plant.bad[0].read_bytes()
    first = kim.get("/inspect?stage=chromate").headers["location"]
    second = kim.get("/inspect?stage=polish").headers["location"]
    assert first.endswith("/?stage=chromate") and second.endswith("/?stage=polish")
    kim.post("/stage", stage="polish", next="/inspect")
    keys = {}
    for place, letter in (("chromate", "a"), ("polish", "b"), ("chromate", "c")):
        keys[letter * 32] = place
        to = f"/inspections?language=en&stage={place}"
        sent = kim.http.post(to, files={"files": ("part.png", content)}, data={"key": letter * 32})
        assert 'data-state="bad"' in sent.json()["html"]
    stored = {key: context.records.find(key).stage for key in keys}  # type: ignore[union-attr]
    assert stored == keys
    assert shown(kim.get(f"/inspections/{'a' * 32}")) == "chromate"  # A permalink has its stage.
    answer = kim.post(f"/inspections/{'a' * 32}/corrections", says="bad")
    assert answer.status_code == 303
    sha256 = context.records.find("a" * 32).sha256  # type: ignore[union-attr]
    assert len(context.first.review.said(sha256).corrections) == 1
    assert polish.review.said(sha256).corrections == []
    lee = Browser(app, context, "lee", "reviewer")
    assert lee.get(f"/inspections/{'b' * 32}").status_code == 403
    assert lee.get(f"/inspections/{'b' * 32}/photo.jpg").status_code == 403
    assert lee.get(f"/inspections/{'a' * 32}").status_code == 200
