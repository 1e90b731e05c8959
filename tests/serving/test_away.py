"""SQL or MLflow away: verdicts go on, wait on the disk, and come to SQL once."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml.registry import Registry, registry_of
from serving.app import create_app
from serving.context import AppContext
from serving.records.outbox import Outbox
from serving.tables import inspections
from serving.verdicts.champion import Champion
from tests.mariadb import MariaDB, running_mariadb
from tests.serving.conftest import Browser, Plant

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDB]:
    """One that may be stopped."""
    with running_mariadb() as found:
        yield found


def kept(context: AppContext) -> list[str]:
    with context.accounts.database.transaction() as connection:
        return list(connection.scalars(sa.select(inspections.c.inspection_id)))


def test_sql_away(server: MariaDB, make_context: Callable[..., AppContext], plant: Plant) -> None:
    with server.database() as url:
        context = make_context(sql_url=url)
        app = create_app(context, gradio=False)
        kim, lee = Browser(app, context, "kim"), Browser(app, context, "lee")
        token = context.accounts.token("lee", "test")
        bearer = {"authorization": f"Bearer {token}"}
        lee.http.get("/api/inspections/x", headers=bearer)
        assert lee.get("/account").status_code == 200
        session = str(next(iter(lee.http.cookies.jar)).value)
        before = kim.inspected(plant.good[0])
        server.stop()
        try:
            answer = kim.inspect_upload(plant.bad[0], plant.good[1])
            assert answer.status_code == 200
            ids = [one["verdict"]["inspection_id"] for one in answer.json()["results"]]
            assert context.outbox.count() == 2
            page = kim.get(f"/inspections/{ids[0]}")
            assert page.status_code == 200 and "The database cannot be reached" in page.text
            assert kim.get(f"/inspections/{ids[0]}/heat.jpg").status_code == 200
            assert lee.get(f"/inspections/{ids[0]}").status_code == 403
            machine = lee.inspect_upload(plant.bad[1], headers=bearer).json()["results"][0][
                "verdict"
            ]
            history = kim.get("/inspections")
            assert history.status_code == 503 and "Verdicts continue" in history.text
            stranger = Browser(app, context)
            stranger.name = "kim"
            assert stranger.log_in().status_code == 503
            stranger.http.cookies.set(context.cookie, "guessed")
            assert stranger.get("/inspections").status_code == 503
            assert kim.get("/inspections.csv").status_code == 503
            assert (
                lee.http.post("/logout", data={"csrf": token_of(context, lee)}).status_code == 303
            )
            assert lee.get("/account").status_code == 303  # Out, though SQL does not know it yet.
            context.look_around()
            assert context.sql_away and 'sql":"away' in kim.get("/readyz").text
            waiting = Outbox(context.settings.app_address() / "outbox.db")  # As a restart finds it.
            assert waiting.count() == 3
            waiting.close()
        finally:
            server.start()
        context.outbox.put("again", inspections.name, asdict(found(context, before)))
        poison = asdict(found(context, before)) | {"inspection_id": "poison", "lot": "1" * 300}
        with context.outbox._connection:  # In front of the others.
            context.outbox._connection.execute("UPDATE waiting SET rowid = rowid + 1000")
        context.outbox.put("poison", inspections.name, poison)
        context.look_around()
        assert context.outbox.count() == 1  # It holds no other back.
        context.outbox.drop("poison")
        assert context.accounts.user(session) is None
        assert not context.sql_away and context.outbox.count() == 0
        assert sorted(kept(context)) == sorted([before, *ids, machine["inspection_id"]])
        context.look_around()
        assert len(kept(context)) == 4
        assert "The database cannot be reached" not in kim.get("/inspections").text
        assert "3 found" in kim.get("/inspections").text


def token_of(context: AppContext, browser: Browser) -> str:
    (user,) = (u for (_, _), (u, _) in context.visitors._last.items() if u.csrf and u.name == "lee")
    return user.csrf


def found(context: AppContext, inspection_id: str) -> Any:
    one = context.records.find(inspection_id)
    assert one
    return one


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A tracking server that is not there."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return Registry("http://127.0.0.1:9")


def test_mlflow_away(make_context: Callable[..., AppContext], plant: Plant, away: Registry) -> None:
    first = make_context()
    context = make_context(registry=away)  # As if the app had restarted.
    assert context.mlflow_away and context.first.photo_champion.model is not None
    assert context.first.photo_champion.model.sha256 == first.first.photo_champion.model.sha256
    assert context.first.photo_champion.honest == first.first.photo_champion.honest
    kim = Browser(create_app(context, gradio=False), context, "kim")
    assert kim.inspect_upload(plant.bad[0]).json()["results"][0]["verdict"]["verdict"] == "bad"
    page = kim.get("/models").text
    assert "The model registry cannot be reached" in page and "chromate-photos, version 1" in page


def test_a_kept_champion_that_was_changed_is_not_used(
    make_context: Callable[..., AppContext], away: Registry, tmp_path: Path
) -> None:
    make_context()
    file = tmp_path / "app" / "champions" / "chromate-photos.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert make_context(registry=away).first.photo_champion.model is None


def test_the_champion_changes_without_a_pause(
    context: AppContext, plant: Plant, tmp_path: Path
) -> None:
    registry = registry_of(context.settings)
    version = registry.need("chromate-photos")
    content = registry.content(version)
    uri = f"models:/{version.name}/{version.number}"
    champion = Champion(registry, "chromate-photos", tmp_path / "own")
    champion.refresh()
    first = champion.model
    champion.refresh()
    assert champion.model is first  # Nothing is loaded again.
    second = registry.register(version.name, _model_uri(registry, uri), version.run_id, content)
    registry.move_champion(second, {"reason": "a test", "by": "test", "at": "now"})
    try:
        assert champion.model is first
        champion.refresh()
        assert champion.model.version == second.number and champion.reachable
        assert champion.honest.promoted["reason"] == "a test"
        photo = plant.bad[0].read_bytes()
        assert champion.model.predict([photo], context.settings)[0].version == second.number
    finally:
        registry.move_champion(version, {"reason": "back", "by": "test", "at": "now"})
    champion.refresh()
    assert champion.model.version == version.number


def _model_uri(registry: Registry, uri: str) -> str:
    found = registry._client.get_model_version(*uri.removeprefix("models:/").split("/"))
    return str(found.source)


def test_a_look_around_is_taken_again_and_again(context: AppContext, plant: Plant) -> None:
    from starlette.testclient import TestClient

    with TestClient(create_app(context, look_seconds=0.05, gradio=False)):
        kim = Browser(create_app(context, gradio=False), context, "kim")
        row = asdict(found(context, kim.inspected(plant.good[0])))
        context.outbox.put("late", inspections.name, row | {"inspection_id": "late"})
        deadline = time.monotonic() + 20
        while context.outbox.count() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "late" in kept(context)
