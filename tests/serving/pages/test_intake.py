"""What Inspect's own component asks for: a photo in, its card out, whatever happens between."""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from serving.context import AppContext
from serving.tables import inspections
from serving.texts import texts
from tests.serving.conftest import HOST, PASSWORD, Browser, Plant
from tests.serving.test_app import rows

pytestmark = pytest.mark.heavy

Enter = Callable[..., Browser]


def photo(kim: Browser, content: bytes, to: str = "/inspections", **fields: str) -> Any:
    """As the component of Inspect sends a photo."""
    files = {"files": ("part.png", content)}
    head = {"accept": "application/json"}
    return kim.http.post(f"{to}?language=en", files=files, data=fields, headers=head)


def test_one_photo_one_card(enter: Enter, plant: Plant, context: AppContext) -> None:
    kim, content = enter(), plant.bad[0].read_bytes()
    answer = photo(kim, content, lot="2021-11-01/99", key="a" * 32).json()
    assert answer["said"].startswith("Bad, ") and "%" in answer["said"]
    assert 'data-state="bad"' in answer["html"] and 'data-id="' + "a" * 32 in answer["html"]
    assert "Lot 99 of 2021-11-01 is not in the lake yet" in answer["html"]
    known = photo(kim, content, lot="2021-11-01/1").json()
    assert "is not in the lake" not in known["html"] and "inspected before" in known["html"]
    assert "불량" in kim.http.get(f"/inspections/{'a' * 32}/card?language=ko").json()["html"]
    assert kim.get("/inspections/latest").json()["html"].count("<article") == 2
    odd = photo(kim, b"nothing").json()
    assert 'data-state="refused"' in odd["html"] and "not an image" in odd["said"]
    assert photo(kim, content, lot="abc").json()["rule"] == "lot"
    assert [one for one in context.uploads.folder.rglob("*") if one.is_file()] == []


def test_a_photo_that_is_sent_again_is_inspected_once(
    enter: Enter, plant: Plant, context: AppContext
) -> None:
    kim, lee, content = enter(), enter("lee"), plant.good[0].read_bytes()
    first, again = (photo(kim, content, key="b" * 32).json() for _ in range(2))
    assert 'data-state="good"' in again["html"] and first["said"] == again["said"]
    assert [row.inspection_id for row in rows(context, inspections)] == ["b" * 32]
    for odd in ("../x", "B" * 32, ""):
        photo(lee, content, key=odd)
    assert len(rows(context, inspections)) == 4
    taken = photo(lee, content, key="b" * 32).json()  # Another user's.
    assert "b" * 32 not in taken["html"]


@pytest.mark.parametrize("to", ["/inspections", "/sensor"])
def test_the_component_sends_one_file_and_has_a_session(
    app: Any, enter: Enter, context: AppContext, to: str
) -> None:
    stranger = Browser(app, context)
    assert photo(stranger, b"x", to).status_code == 401
    kim = enter()
    assert kim.http.post(to, data={"lot": "3"}).status_code == 400
    two = [("files", (name, b"x")) for name in "ab"]
    assert kim.http.post(to, files=two).status_code == 422
    assert [one for one in context.uploads.folder.rglob("*") if one.is_file()] == []
    foreign = {"origin": "https://other.test"}
    assert kim.http.post(to, files=two[:1], headers=foreign).status_code == 403


def test_the_lots_of_a_day(enter: Enter, context: AppContext) -> None:
    kim, day = enter(), context.first.lots.days()[0]
    found = kim.get(f"/api/lots?day={day}").json()
    assert found == {"day": str(day), "lots": [str(n) for n in range(1, 9)]}
    today = kim.get("/api/lots").json()
    assert today == {"day": str(context.first.stage.production_day()), "lots": []}
    page = kim.get(f"/lots/{day}/999").text
    assert "The lake has no readings of this lot" in page and "in use yet" not in page


def test_a_reason_is_said_in_words(enter: Enter, plant: Plant, context: AppContext) -> None:
    kim = enter()
    one = context.records.find(kim.inspected(plant.good[0]))
    assert one is not None

    def page(reason: str | None) -> str:
        odd = replace(one, inspection_id=uuid4().hex, verdict="needs_human", reason=reason)
        context.records.save(odd)
        found: str = kim.get(f"/inspections/{odd.inspection_id}").text
        return found

    assert texts("en")("reason.unlike") in page("unlike: 1.80 times the limit")
    assert "Check the part by hand" in page("unlike")
    assert "Use more light, and take the photo again." in page("dark: 3 below")
    assert "the model is not sure" in page(None)


def test_times_have_their_zone(enter: Enter, plant: Plant) -> None:
    kim = enter()
    verdict = kim.inspect_upload(plant.good[0]).json()["results"][0]["verdict"]
    assert datetime.fromisoformat(verdict["inspected_at"]).utcoffset() == timedelta(0)
    name, row = kim.get("/inspections.csv").text.splitlines()
    moment = row.split(",")[name.split(",").index("inspected_at")]
    assert datetime.fromisoformat(moment) == datetime.fromisoformat(verdict["inspected_at"])


def test_a_login_over_http_says_why_it_cannot_last(app: Any, context: AppContext) -> None:
    context.accounts.add("kim", "operator", PASSWORD, by="test")
    there = {"name": "kim", "password": PASSWORD}
    for host, kept in (("http://10.0.0.7", False), ("http://127.0.0.1", True), (HOST, True)):
        browser = TestClient(app, base_url=host, follow_redirects=False)
        head = {"origin": host, "accept-language": "en"}
        assert ("begins with http" in browser.get("/login", headers=head).text) is not kept
        answer = browser.post("/login", data=there, headers=head)
        assert (answer.status_code == 303) is kept
        assert kept or "begins with http" in answer.text


def test_a_session_that_is_over_leads_to_the_login(enter: Enter, plant: Plant) -> None:
    kim = enter()
    link = f"/inspections/{kim.inspected(plant.good[0])}"
    kim.http.cookies.clear()
    answer = kim.http.post(f"{link}/corrections", data={"says": "bad", "csrf": "x"})
    assert answer.status_code == 401 and "Bearer" not in answer.text
    assert f'href="/login?next={link}"' in answer.text


def test_nobody_waits_for_the_first_explanation(context: AppContext) -> None:
    asked = []
    model = context.first.lot_champion.model
    probabilities = model.probabilities
    model.probabilities = lambda rows: asked.append(len(rows)) or probabilities(rows)
    context.warm()
    assert asked and "shap" in sys.modules
    asked.clear()
    context.warm()
    assert asked == []
