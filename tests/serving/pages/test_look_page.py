"""The page on which an admin puts files in, corrects the guessed stage, and saves it."""

import io
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lakehouse.settings import conf_directory
from lakehouse.stage import load_stage
from serving import looks as looks_module
from serving.app import create_app
from serving.context import AppContext
from serving.looks import save_stage, stages_folder
from tests.serving.conftest import Browser, opened_context

LOG = "Datum;Zeit;Los;pH\n" + "".join(
    f"06.09.2021;08:00:0{n};{n // 3 + 1};7,{n}\n" for n in range(6)
)
TORN = LOG + "06.09.2021;08:00:07;1\n"


@pytest.fixture(autouse=True)
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the configuration, which a test may change."""
    folder = tmp_path / "conf"
    shutil.copytree(conf_directory(), folder)
    monkeypatch.setenv("PLATELAKE_CONF", str(folder))
    return folder


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppContext]:
    """An app of two stages. Somebody called `chief` may open the second one only."""
    folder = tmp_path_factory.mktemp("looks")
    press = load_stage("chromate").model_copy(update={"name": "press", "title": "Press"})
    made = opened_context(
        folder, folder / "landing", [load_stage("chromate"), press], lake=str(folder / "lake"),
        upload_files=6, stage_access={"chief": ["press"]},
    )  # fmt: skip
    yield made
    made.outbox.close()
    made.accounts.database.engine.dispose()


@pytest.fixture(scope="module")
def app(context: AppContext) -> Any:
    return create_app(context)


@pytest.fixture
def enter(app: Any, context: AppContext) -> Callable[..., Browser]:
    """Let somebody in, by a name that nobody else has."""

    def let_in(name: str = "boss", role: str = "admin") -> Browser:
        taken = {one["name"] for one in context.accounts.everybody()}
        names = (name + "x" * n for n in range(100))
        return Browser(app, context, next(one for one in names if one not in taken), role)

    return let_in


def put_in(who: Browser, *files: tuple[str, str | bytes], **fields: str) -> Any:
    """Send files as the page's form does, with its empty field for a folder."""
    parts: list[Any] = [("files", (name, content)) for name, content in files]
    parts.append(("folder", ("", b"")))
    return who.http.post("/look", files=parts, data={"csrf": who.csrf(), **fields})


def look_at(who: Browser, *files: tuple[str, str | bytes]) -> tuple[str, str]:
    """The address of the look, and its page."""
    answer = put_in(who, *files)
    assert answer.status_code == 303, answer.text
    where = answer.headers["location"]
    return where, who.get(where).text


def text_of(page: str) -> str:
    found = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)
    assert found
    return unescape(found[1])


def png(shade: int) -> bytes:
    pixels = np.tile(np.linspace(shade, 250, 64, dtype="uint8"), (48, 1))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def audited(context: AppContext) -> list[tuple[str, str, str]]:
    return [(row["user_name"], row["action"], row["object"]) for row in context.accounts.audit()]


def test_from_a_file_to_a_saved_stage(
    enter: Callable[..., Browser], context: AppContext, conf: Path
) -> None:
    boss = enter()
    assert 'href="/look"' in boss.get("/").text
    assert 'type="file"' in boss.get("/look").text
    where, page = look_at(boss, ("log.csv", TORN), ("photos/good/1.png", png(30)), ("x.bin", "a"))
    assert "6 of 7 rows would be stored" in page and "Would be quarantined: 1 rows" in page
    assert "<code>decimal</code>" in page and "numbers such as 7,1" in page
    assert "Incomplete row." in page and "<td>7.5</td>" in page
    assert "data:image/jpeg;base64," in page and "64 × 48" in page
    assert "x.bin" in page
    text = text_of(page)
    wrong = text.replace('lot = "Los"', 'lot = "Charge"')
    again = boss.post(where, act="check", text=wrong, name="log")
    assert again.status_code == 200 and "no column Charge" in again.text
    assert text_of(again.text) == wrong
    mended = text.replace("pH", "pH").replace("minimum = 0.0", "minimum = 7.2", 1)
    third = boss.post(where, act="check", text=mended, name="log").text
    assert "4 of 7 rows would be stored" in third and "This value is not possible." in third
    assert not (conf / "stages" / "plating_2.toml").exists()
    saved = boss.post(where, act="save", text=mended.replace("\n", "\r\n"), name="plating_2")
    assert saved.status_code == 200 and "Stage plating_2 is saved." in saved.text
    assert "platelake plan --stage plating_2 --landing DIR" in saved.text
    assert (conf / "stages" / "plating_2.toml").read_bytes().decode() == mended
    stage = load_stage("plating_2")
    assert stage.name == "plating_2" and stage.variables[0].minimum == 7.2
    assert (boss.name, "saved a stage", "plating_2") in audited(context)
    assert [one.name for one in stages_folder().iterdir() if one.name.startswith(".")] == []


def test_a_stage_that_is_there_is_replaced_only_when_the_user_has_seen_it(
    enter: Callable[..., Browser], context: AppContext, conf: Path
) -> None:
    boss = enter()
    file = conf / "stages" / "chromate.toml"
    before = file.read_text()
    where, page = look_at(boss, ("log.csv", LOG))
    asked = boss.post(where, act="save", text=text_of(page), name="chromate")
    assert asked.status_code == 409 and "There is a stage chromate already" in asked.text
    assert '<span class="out">-' in asked.text and "Replace stage chromate" in asked.text
    assert file.read_text() == before
    seen = re.search(r'name="replaces" value="(\w+)"', asked.text)
    assert seen
    file.write_text(before + "# changed meanwhile\n")
    form = {"act": "save", "text": text_of(page), "name": "chromate", "replaces": seen[1]}
    changed = boss.post(where, **form)
    assert changed.status_code == 409 and "changed meanwhile" in changed.text
    assert file.read_text().endswith("meanwhile\n")
    assert not [one for one in audited(context) if one[1:] == ("replaced a stage", "chromate")]
    seen = re.search(r'name="replaces" value="(\w+)"', changed.text)
    assert seen and boss.post(where, **form | {"replaces": seen[1]}).status_code == 200
    assert file.read_text() == text_of(page)
    assert (boss.name, "replaced a stage", "chromate") in audited(context)


def test_only_an_admin_may_look(enter: Callable[..., Browser], context: AppContext) -> None:
    boss, kim, lee = enter(), enter("kim", "reviewer"), enter("lee", "operator")
    where, page = look_at(boss, ("log.csv", LOG))
    for other in (kim, lee):
        assert "/look" not in other.get("/").text
        assert other.get("/look").status_code == 403 and other.get(where).status_code == 403
        assert put_in(other, ("log.csv", LOG)).status_code == 403
        assert other.post(where, act="save", text=text_of(page), name="x").status_code == 403
    refusals = [
        one for one in audited(context) if one[:2] in ((kim.name, "refused"), (lee.name, "refused"))
    ]
    assert len(refusals) == 8 and (kim.name, "refused", f"POST {where}") in refusals
    assert not (stages_folder() / "x.toml").exists()
    assert Browser(boss.http.app, context).get("/look").status_code == 303
    other = enter()
    assert other.get(where).status_code == 403
    assert (other.name, "refused", f"GET {where}") in audited(context)


def test_a_form_without_its_token_is_refused(
    enter: Callable[..., Browser], context: AppContext
) -> None:
    boss, before = enter(), set(context.uploads.folder.rglob("*"))
    files = [("files", ("log.csv", LOG))]
    for token in ("", "wrong"):
        assert boss.http.post("/look", files=files, data={"csrf": token}).status_code == 403
    assert set(context.uploads.folder.rglob("*")) == before
    where, _ = look_at(boss, ("log.csv", LOG))
    assert boss.http.post(where, data={"act": "check"}).status_code == 403
    assert boss.post(where, act="eat").status_code == 422


def test_a_folder_keeps_its_paths_and_none_leads_out(
    enter: Callable[..., Browser], context: AppContext
) -> None:
    boss = enter()
    where, page = look_at(
        boss, ("plant/line-1/a.csv", LOG), ("plant/ng/1.png", png(30)), ("plant/Thumbs.db", "x")
    )
    assert "line-1/*.csv" in page and 'bad = ["ng/*"]' in text_of(page)
    assert ">line-1/a.csv<" in page and "Thumbs.db" not in page
    assert 'name="name" value="plant"' in page
    where, page = look_at(boss, ("../../../evil.csv", LOG), ("/etc/log.csv", TORN))
    look = context.looks.find(where.rpartition("/")[2])
    assert look and sorted(look.files) == ["etc/log.csv", "evil.csv"]
    assert all((look.root / name).is_file() for name in look.files)
    assert not (context.uploads.folder.parent / "evil.csv").exists()
    _, page = look_at(boss, ("a.csv", LOG), ("a.csv", TORN))
    assert "Another of these files has the same name." in page


def test_what_cannot_be_read_is_said(enter: Callable[..., Browser], context: AppContext) -> None:
    boss = enter()
    answer = put_in(boss, ("<b>.txt", b"\0\1\2"), ("empty.csv", b""))
    assert answer.status_code == 422 and "None of these files" in answer.text
    assert "&lt;b&gt;.txt" in answer.text and "<b>.txt" not in answer.text
    assert str(context.uploads.folder) not in answer.text
    assert put_in(boss).status_code == 422
    where, page = look_at(boss, *[(f"{n}.csv", LOG) for n in range(8)])
    assert page.count("At most 6 photos are inspected at once") == 2
    for text, words in (("x = [", "is not TOML"), ("title = 1", "valid string"), ("", "title")):
        for act in ("check", "save"):
            bad = boss.post(where, act=act, text=text, name="log")
            assert bad.status_code == 400 and words in bad.text, (text, act)
    other = 'name = "chromate"\n' + text_of(page)
    assert "another name" in boss.post(where, act="save", text=other, name="log").text
    for name in ("../x", "Ä", "x.toml", "a\n", ""):
        assert boss.post(where, act="save", text=text_of(page), name=name).status_code in (200, 400)
    assert sorted(one.name for one in stages_folder().iterdir()) == ["a.toml", "chromate.toml"]
    assert boss.get("/look/none").status_code == 404
    kept = boss.post("/look/none", act="check", text=text_of(page), name="log")
    assert kept.status_code == 200 and text_of(kept.text) == text_of(page)


def test_what_cannot_be_written_is_said(
    enter: Callable[..., Browser], context: AppContext, conf: Path
) -> None:
    boss = enter()
    where, page = look_at(boss, ("log.csv", LOG))
    shutil.rmtree(conf / "stages")
    (conf / "stages").write_text("no folder")
    answer = boss.post(where, act="save", text=text_of(page), name="log")
    assert answer.status_code == 500 and "cannot be written" in answer.text
    assert text_of(answer.text) == text_of(page)


def test_nothing_is_saved_that_the_audit_does_not_hold(conf: Path) -> None:
    def away(replaced: bool) -> None:
        raise ConnectionError

    for name in ("new", "chromate"):
        text = (conf / "stages" / "chromate.toml").read_text()
        with pytest.raises(ConnectionError):
            save_stage(name, text, away, looks_module._sha256(text))
    assert [one.name for one in stages_folder().iterdir()] == ["chromate.toml"]
    save_stage("new", text, lambda replaced: None)
    assert stat.S_IMODE((stages_folder() / "new.toml").stat().st_mode) & 0o444


def test_an_admin_of_other_stages_does_not_replace_this_one(
    enter: Callable[..., Browser], conf: Path
) -> None:
    chief = enter("chief")
    where, page = look_at(chief, ("log.csv", LOG))
    before = (conf / "stages" / "chromate.toml").read_text()
    for replaces in ("", looks_module._sha256(before)):
        form = {"act": "save", "text": text_of(page), "name": "chromate", "replaces": replaces}
        assert chief.post(where, **form).status_code == 403
    assert (conf / "stages" / "chromate.toml").read_text() == before


def test_old_looks_end(
    enter: Callable[..., Browser], context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    boss = enter()
    first, *others = [look_at(boss, ("log.csv", LOG))[0] for _ in range(4)]
    folders = {one.name.removeprefix("look-") for one in context.uploads.folder.iterdir()}
    assert boss.get(first).status_code == 404 and Path(first).name not in folders
    assert {Path(other).name for other in others} <= folders
    monkeypatch.setattr(looks_module, "KEPT_SECONDS", -1)
    context.looks.begin("somebody", [])
    assert list(context.uploads.folder.glob("look-*")) == []


def test_a_large_file_is_named_and_not_shown(
    enter: Callable[..., Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks_module, "SHOWN_BYTES", len(LOG) + 1)
    _, page = look_at(enter(), ("a.csv", LOG), ("b.csv", LOG.replace("7,", "6,")))
    assert "6 of 6 rows" in page and page.count("rows would be stored") == 1
    assert "Not shown here" in page and '<li class="name">b.csv</li>' in page
