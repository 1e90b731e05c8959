"""The app over HTTP: who may do what, what comes of photos, and what no request may bring."""

import csv
import hashlib
import io
import re
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image, ImageOps
from starlette.testclient import TestClient

from jobs.options import Options
from jobs.runner import run_jobs
from lakehouse.settings import load_settings
from lakehouse.tables.lots import LOTS
from lakehouse.tables.photos import PHOTOS
from lakehouse.tables.picture_names import PICTURE_NAMES
from ml.registry import registry_of
from serving import api
from serving.access.attempts import PAIR_LIMIT, SIGN_UP_LIMIT
from serving.app import create_app
from serving.context import AppContext
from serving.door import PUBLIC
from serving.html import Html, share
from serving.pages import accounts, home, intake, lake, oidc, review
from serving.pages import inspections as history
from serving.tables import agreed_labels, corrections, inspections
from serving.texts import texts
from serving.verdicts.uploads import FIELD_BYTES
from tests.serving.conftest import HOST, PASSWORD, Browser, Plant

pytestmark = pytest.mark.heavy

Enter = Callable[..., Browser]


def rows(context: AppContext, table: sa.Table) -> list[Any]:
    with context.accounts.database.transaction() as connection:
        return list(connection.execute(sa.select(table)))


def png(width: int = 8, height: int = 8, color: str = "grey") -> bytes:
    target = io.BytesIO()
    shades = ImageOps.colorize(Image.linear_gradient("L"), "black", color)
    shades.resize((width, height)).save(target, "PNG")
    return target.getvalue()


def test_a_photo_is_judged_kept_and_found_again(
    enter: Enter, plant: Plant, context: AppContext
) -> None:
    kim = enter()
    answer = kim.inspect_upload(plant.bad[0], plant.good[0], lot="2021-11-01/3").json()["results"]
    assert [one["verdict"]["verdict"] for one in answer] == ["bad", "good"]
    model = context.first.photo_champion.model
    for one, photo in zip(answer, (plant.bad[0], plant.good[0]), strict=True):
        content, verdict = photo.read_bytes(), one["verdict"]
        sha256 = hashlib.sha256(content).hexdigest()
        assert verdict["probability"] == model.predict([content], context.settings)[0].probability
        assert (verdict["sha256"], verdict["lot"], verdict["day"]) == (sha256, "3", "2021-11-01")
        assert verdict["model_sha256"] == model.sha256
        assert context.first.photos.read(sha256) == content
        page = kim.get(verdict["link"]).text
        assert photo.name in page and escape(share(verdict["probability"])) in page
        assert "Why this verdict" in page  # Of the lot.
        for picture in ("photo.jpg", "heat.jpg"):
            shown = Image.open(io.BytesIO(kim.get(f"{verdict['link']}/{picture}").content))
            assert min(shown.size) > 100
        kept = kim.get(f"/api/inspections/{verdict['inspection_id']}").json()
        assert kept == verdict
    again = kim.inspect_upload(plant.bad[0]).json()["results"][0]
    assert again["seen_before"]
    assert len(rows(context, inspections)) == 3


def test_a_bad_file_says_why_and_the_others_are_judged(enter: Enter, plant: Plant) -> None:
    good = plant.good[0].read_bytes()
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    bomb = png()[:12] + header + zlib.crc32(header).to_bytes(4, "big") + png()[33:]
    files = [
        ("note.txt", b"hello"),
        ("cut.png", good[: len(good) // 2]),
        ("empty.png", b""),
        ("bomb.png", bomb),
        ("good.png", good),
    ]
    kim = enter()
    answer = kim.inspect_upload(*files)
    assert answer.status_code == 200
    found = answer.json()["results"]
    rules = ["not_an_image", "broken_image", "empty_file", "too_many_pixels", None]
    assert [one["rule"] for one in found] == rules
    assert found[4]["verdict"]["verdict"] == "good"
    korean = kim.inspect_upload(files[0], headers={"accept-language": "ko"}).json()["results"][0]
    assert "이미지가 아닙니다" in korean["message"]


def test_photos_of_a_phone_and_of_a_camera_with_10_bits(enter: Enter, context: AppContext) -> None:
    kim, pixels = enter(), np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) // 3
    heic, dim, black = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.fromarray((pixels >> 2).astype(np.uint8)).convert("RGB").save(heic, "HEIF")
    Image.fromarray(pixels).save(dim, "PNG")
    Image.new("L", (64, 48)).save(black, "PNG")
    files = [("a.heic", heic.getvalue()), ("b.png", dim.getvalue()), ("c.png", black.getvalue())]
    found = kim.inspect_upload(*files).json()["results"]
    assert [one["rule"] for one in found] == [None, "nearly_black", "nearly_black"]
    assert found[1]["message"].startswith("The image is nearly black.")
    assert context.first.photos.read(found[0]["verdict"]["sha256"]) == heic.getvalue()
    assert context.first.stage.photos is not None
    photos = context.first.stage.photos.model_copy(update={"bits": 10})
    context.first.stage = context.first.inspector.stage = context.first.stage.model_copy(
        update={"photos": photos}
    )
    (one,) = kim.inspect_upload(files[1]).json()["results"]
    for link in (found[0]["verdict"]["link"], one["verdict"]["link"]):
        shown = Image.open(io.BytesIO(kim.get(f"{link}/photo.jpg").content)).convert("L")
        assert shown.getextrema()[1] > 200


def test_too_large_and_too_many(make_context: Callable[..., AppContext]) -> None:
    context = make_context(max_photo_bytes=100_000, upload_files=3)
    kim = Browser(create_app(context, gradio=False), context, "kim")
    large, small = ("large.png", b"\x89PNG" + bytes(150_000)), ("small.png", png())
    found = kim.inspect_upload(large, small, small, small, small).json()["results"]
    assert [one["rule"] for one in found] == ["too_large", None, None, "too_many", "too_many"]
    alone = kim.inspect_upload(large)
    assert alone.status_code == 413 and alone.json()["results"][0]["rule"] == "too_large"
    assert not [file for file in context.uploads.folder.rglob("*") if file.is_file()]
    whole = kim.inspect_upload(("huge.png", bytes(1_500_000)))
    assert whole.status_code == 413 and "too_large" not in whole.text  # Not read at all.


def test_nothing_is_kept_beyond_the_limit(context: AppContext, enter: Enter) -> None:
    """A body without a length is cut off, and what came of it is not on the disk."""
    context.uploads.max_bytes, context.uploads.max_files = 10_000, 2
    kim = enter()
    seen = 0

    def endless() -> Any:
        nonlocal seen
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        for _ in range(100):
            seen += 100_000
            held = sum(f.stat().st_size for f in context.uploads.folder.rglob("*") if f.is_file())
            assert held <= 10_000 + FIELD_BYTES
            yield bytes(100_000)

    kind = {"content-type": "multipart/form-data; boundary=x"}
    answer = kim.http.post("/api/verdicts", content=endless(), headers=kind)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "body", [b"", b"--x", b"--x\r\nContent-Disp\r\n\r\nabc\r\n--x--", b"\0" * 99]
)
def test_a_body_that_is_no_form(enter: Enter, body: bytes) -> None:
    for kind in ("multipart/form-data; boundary=x", "multipart/form-data", "text/plain"):
        answer = enter(f"kim{kind[:20]}").http.post(
            "/api/verdicts", content=body, headers={"content-type": kind}
        )
        assert answer.status_code in (400, 422)


EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


def test_html_in_any_name_is_text(enter: Enter, plant: Plant, context: AppContext) -> None:
    kim = enter("<b>kim</b>", "admin")
    one = kim.inspect_upload((f"{EVIL}.png", plant.good[0].read_bytes())).json()["results"][0][
        "verdict"
    ]
    link = one["link"]
    kim.post(f"{link}/corrections", says="bad", reason=EVIL)
    kim.http.post("/login", data={"name": EVIL, "password": "x" * 10})
    kim.log_in()
    pages = [link, "/inspections", "/review", "/audit", "/account", f"/inspections?lot={EVIL}"]
    for path in pages:
        page = kim.get(path).text
        assert "<script>alert" not in page and "<img src=x" not in page and "<b>kim" not in page
    assert "&lt;script&gt;alert(1)" in kim.get(link).text
    lines = list(csv.reader(io.StringIO(kim.get("/inspections.csv").text.removeprefix("\ufeff"))))
    assert lines[1][lines[0].index("file_name")].endswith(".png")


def test_a_csv_begins_no_formula(enter: Enter, plant: Plant) -> None:
    kim = enter()
    kim.inspect_upload(("=1+1.png", plant.good[0].read_bytes()))
    text = kim.get("/inspections.csv").text
    assert "'=1+1.png" in text


def test_what_is_another_users_is_refused_and_written_down(
    enter: Enter, plant: Plant, context: AppContext
) -> None:
    kim, lee, boss = enter(), enter("lee"), enter("boss", "reviewer")
    one = kim.inspected(plant.bad[0])
    paths = [f"/inspections/{one}{part}" for part in ("", "/photo.jpg", "/heat.jpg")]
    for path in [*paths, f"/api/inspections/{one}"]:
        assert kim.get(path).status_code == 200
        assert lee.get(path).status_code == 403, path
        assert boss.get(path).status_code == 200
    assert lee.post(f"/inspections/{one}/corrections", says="good", reason="x").status_code == 403
    assert lee.get("/review").status_code == 403 and kim.get("/audit").status_code == 403
    assert boss.get("/review").status_code == 200 and boss.get("/audit").status_code == 403
    assert plant.bad[0].name not in lee.get("/inspections").text
    assert one not in lee.get("/inspections?user=kim").text
    seen = lee.inspect_upload(plant.bad[0]).json()["results"][0]
    assert seen["seen_before"] and one not in str(seen)
    refused = [e for e in context.accounts.audit() if e["action"] == "refused"]
    assert {(e["user_name"], e["object"].split("/")[1]) for e in refused} == {
        ("lee", "inspections"),
        ("lee", "api"),
        ("lee", "review"),
        ("kim", "audit"),
        ("boss", "audit"),
    }


@pytest.mark.parametrize("gradio", [True])
def test_every_page_needs_a_user_unless_it_is_named(app: Any, context: AppContext) -> None:
    anonymous = Browser(app, context)
    pages = (home, accounts, history, intake, review, lake, oidc, api)
    routers = (app, *(page.router for page in pages))
    asked = {getattr(route, "path", "") for router in routers for route in router.routes}
    paths = [re.sub(r"\{[^}]*\}", "x", path) for path in sorted(asked) if path]
    closed = [path for path in paths if not PUBLIC.fullmatch(path)]
    assert {"/", "/inspect", "/inspections", "/openapi.json", "/review"} <= set(closed)
    for path in [*closed, "/inspect/en/", "/inspect/en/config", "/inspect/en/gradio_api/info"]:
        answer = anonymous.get(path)
        assert answer.status_code in (303, 405), path
        if answer.status_code == 303:
            assert answer.headers["location"].startswith("/login")
        assert anonymous.get(path, headers={"accept": "*/*"}).status_code in (401, 405), path
    for path in ("/login", "/sign-up", "/healthz", "/readyz", "/metrics", "/static/style.css"):
        assert anonymous.get(path).status_code == 200, path


@pytest.mark.parametrize("gradio", [True])
def test_other_sites_cannot_act_for_a_user(enter: Enter, context: AppContext) -> None:
    kim = enter()
    posts = ("/logout", "/account", "/api/verdicts", "/inspect/en/gradio_api/upload", "/language")
    for path in posts:
        for foreign in ({"origin": "https://evil.test"}, {"origin": "null"}):
            assert kim.http.post(path, headers=foreign).status_code == 403, path
        del kim.http.headers["origin"]
        assert kim.http.post(path, headers={"sec-fetch-site": "cross-site"}).status_code == 403
        assert kim.http.post(path).status_code == 403
        kim.http.headers["origin"] = HOST
    assert kim.http.post("/logout", data={"csrf": "guessed é"}).status_code == 403
    assert kim.get("/account").status_code == 200
    assert {e["action"] for e in context.accounts.audit()} >= {"cross-site request refused"}
    evil = Browser(kim.http.app, context)  # Nor log somebody in as somebody else.
    evil.http.headers["origin"] = "https://evil.test"
    known = {"name": "kim", "password": PASSWORD}
    assert evil.http.post("/login", data=known).status_code == 403


def test_sessions(enter: Enter, context: AppContext, app: Any) -> None:
    kim = enter()
    (cookie,) = kim.http.cookies.jar
    assert cookie.name == "__Host-platelake_session" and cookie.secure and cookie.path == "/"
    assert "HttpOnly" in cookie._rest and cookie._rest["SameSite"] == "lax"
    first = str(cookie.value)
    kim.log_in()
    (second,) = (c.value for c in kim.http.cookies.jar)
    assert second != first
    thief = TestClient(app, base_url=HOST, follow_redirects=False)

    def entered(token: str) -> bool:
        known = {"cookie": f"__Host-platelake_session={token}"}
        return bool(thief.get("/account", headers=known).status_code == 200)

    assert entered(str(second)) and not entered(first)
    assert not entered("") and not entered("x" * 43) and not entered("é".encode().hex())
    assert kim.post("/logout").headers["location"] == "/login"
    assert not entered(str(second))  # Replayed.
    assert kim.get("/account").status_code == 303


@pytest.mark.parametrize("gradio", [True])
def test_no_page_is_kept_by_the_browser(enter: Enter) -> None:
    kim = enter()
    for path in ("/inspections", "/account", "/lots", "/inspect/en/"):
        answer = kim.get(path)
        assert answer.headers["cache-control"] == "no-store", path
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "no-store" not in kim.get("/static/style.css").headers.get("cache-control", "")


def test_login_leads_back_but_never_away(app: Any, context: AppContext) -> None:
    Browser(app, context, "kim")
    stranger = Browser(app, context)
    there = stranger.get("/inspections?lot=3").headers["location"]
    assert 'value="/inspections?lot=3"' in stranger.get(there).text
    known = {"name": "kim", "password": PASSWORD}
    for wanted, got in {
        "/lots": "/lots",
        "//evil.test": "/",
        "https://evil.test": "/",
        "/\\evil.test": "/",
        "/\t/evil.test": "/",
    }.items():
        answer = stranger.http.post("/login", data={**known, "next": wanted})
        assert answer.headers["location"] == got


def test_guesses_hold_the_guesser_back_and_not_the_user(app: Any, context: AppContext) -> None:
    kim = Browser(app, context, "kim")  # She has entered from her own address.
    guesser = Browser(app, context)
    guesser.http._transport.client = ("10.6.6.6", 1)  # type: ignore[attr-defined]
    guesser.name = "kim"
    codes = [guesser.log_in(f"guess number {n}").status_code for n in range(8)]
    assert codes[0] == 401 and codes[-1] == 429
    assert kim.get("/account").status_code == 200 and kim.log_in().status_code == 303


def test_ten_thousand_guesses(app: Any, context: AppContext, plant: Plant) -> None:
    """They are refused without a look at the password, while others go on as before."""
    kim = Browser(app, context, "kim")
    guesser = Browser(app, context)
    guesser.http._transport.client = ("10.6.6.6", 1)  # type: ignore[attr-defined]
    guesser.name = "kim"
    codes = Counter(guesser.log_in(f"guess number {n}").status_code for n in range(9_980))
    assert codes == {401: PAIR_LIMIT, 429: 9_980 - PAIR_LIMIT}
    guesser.name = "nobody"
    assert {guesser.log_in("a guess").status_code for _ in range(20)} == {401, 429}
    assert kim.inspect_upload(plant.good[0]).status_code == 200
    assert kim.log_in().status_code == 303


def test_sign_up(make_context: Callable[..., AppContext]) -> None:
    context = make_context(sign_up="invitation")
    new = Browser(create_app(context, gradio=False), context)
    asked = {"name": "lee", "password": PASSWORD}
    assert new.http.post("/sign-up", data=asked).status_code == 400
    code = context.accounts.invite("test", "reviewer")
    assert new.http.post("/sign-up", data={**asked, "password": "short"}).status_code == 400
    answer = new.http.post("/sign-up", data={**asked, "invitation": code})
    assert answer.headers["location"] == "/"
    assert new.get("/review").status_code == 200
    off = make_context(sign_up="off")
    closed = Browser(create_app(off, gradio=False), off)
    assert closed.http.post("/sign-up", data=asked).status_code == 400
    assert "Sign-up is off" in closed.get("/sign-up").text


def test_home_has_what_the_role_needs(enter: Enter, plant: Plant, context: AppContext) -> None:
    kim, ann = enter(), enter("ann", "reviewer")
    assert "No photos inspected yet" in kim.get("/").text
    one = kim.inspected(plant.bad[0])
    page = kim.get("/").text
    assert f"/inspections/{one}" in page and 'href="/inspect"' in page
    assert "0 good, 1 bad, 0 to check" in page and "Quarantined" not in page
    assert one not in enter("lee").get("/").text
    page = ann.get("/").text
    rows = context.first.lots.of_day(context.first.lots.days()[0])
    failed = sum(row["label"] == "failed" for row in rows)
    assert f"{failed} of {len(rows)}" in page and "Nothing is quarantined." in page
    assert f"/lots?day={context.first.lots.days()[0]}" in page and "Counts match" in page
    assert context.first.lots.last_reading() == max(
        row["ended_at"] for row in context.first.lots.lake.rows(LOTS, "ended_at")
    )
    started = time.process_time()
    ann.get("/")
    assert time.process_time() - started < 1


def test_home_of_an_empty_lake(make_context: Callable[..., AppContext], tmp_path: Path) -> None:
    context = make_context(lake=str(tmp_path / "empty"))
    ann = Browser(create_app(context, gradio=False), context, "ann", "reviewer")
    started = time.process_time()
    page = ann.get("/")
    assert time.process_time() - started < 1
    assert page.status_code == 200 and "Run: platelake run" in page.text
    for path in ("/lots", "/flow", "/models", "/review/next", "/inspections"):
        assert ann.get(path).status_code == 200, path


def test_review_is_a_stream(make_context: Callable[..., AppContext], plant: Plant) -> None:
    context = make_context(sampled_share=1.0)
    app = create_app(context, gradio=False)
    kim, ann, ben = (
        Browser(app, context, name, role)
        for name, role in (("kim", "operator"), ("ann", "reviewer"), ("ben", "reviewer"))
    )
    first, second, third = (kim.inspected(photo) for photo in plant.good[:3])
    kim.post(f"/inspections/{third}/corrections", says="bad", reason="a stain")
    page = ann.get("/review/next").text
    assert third in page and "Photo 1 of 3" in page  # Somebody disagrees on it.
    assert "verdict shows after your choice" in page and "Model:" not in page
    assert "a stain" not in page and "%" not in page
    choice = {"inspection": third, "done": "0", "skipped": "0", "says": "bad"}
    asked = ann.post("/review/next", **choice)
    assert asked.status_code == 200 and "You and the model differ" in asked.text
    assert rows(context, corrections)[-1].user_name == "kim"
    assert ann.post("/review/next", **choice, reason=" ").status_code == 400
    there = ann.post("/review/next", **choice, reason="seen it").headers["location"]
    page = ann.get(there).text
    assert "Photo 2 of 3" in page and first in page and third in page  # The link to the last one.
    page = ann.get(there + "&skipped=1").text
    there = ann.post("/review/next", inspection=second, says="good", done="1", skipped="1")
    assert there.headers["location"].startswith("/review/next?done=2&skipped=1")
    assert "No photos to review" in ann.get(there.headers["location"]).text
    assert first in ann.get("/review/next").text  # Skipped, not lost.
    said = ben.post("/review/next", inspection=third, says="good", done="0", skipped="0")
    assert third in said.headers["location"]  # They contradict each other: it is not shown again.
    assert f'value="{third}"' not in ben.get(said.headers["location"]).text
    assert kim.post("/review/next", inspection=first, says="bad").status_code == 403


def test_all_pages_of_the_queue(make_context: Callable[..., AppContext], plant: Plant) -> None:
    context = make_context(sampled_share=1.0)
    app = create_app(context, gradio=False)
    kim, ann = Browser(app, context, "kim"), Browser(app, context, "ann", "reviewer")
    kim.inspected(plant.good[0])
    first = context.first.inspections.earlier(
        hashlib.sha256(plant.good[0].read_bytes()).hexdigest()
    )[0]
    for n in range(24):
        context.records.save(replace(first, inspection_id=f"{n:032x}", sha256=f"{n:064x}"))
    assert ann.get("/review").text.count("<li class") == 20
    page = ann.get("/review?page=2").text
    assert page.count("<li class") == 5 and "25 photos to review" in page


def test_light_or_dark_as_chosen(enter: Enter) -> None:
    kim = enter()
    assert "data-theme" not in kim.get("/lots").text
    for theme, shown in {"dark": "dark", "light": "light", "device": "", "<b>": ""}.items():
        answer = kim.http.post("/theme", data={"theme": theme, "next": "/lots"})
        assert answer.headers["location"] == "/lots"
        assert (f'data-theme="{shown}"' in kim.get("/lots").text) is bool(shown)


def test_change_of_password(enter: Enter) -> None:
    kim = enter()
    wrong = kim.post("/account", old="not this one", new="another password")
    assert wrong.status_code == 401
    assert kim.post("/account", old=PASSWORD, new="short").status_code == 400
    before = [c.value for c in kim.http.cookies.jar]
    assert kim.post("/account", old=PASSWORD, new="another password").status_code == 200
    assert [c.value for c in kim.http.cookies.jar] != before
    assert kim.get("/account").status_code == 200
    assert kim.log_in().status_code == 401 and kim.log_in("another password").status_code == 303


def test_machines_come_with_a_token(app: Any, context: AppContext, plant: Plant) -> None:
    Browser(app, context, "line 1")
    token = context.accounts.token("line 1", "test")
    machine = TestClient(app, base_url=HOST)
    photo = {"files": ("a.png", plant.good[0].read_bytes())}
    answer = machine.post(
        "/api/verdicts", files=photo, headers={"authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 200
    assert answer.json()["results"][0]["verdict"]["verdict"] == "good"
    for wrong in ({}, {"authorization": "Bearer x"}, {"authorization": f"Basic {token}"}):
        assert machine.post("/api/verdicts", files=photo, headers=wrong).status_code == 401
    schema = machine.get("/openapi.json", headers={"authorization": f"Bearer {token}"}).json()
    paths = {"/api/verdicts", "/api/inspections/{inspection_id}", "/api/lots"}
    assert set(schema["paths"]) == paths


def test_review_by_two(enter: Enter, plant: Plant, context: AppContext) -> None:
    kim, one, two, three = enter(), *(enter(n, "reviewer") for n in ("ann", "ben", "cho"))
    link = f"/inspections/{kim.inspected(plant.good[0])}"
    assert "No photos to review" in one.get("/review").text
    assert kim.post(f"{link}/corrections", says="bad").status_code == 400  # Without a reason.
    assert kim.post(f"{link}/corrections", says="bad", reason="a stain").status_code == 303
    assert link in one.get("/review").text
    assert "a stain" not in one.get(link).text  # Not before an own word.
    assert one.post(f"{link}/corrections", says="bad", reason="seen it").status_code == 303
    assert "a stain" in one.get(link).text
    assert one.post(f"{link}/corrections", says="bad", reason="again").status_code == 400
    assert link not in one.get("/review").text and link in two.get("/review").text
    assert two.post(f"{link}/corrections", says="good").status_code == 303
    assert rows(context, agreed_labels) == []
    assert link in one.get("/review").text and link in two.get("/review").text  # They disagree.
    assert three.post(f"{link}/corrections", says="bad", reason="yes").status_code == 303
    (label,) = rows(context, agreed_labels)
    assert label.label == "bad"
    kept = {row.correction_id: row for row in rows(context, corrections)}
    assert kept[label.first_correction].user_name == "ann"
    assert kept[label.second_correction].user_name == "cho"
    assert [row.model_version for row in kept.values()] == [1] * 4
    late = kim.post(f"{link}/corrections", says="good", reason="no")
    assert late.status_code == 400 and "agreed" in late.text
    assert len(rows(context, corrections)) == 4
    assert [row.verdict for row in rows(context, inspections)] == ["good"]


def test_reviewers_who_disagree_may_say_another_word(
    enter: Enter, plant: Plant, context: AppContext
) -> None:
    kim, one, two = enter(), *(enter(name, "reviewer") for name in ("ann", "ben"))
    link = f"/inspections/{kim.inspected(plant.good[0])}/corrections"
    one.post(link, says="bad", reason="a stain")
    two.post(link, says="good")
    assert one.post(link, says="good", reason="a shadow, now I see").status_code == 303
    assert [row.label for row in rows(context, agreed_labels)] == ["good"]
    assert [row.says for row in rows(context, corrections)] == ["bad", "good", "good"]


def test_two_reviewers_at_once_make_one_label(
    make_context: Callable[..., AppContext], sql_url: str, plant: Plant
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    context = make_context(sql_url=sql_url)
    names = [f"reviewer {n}" for n in range(6)]
    app = create_app(context, gradio=False)
    kim = Browser(app, context, "kim")
    one = context.records.find(kim.inspected(plant.bad[0]))
    assert one
    for name in names:
        context.accounts.add(name, "reviewer", PASSWORD, by="test")
    users = [context.accounts.user(context.accounts.log_in(n, PASSWORD, "10.0.0.1")) for n in names]

    def say(user: Any) -> str | None:
        try:
            return context.first.review.correct(user, one, "bad", "")
        except Exception as error:
            return str(error)

    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(say, users))
    assert said.count("bad") == 1 and said.count(None) == 1
    assert len(rows(context, agreed_labels)) == 1 and len(rows(context, corrections)) == 2


def test_the_photo_comes_to_the_lake_by_the_ordinary_ingest_once(
    enter: Enter, plant: Plant, context: AppContext, landing: Path, tmp_path: Path
) -> None:
    kim = enter()
    for name in ("one.png", "another.png"):
        kim.inspect_upload((name, plant.bad[0].read_bytes()))
    sha256 = hashlib.sha256(plant.bad[0].read_bytes()).hexdigest()
    assert [f.name for f in landing.rglob("*") if f.is_file()] == [f"{sha256}.png"]
    options = Options("chromate", landing=str(landing), lake=str(tmp_path / "lake"))
    for _ in range(2):
        work = run_jobs(["ingest_photos"], options)
        (photo,) = work.lake.rows(PHOTOS, "sha256", "bytes")
        assert photo == {"sha256": sha256, "bytes": plant.bad[0].read_bytes()}
        (name,) = work.lake.rows(PICTURE_NAMES, "label", "name")
        assert name == {"label": "unlabelled", "name": f"{sha256}.png"}  # Never the verdict.
    (landing / "app" / "unlabelled" / f"{sha256}.png").unlink()  # As collected photos go.
    link = f"/inspections/{rows(context, inspections)[0].inspection_id}/photo.jpg"
    assert kim.get(link).status_code == 200  # It is in the lake that the app reads.


def test_a_photo_that_cannot_be_kept_gets_no_verdict(
    enter: Enter, plant: Plant, context: AppContext, landing: Path
) -> None:
    kim = enter()
    (landing / "app").write_text("no folder")
    (found,) = kim.inspect_upload(plant.bad[0]).json()["results"]
    assert found["rule"] == "not_kept" and found["verdict"] is None
    assert rows(context, inspections) == []


def test_a_sample_of_good_verdicts_is_looked_at(
    make_context: Callable[..., AppContext], plant: Plant
) -> None:
    context = make_context(sampled_share=1.0)
    app = create_app(context, gradio=False)
    kim, ann = Browser(app, context, "kim"), Browser(app, context, "ann", "reviewer")
    link = kim.inspected(plant.good[0])
    kim.inspected(plant.bad[0])
    page = ann.get("/review").text
    assert link in page and "random sample" in page and page.count("<li class") == 1


def test_a_doubtful_verdict_waits_for_a_human(
    enter: Enter, plant: Plant, context: AppContext
) -> None:
    kim, ann = enter(), enter("ann", "reviewer")
    model = context.first.photo_champion.model
    p = model.predict([plant.good[0].read_bytes()], context.settings)[0].probability
    model.thresholds = replace(model.thresholds, low=p / 2, high=(1 + p) / 2)
    try:
        answer = kim.inspect_upload(plant.good[0]).json()["results"][0]["verdict"]
    finally:
        context.first.photo_champion.refresh()
    assert answer["verdict"] == "needs_human"  # The first system crashed on such a one.
    assert "Check by hand" in kim.get(answer["link"]).text
    assert answer["inspection_id"] in ann.get("/review").text


def test_history_is_searched_and_paged_in_sql(
    enter: Enter, plant: Plant, context: AppContext
) -> None:
    kim = enter()
    kim.inspect_upload(plant.good[0], lot="2021-11-01/3")
    kim.inspect_upload(plant.bad[0])
    first = context.first.inspections.earlier(
        hashlib.sha256(plant.good[0].read_bytes()).hexdigest()
    )[0]
    for n in range(119):
        context.records.save(replace(first, inspection_id=f"{n:032x}", lot=None, day=None))
    page = kim.get("/inspections").text
    assert "121 found" in page and page.count("<tr>") == 51
    assert kim.get("/inspections?page=3").text.count("<tr>") == 22
    assert "1 found" in kim.get("/inspections?lot=3").text
    assert "1 found" in kim.get("/inspections?verdict=bad").text
    assert "121 found" in kim.get("/inspections?model_version=1").text
    assert "0 found" in kim.get("/inspections?model_version=2").text
    today = first.inspected_at.date()
    assert "0 found" in kim.get("/inspections?last_day=2020-01-01").text
    assert "0 found" in kim.get(f"/inspections?first_day={today.year + 1}-01-01").text
    assert "121 found" in kim.get("/inspections?first_day=&model_version=&page=-4").text
    wrong = ("first_day=abc", "last_day=0001-01-01", "model_version=½", "verdict=nice")
    for query in wrong:  # Dropped in silence, it would answer with everything.
        for path in ("/inspections", "/inspections.csv"):
            answer = kim.get(f"{path}?{query}")
            assert answer.status_code == 422 and "filter has a value" in answer.text, query
    assert len(kim.get("/inspections.csv").text.splitlines()) == 122


def test_lots(enter: Enter, plant: Plant, context: AppContext) -> None:
    kim = enter()
    day = context.first.lots.days()[0]
    by_risk = context.first.lots.of_day(day)
    assert len(by_risk) == 8 and all(row["verdict"] for row in by_risk)
    risks = [row["risk"] for row in by_risk]
    assert risks == sorted(risks, reverse=True)
    lot = by_risk[0]["lot"]
    assert kim.get("/lots").text.index(f'"/lots/{day}/{lot}"') > 0
    for sort in ("lot", "readings", "label", "verdict", "risk", "nonsense"):
        assert kim.get(f"/lots?day={day}&sort={sort}").status_code == 200
    page = kim.get(f"/lots/{day}/{lot}").text
    assert page.count("<polyline") == 3 and "Why this verdict" in page
    view = context.first.lots.view(day, lot)
    assert view.verdict and view.verdict.probability == pytest.approx(by_risk[0]["risk"], abs=1e-6)
    assert kim.get("/lots?day=1999-01-01").status_code == 200
    gone = kim.get("/lots/1999-01-01/3").text
    assert "no readings" in gone and "No model" not in gone
    assert kim.get("/lots/yesterday/3").status_code == 404
    assert kim.get(f"/lots/{day}/a'b").status_code == 404


def test_a_sensor_file_is_judged_as_the_lake_would(context: AppContext, plant: Plant) -> None:
    lines = plant.sensor.read_bytes().split(b"\r\n")
    lines[2] = lines[2].replace(b",", b";", 1)
    lines[3] = lines[3].rsplit(b",", 1)[0] + b",99"
    content = io.BytesIO(b"\r\n".join(lines))
    fault, lots, held = context.first.lots.check_file(content, plant.sensor.name)
    assert fault is None and [row["rule"] for row in held] == ["torn_row", "physical_range"]
    known = {row["lot"]: row["risk"] for row in context.first.lots.of_day(lots[0].day)}
    said = {lot.name: lot.verdict.probability for lot in lots if lot.verdict}
    assert list(said.values()) == sorted(said.values(), reverse=True)
    del said["1"]  # It has lost two rows.
    assert len(lots) == 8 and len(said) == 7
    assert said == pytest.approx({name: known[name] for name in said}, abs=1e-6)
    bad, none, _ = context.first.lots.check_file(io.BytesIO(b"a,b\n1,2\n"), plant.sensor.name)
    assert bad and bad[0] == "missing_column" and "no column" in bad[1] and none == []


def test_a_lot_that_is_cut_is_left_to_a_person(context: AppContext, plant: Plant) -> None:
    lines = plant.sensor.read_bytes().split(b"\r\n")
    of_one = [line for line in lines[1:] if line.split(b",")[1:2] == [b"1"]]
    cut = [line for line in lines if line not in of_one[3:]]
    _, lots, _ = context.first.lots.check_file(io.BytesIO(b"\r\n".join(cut)), plant.sensor.name)
    (verdict,) = [lot.verdict for lot in lots if lot.name == "1" and lot.verdict]
    assert verdict.verdict == "needs_human" and (verdict.reason or "").startswith("few_readings: 3")
    said = [lot.verdict.verdict for lot in lots if lot.verdict]
    assert said == sorted(said, key=["bad", "needs_human", "good"].index)
    known = {"lots": lots, "model": True, "bad": [], "bad_count": 0, "fault": "", "name": "a.csv"}
    known |= {"counts": intake.sensor_counts(texts("en"), known)}
    page = Html(context).text(context.first, "checked_file", texts("en"), None, "/sensor", known)
    assert "fewer readings than a whole lot" in page and "(3 &lt; " in page


def test_models_and_flow(enter: Enter, context: AppContext) -> None:
    kim = enter()
    models = kim.get("/models").text
    assert "chromate-photos, version 1" in models and "auroc" in models and "kfold" in models
    recall = context.first.lot_champion.honest.metrics["recall_at_5_fpr"]
    assert f"Finds {100 * recall:.0f} of 100 bad parts" in models
    decided = context.first.lot_champion.honest.metrics["decided"]
    assert f"Decides {100 * decided:.0f} of 100 alone." in models
    flow = kim.get("/flow").text
    assert "error lists, photos, labels, features of lots" in flow and "ingest_photos" not in flow
    assert "yes" in flow and "Every file was read." in flow


def test_the_model_card_shows_figures_slices_and_examples(
    enter: Enter, context: AppContext
) -> None:
    kim = enter()
    assert 'href="/models/photos"' in kim.get("/models").text
    photos = kim.get("/models/photos").text
    assert "All bad ones" in photos and "auroc" in photos and "Good below" in photos
    assert photos.count('src="data:image/jpeg;base64,') >= 2
    lots = kim.get("/models/lots").text
    assert "All good ones" in lots and "data:image" not in lots
    assert kim.get("/models/others").status_code == 404
    champion = context.first.lot_champion
    champion._now = champion.model, replace(champion.honest, run_id="0" * 32)  # It is gone.
    assert "This model has no card" in kim.get("/models/lots").text


def test_the_run_is_linked_in_mlflow_but_no_password_is_shown(
    make_context: Callable[..., AppContext], plant: Plant
) -> None:
    registry = registry_of(load_settings(lake=str(plant.lake)))
    for uri, links in {"http://mlflow.test:5000": 2, "http://a:secret@mlflow.test": 0}.items():
        context = make_context(registry=registry, mlflow_uri=uri)
        page = (
            Browser(create_app(context, gradio=False), context, f"kim {links}").get("/models").text
        )
        found = re.findall(r'href="http://mlflow\.test:5000/#/experiments/\d+/runs/\w+"', page)
        assert len(found) == links and "secret" not in page


def test_no_champion_yet(
    make_context: Callable[..., AppContext], plant: Plant, tmp_path: Any
) -> None:
    from ml.registry import Registry

    empty = Registry(f"sqlite:///{tmp_path / 'empty.db'}")
    context = make_context(registry=empty)
    kim = Browser(create_app(context, gradio=False), context, "kim")
    page = kim.get("/inspect")
    assert page.status_code == 200 and "platelake train photos --stage chromate" in page.text
    assert kim.get("/models").text.count("No model is in use yet") == 2
    assert "Ask an admin" in kim.get("/lots/2021-11-01/3").text
    boss = Browser(create_app(context, gradio=False), context, "boss", "admin")
    assert "platelake train trees" in boss.get("/lots/2021-11-01/3").text
    answer = kim.inspect_upload(plant.good[0])
    assert answer.status_code == 503 and answer.json()["results"][0]["rule"] == "no_champion"
    assert kim.get("/readyz").status_code == 503 and kim.get("/healthz").status_code == 200


def test_monitoring(enter: Enter, plant: Plant) -> None:
    kim = enter()
    kim.inspect_upload(plant.bad[0], ("a.txt", b"x"))
    text = kim.get("/metrics").text
    for line in (
        'platelake_verdicts_total{verdict="bad"} 1.0',
        'platelake_refused_photos_total{rule="not_an_image"} 1.0',
        "platelake_verdict_seconds_count 1.0",
        "platelake_waiting_verdicts 0.0",
        "platelake_sql_away 0.0",
        'platelake_champion_version{model="chromate-photos"} 1.0',
    ):
        assert line in text
    assert "kim" not in text
    assert kim.get("/readyz").json() == {"status": "ready", "sql": "ok", "mlflow": "ok"}


def test_language_is_the_browsers_or_chosen(enter: Enter) -> None:
    kim = enter()
    korean = kim.get("/inspections", headers={"accept-language": "ko-KR,ko;q=0.9,en;q=0.8"}).text
    assert '<html lang="ko">' in korean and "이력" in korean
    german = kim.get("/inspections", headers={"accept-language": "de,en;q=0.5,ko;q=0.1"}).text
    assert '<html lang="en">' in german
    answer = kim.http.post("/language", data={"language": "ko", "next": "/lots"})
    assert answer.headers["location"] == "/lots"
    assert '<html lang="ko">' in kim.get("/lots").text
    assert kim.get("/inspect").headers["location"] == "/inspect/ko/"


ODD = [
    "/inspections?last_day=9999-12-31",
    "/inspections?first_day=0001-01-01",
    "/inspections?page=400000000000000000",
    "/inspections.csv?last_day=9999-12-31&page=x",
    "/inspections?lot=%00&user=%ff&verdict=%F0%9F%94%A5",
    "/inspections?page=abc",
    "/lots?day=9999-12-31&sort=%00",
    "/lots/0001-01-01/1",
    "/inspections/%00",
    "/login?next=%00&fault=%00",
    "/logout",
    "/review?page=-1",
]


@pytest.mark.parametrize("path", ODD)
def test_odd_addresses_break_nothing(enter: Enter, path: str) -> None:
    answer = enter("kim", "admin").get(path)
    assert answer.status_code in (200, 404, 405, 422), path
    assert "<html" in answer.text or path.startswith("/inspections.csv")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data; charset=undefined; boundary=x", b"--x--"),
        ("application/x-www-form-urlencoded; charset=unicode_escape", b"name=\\ud800&password=x"),
        ("application/x-www-form-urlencoded", b"name=%ed%a0%80&password=%ff%00"),
        ("application/x-www-form-urlencoded", b"&" * 5_000),
        ("text/plain", b"name=kim"),
        ("", b""),
    ],
)
def test_odd_forms_break_nothing(app: Any, context: AppContext, kind: str, body: bytes) -> None:
    browser = Browser(app, context)
    for path in ("/login", "/sign-up", "/language"):
        answer = browser.http.post(path, content=body, headers={"content-type": kind})
        assert answer.status_code in (303, 400, 401, 415), (path, answer.status_code)


def test_what_breaks_is_said_without_a_stack_trace(
    enter: Enter, context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    kim = enter()
    kim.http._transport.raise_server_exceptions = False  # type: ignore[attr-defined]
    monkeypatch.setattr(context.first.lots, "days", lambda: 1 / 0)
    answer = kim.get("/lots")
    assert answer.status_code == 500 and "Something went wrong" in answer.text
    assert "Traceback" not in answer.text and "ZeroDivision" not in answer.text


def test_the_language_leads_back_to_the_same_page(enter: Enter, plant: Plant) -> None:
    kim = enter()
    link = f"/inspections/{kim.inspected(plant.good[0])}"
    assert 'name="next" value="/inspections?lot=3"' in kim.get("/inspections?lot=3").text
    refused = kim.post(f"{link}/corrections", says="bad")
    assert refused.status_code == 400 and f'name="next" value="{link}"' in refused.text


def test_a_cut_upload_leaves_nothing(enter: Enter, context: AppContext) -> None:
    kim = enter()

    def cut() -> Any:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        yield bytes(100_000)
        raise OSError("the cable")

    kind = {"content-type": "multipart/form-data; boundary=x"}
    with pytest.raises(OSError, match="cable"):
        kim.http.post("/api/verdicts", content=cut(), headers=kind)
    torn = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nabc\r\n--y'
    assert kim.http.post("/api/verdicts", content=torn, headers=kind).status_code in (400, 422)
    part = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n\r\n'
    many = kim.http.post("/api/verdicts", content=part * 20_000 + b"--x--", headers=kind)
    assert many.status_code == 413
    assert list(context.uploads.folder.iterdir()) == []


def test_sign_ups_are_counted_before_anything_is_hashed(
    make_context: Callable[..., AppContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []
    monkeypatch.setattr("serving.access.passwords.hashed", lambda *_: hashed.append(1) or "x")
    asked = {"name": "kim", "password": PASSWORD}
    context = make_context(sign_up="invitation")
    context.accounts.add("kim", password=PASSWORD, by="test")
    hashed.clear()
    stranger = Browser(create_app(context, gradio=False), context)
    codes = Counter(stranger.http.post("/sign-up", data=asked).status_code for _ in range(30))
    assert codes == {400: SIGN_UP_LIMIT, 429: 10} and hashed == []
    off = make_context(sign_up="off")
    assert (
        Browser(create_app(off, gradio=False), off).http.post("/sign-up", data=asked).status_code
        == 400
    )
    assert hashed == []


def test_a_lot_that_sql_could_not_hold_is_none(
    enter: Enter, plant: Plant, context: AppContext
) -> None:
    for lot in ("1" * 300, "2021-13-01/3", "x", "2021-11-01/"):
        answer = enter(f"kim {lot[:20]}").inspect_upload(plant.good[0], lot=lot)
        assert answer.status_code == 422 and "Enter the lot" in answer.json()["detail"]
    assert list(context.uploads.folder.iterdir()) == []


def test_a_page_that_is_not_there(enter: Enter) -> None:
    kim = enter()
    assert kim.get("/nothing").status_code == 404
    assert kim.get("/inspections/nothing").status_code == 404
    assert "This page does not exist" in kim.get("/inspections/nothing").text
    assert "<h1>Page not found</h1>" in kim.get("/nothing").text
    assert "<h1>No access</h1>" in kim.get("/audit").text
