"""A lake that was copied or moved: its models are its own, and the original is left alone."""

import hashlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from jobs.options import Options
from jobs.runner import begin
from jobs.train import open_registry, training_context
from lakehouse.errors import PlatelakeError
from lakehouse.landing.sample_plant import make_sample_plant
from lakehouse.settings import load_settings
from ml.moved_lake import embedded_model, is_own, point_here
from ml.registry import Registry
from ml.study.context import Protocol
from ml.study.lots import train_lots
from ml.trees.models import TreeRecipe
from tests.conftest import Chain

NAME = "chromate-lots"


def contents(folder: Path) -> dict[str, str]:
    """Every file below the folder, by its hash; locks hold nothing."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and ".locks" not in file.parts
    }


def train(lake: Path) -> None:
    context = training_context(begin(Options("chromate", lake=str(lake))))
    train_lots(context, [TreeRecipe("decision_tree")], Protocol("kfold", 3, 1), "lot")


def registry(lake: Path) -> Registry:
    return open_registry(begin(Options("chromate", lake=str(lake))))


def every_text(database: Path) -> str:
    with sqlite3.connect(database) as sql:
        return "\n".join(sql.iterdump())


@pytest.mark.heavy  # It trains.
def test_a_copy_has_its_own_models(chain: Chain) -> None:
    shutil.rmtree(chain.landing)
    make_sample_plant(
        chain.landing, days=4, lots_per_day=8, rows_per_lot=12, failed_lots=8, photos=2
    )
    chain("ingest_readings", "ingest_error_lists", "label")
    train(chain.lake_folder)
    before = contents(chain.lake_folder)
    copy = chain.lake_folder.parent / "a copy, 복사"
    shutil.copytree(chain.lake_folder, copy)

    train(copy)
    assert contents(chain.lake_folder) == before
    assert chain.lake_folder.as_uri() not in every_text(copy / "mlflow.db")
    assert f"file:{chain.lake_folder}/" not in every_text(copy / "mlflow.db")
    shutil.move(copy, moved := chain.lake_folder.parent / "moved")
    shutil.rmtree(chain.lake_folder)
    models = registry(moved)
    for number in ("1", "2"):
        assert models.load(f"{NAME}@{number}") is not None
        version = models.need(f"{NAME}@{number}")
        assert models.read_json(version.run_id, "run.json")["by_fold"]
        found = embedded_model(load_settings(lake=str(moved)), f"{NAME}@{number}")
        assert found == (models.content(version), NAME, int(number))
    opened = contents(moved)
    registry(moved)
    assert contents(moved) == opened


SCHEMA = (
    "CREATE TABLE experiments (experiment_id INTEGER, artifact_location TEXT)",
    "CREATE TABLE runs (run_uuid TEXT, artifact_uri TEXT)",
    "CREATE TABLE datasets (dataset_source TEXT)",
)


def database(lake: Path, *experiments: str) -> Path:
    """What matters here of an older MLflow's database; it had no logged models."""
    lake.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(lake / "mlflow.db") as sql:
        for statement in SCHEMA:
            sql.execute(statement)
        sql.executemany("INSERT INTO experiments VALUES (1, ?)", [(one,) for one in experiments])
        runs = [(f"{one}/7/artifacts",) for one in experiments]
        sql.executemany("INSERT INTO runs VALUES ('r', ?)", runs)
    return lake / "mlflow.db"


def paths(file: Path) -> list[Any]:
    with sqlite3.connect(file) as sql:
        return [
            [one for (one,) in sql.execute("SELECT artifact_location FROM experiments")],
            [one for (one,) in sql.execute("SELECT artifact_uri FROM runs")],
        ]


def test_only_what_a_lake_wrote_is_rewritten(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    here = (lake / "mlflow").as_uri()
    others = ["mlflow-artifacts:/1", "file:///data/other", "./mlruns/0", "s3://bucket/mlflow"]
    beside = "file:///old/lake/mlflow-2"
    file = database(lake, "file:///old/lake/mlflow", "file:///older/mlflow", beside, here, *others)
    point_here(lake)
    kept = [beside, here, *others]
    assert paths(file) == [
        [here, here, *kept],
        [f"{one}/7/artifacts" for one in [here, here, *kept]],
    ]


def test_a_setting_may_name_the_lakes_own_database(tmp_path: Path) -> None:
    """That of a copy is rewritten however it is named; another database is left as it is."""
    for lake, own in ((tmp_path, True), (tmp_path / "other", False)):
        settings = load_settings(lake=str(lake), mlflow_uri=f"sqlite:///{tmp_path}/mlflow.db")
        assert is_own(settings.mlflow_address(), lake) is own
    assert is_own(load_settings(lake=str(tmp_path)).mlflow_address(), tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    assert is_own(f"sqlite:///{tmp_path}/link/mlflow.db", tmp_path)


def test_a_lake_without_models_gets_no_database(tmp_path: Path) -> None:
    point_here(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mlflow.db").touch()
    point_here(tmp_path)
    assert (tmp_path / "mlflow.db").stat().st_size == 0


def test_a_database_that_cannot_be_changed_is_said_so(tmp_path: Path) -> None:
    file = database(tmp_path / "lake", "file:///old/lake/mlflow")
    with sqlite3.connect(file) as sql:
        sql.execute("CREATE TRIGGER no BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'no'); END")
    before = file.read_bytes()
    with pytest.raises(PlatelakeError, match="names another folder for its models"):
        point_here(tmp_path / "lake")
    assert file.read_bytes() == before


REGISTERED = (
    "CREATE TABLE registered_model_aliases (name TEXT, alias TEXT, version INTEGER)",
    "CREATE TABLE model_versions (name TEXT, version INTEGER, storage_location TEXT)",
    "CREATE TABLE model_version_tags (name TEXT, version INTEGER, key TEXT, value TEXT)",
    "INSERT INTO registered_model_aliases VALUES ('a', 'champion', 2)",
)


def test_a_model_is_read_without_mlflow_or_left_to_it(tmp_path: Path) -> None:
    settings = load_settings(lake=str(tmp_path))
    assert embedded_model(settings, "a") is None and not (tmp_path / "mlflow.db").exists()
    database(tmp_path)
    assert embedded_model(settings, "a") is None  # An MLflow that keeps its models elsewhere.
    with sqlite3.connect(tmp_path / "mlflow.db") as sql:
        for statement in REGISTERED:
            sql.execute(statement)
        for number in (1, 2, 12):
            folder = tmp_path / f"mlflow/a model {number}"
            folder.mkdir(parents=True)
            (folder / "model.onnx").write_bytes(b"onnx %d" % number)
            sha256 = hashlib.sha256(b"onnx %d" % number).hexdigest()
            sql.execute("INSERT INTO model_versions VALUES ('a', ?, ?)", (number, folder.as_uri()))
            sql.execute(
                "INSERT INTO model_version_tags VALUES ('a', ?, 'sha256', ?)", (number, sha256)
            )
    sql.close()
    for reference, number in {"a": 2, "a@champion": 2, "a@1": 1, "a@2": 2, "a@12": 12}.items():
        assert embedded_model(settings, reference) == (b"onnx %d" % number, "a", number), reference
    for reference in ("b", "a@3", "a@challenger", ""):
        assert embedded_model(settings, reference) is None, reference
    (tmp_path / "mlflow/a model 2/model.onnx").write_bytes(b"other")
    assert embedded_model(settings, "a") is None  # The registry says what is wrong.
    (tmp_path / "mlflow/a model 1/model.onnx").unlink()
    assert embedded_model(settings, "a@1") is None
    server = load_settings(lake=str(tmp_path), mlflow_uri="http://mlflow.test")
    assert embedded_model(server, "a@12") is None
