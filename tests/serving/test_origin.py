"""Where a verdict comes from: the same steps on the pages and on the command line."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from jobs.cli.main import invoke
from lakehouse.delta.lake import Lake
from lakehouse.tables.lots import LOTS
from lakehouse.tables.runs import RUNS
from ml.registry import Registry
from serving.app import create_app
from serving.context import AppContext
from serving.origin import SHOWN, Step, of_inspection, of_lot
from serving.texts import texts
from tests.serving.conftest import Browser, Plant
from tests.serving.test_app import png

pytestmark = pytest.mark.heavy

Enter = Callable[..., Browser]


def by_name(steps: list[Any]) -> dict[str, Any]:
    return {one.name if isinstance(one, Step) else one["step"]: one for one in steps}


@pytest.fixture
def explained(plant: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """What the command prints."""

    def run(asked: str, *more: str, code: int = 0, sql: str = "") -> str:
        place = ["--stage", "chromate", "--lake", str(plant.lake)]
        url = sql or f"sqlite:///{tmp_path / 'app.db'}"
        capsys.readouterr()
        assert invoke(["explain-verdict", asked, *place, "--sql-url", url, *more]) == code
        printed = capsys.readouterr()
        return printed.err if code else printed.out

    return run


def test_from_an_inspection_to_file_run_model_data_and_split(
    enter: Enter, plant: Plant, context: AppContext, explained: Any
) -> None:
    kim, lee = enter(), enter("lee", "reviewer")
    inspection = kim.inspected(plant.bad[0])
    kim.post(f"/inspections/{inspection}/corrections", says="good", reason="a trick of the light")
    (run,) = context.first.lots.lake.rows(RUNS, "run_id")
    folded = lee.get(f"/inspections/{inspection}").text
    assert "Where this verdict comes from" in folded and run["run_id"] not in folded
    page = lee.get(f"/inspections/{inspection}?origin=1").text
    steps = by_name(json.loads(explained(inspection, "--json"))["steps"])
    (model,), (split,) = steps["model"]["rows"], steps["splits"]["rows"]
    file = f"photos/bad/{plant.bad[0].name}"
    assert file in {row["file"] for row in steps["files"]["rows"]}
    assert [row["run_id"] for row in steps["runs"]["rows"]] == [run["run_id"]]
    assert model["model_sha256"] == context.first.photo_champion.model.sha256
    history = context.first.photo_champion.honest.promoted  # Other tests promote this plant's, too.
    assert model["promoted_by"] == history["by"] == "test"
    assert model["promoted_reason"] == history["reason"] != ""
    assert "pictures" in model["data_versions"] and split["label"] == 1
    for value in (file, run["run_id"], model["mlflow_run"], model["data_versions"], "test"):
        assert value in page
    assert split["split_id"] in page and "inspections?model_version=1" in page
    assert "a trick of the light" not in page  # The review is blind here too.
    said = explained(inspection)
    assert " UTC\n" in said
    assert "a trick of the light" in said and f"Split: {split['split_id']}" in said
    assert by_name(json.loads(explained(str(plant_sha256(plant)), "--json"))["steps"])["files"]


def plant_sha256(plant: Plant) -> str:
    import hashlib

    return hashlib.sha256(plant.bad[0].read_bytes()).hexdigest()


def test_what_is_not_there_is_said(
    enter: Enter, context: AppContext, explained: Any, tmp_path: Path
) -> None:
    kim = enter()
    found = kim.inspect_upload(("new.png", png(64, 64))).json()["results"][0]["verdict"]
    inspection = found["inspection_id"]
    page = kim.get(f"/inspections/{inspection}?origin=1").text
    assert "not in the lake yet" in page and "No file with this photo was read yet." in page
    steps = by_name(json.loads(explained(inspection, "--json"))["steps"])
    assert steps["photo"]["missing"] == steps["splits"]["missing"] == "not_ingested"
    assert steps["corrections"]["missing"] == "not_corrected"
    assert "no inspection 'nothing'" in explained("nothing", code=2)
    assert "no day" in explained("2021-13-01/1", code=2)
    away = "mysql+pymysql://nobody@127.0.0.1:9/none"
    assert "database of the app cannot be reached" in explained("2021-01-01/1", sql=away)
    one = vars(context.records.find(inspection))
    sources = context.first.sources
    other = by_name(of_inspection(sources, {**one, "model_sha256": "0" * 64}))
    assert other["model"].missing == "other_model" and "splits" not in other
    gone = by_name(of_inspection(sources, {**one, "model_version": 99}))
    assert gone["model"].missing == "no_version"
    unread = by_name(of_inspection(replace(sources, registry=Registry("http://127.0.0.1:9")), one))
    assert unread["model"].missing == "mlflow_away"
    empty = Lake(str(tmp_path / "empty"), "chromate", lambda: pytest.fail("no Spark"))
    none = of_lot(replace(sources, lake=empty), date(2021, 1, 1), "1")
    assert [one.missing for one in none] == ["no_lot", "no_lot_files", "not_scored"]


def test_from_a_lot_to_files_verdict_and_model(
    enter: Enter, plant: Plant, context: AppContext, explained: Any
) -> None:
    lot = context.first.lots.lake.rows(LOTS, "day", "lot")[0]
    asked = f"{lot['day']}/{lot['lot']}"
    kim = enter()
    kim.inspect_upload(plant.good[0], lot=asked)
    steps = by_name(json.loads(explained(asked, "--json"))["steps"])
    (file,), (verdict,) = steps["files"]["rows"], steps["verdicts"]["rows"]
    (model,), (seen,) = steps["model"]["rows"], steps["inspections"]["rows"]
    assert model["model"] == verdict["model"] == "chromate-lots"
    assert model["model_sha256"] == context.first.lot_champion.model.sha256
    assert seen["file_name"] == plant.good[0].name and steps["splits"]["rows"]
    page = kim.get(f"/lots/{asked}?origin=1").text
    assert file["file"] in page and model["data_versions"] in page
    assert seen["inspection_id"] in page  # From a lot to its photos.


def test_mlflow_away_is_said_on_the_page(
    make_context: Callable[..., AppContext], plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_context()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    context = make_context(registry=Registry("http://127.0.0.1:9"))
    kim = Browser(create_app(context, gradio=False), context, "kim")
    page = kim.get(f"/inspections/{kim.inspected(plant.good[0])}?origin=1")
    assert page.status_code == 200 and "MLflow cannot be reached now." in page.text


def test_every_step_and_column_has_its_words() -> None:
    known = set(texts("ko").sentences)
    assert {f"origin_step.{step}" for step in SHOWN} <= known
    assert {f"origin_column.{one}" for columns in SHOWN.values() for one in columns} <= known
