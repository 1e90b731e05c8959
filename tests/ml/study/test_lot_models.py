"""Lot models from lake to champion and back: one small plant, every step on the real MLflow."""

import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest

from jobs.options import Options
from jobs.runner import begin
from jobs.train import open_registry, training_context
from lakehouse.errors import PlatelakeError, QualityGateError, UsageError
from lakehouse.landing.sample_plant import make_sample_plant
from lakehouse.statistics import lot_statistics
from lakehouse.tables.lot_verdicts import LOT_VERDICTS
from lakehouse.tables.lots import LOTS
from lakehouse.tables.readings import readings
from ml.data.lots import as_matrix, feature_names, lot_frame
from ml.data.splits import make_split
from ml.figures.metrics import Interval
from ml.figures.predictions import PREDICTIONS_FILE
from ml.onnx import ExportError, check_equal, trees_to_onnx, with_card
from ml.registry import Registry, Version
from ml.study import lots as train_lots_module
from ml.study.candidates import log_study
from ml.study.context import Protocol, TrainingContext
from ml.study.lots import train_lots
from ml.study.promotion import DECIDES, Comparison, compare, promote, rollback
from ml.study.reproduction import predict_again, reproduce
from ml.trees.models import KINDS, TreeRecipe, fit_trees
from ml.use.explain import explain_lot
from ml.use.predictor import LotModel
from ml.use.score import score_lots
from tests.conftest import Chain

pytestmark = pytest.mark.heavy

PROTOCOL = Protocol("kfold", 3, 2)
NAME = "chromate-lots"
BETTER = Interval(0.2, 0.1, 0.3)
RECIPES = [TreeRecipe("decision_tree"), TreeRecipe("logistic")]


@pytest.fixture(scope="module")
def plant(module_chain: Chain) -> Chain:
    shutil.rmtree(module_chain.landing)
    make_sample_plant(
        module_chain.landing, days=6, lots_per_day=8, rows_per_lot=24, failed_lots=8, photos=2
    )
    module_chain("ingest_readings", "ingest_error_lists", "label")
    return module_chain


@pytest.fixture(scope="module")
def context(plant: Chain) -> TrainingContext:
    return training_context(begin(Options("chromate", lake=str(plant.lake_folder))))


@pytest.fixture(scope="module")
def first(context: TrainingContext) -> Version:
    return train_lots(context, RECIPES, PROTOCOL, "lot")


def test_a_study_is_one_parent_with_a_run_a_candidate(
    context: TrainingContext, first: Version
) -> None:
    runs = context.registry.runs(NAME)
    assert {run["status"] for run in runs} == {"FINISHED"}
    (parent,) = [run for run in runs if "candidate" not in run["tags"]]
    children = [run for run in runs if run["tags"].get("mlflow.parentRunId") == parent["id"]]
    assert {run["tags"]["candidate"] for run in children} == {"decision_tree", "logistic"}
    for run in children:
        assert {"ap", "ap_low", "ap_high", "auroc", "brier", "cost", "recall_at_5_fpr"} <= set(
            run["metrics"]
        )
        assert run["metrics"]["fold_overlap"] == 0
        assert json.loads(run["tags"]["recipe"])["kind"] == run["tags"]["candidate"]
        commit = run["tags"]["git_commit"].partition("-changed-")[0]
        assert len(commit) == 40 or commit == "unknown"
        assert run["tags"]["process"] == str(os.getpid())


def test_a_run_names_the_delta_versions_it_learned_from(
    context: TrainingContext, first: Version
) -> None:
    inputs = context.registry._client.get_run(first.run_id).inputs.dataset_inputs
    found = {
        one.dataset.name: json.loads(one.dataset.source)["delta_table_version"] for one in inputs
    }
    lake, table = context.lake, readings(context.stage)
    assert found == {"readings": lake.version(table), "lots": lake.version(LOTS)}


def test_people_find_in_mlflow_what_a_study_found(context: TrainingContext, first: Version) -> None:
    client = context.registry._client
    experiment = client.get_experiment_by_name(NAME)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert "platelake train" in experiment.tags["mlflow.note.content"]
    runs = context.registry.runs(NAME)
    parent = next(run for run in runs if run["params"].get("challenger") == str(first))
    winner = next(run for run in runs if run["id"] == first.run_id)
    name = winner["tags"]["candidate"]
    assert parent["params"]["winner"] == parent["tags"]["winner"] == name
    assert parent["metrics"]["ap"] == winner["metrics"]["ap"]  # Or its charts are empty.
    assert parent["params"]["protocol"] == winner["params"]["protocol"] == PROTOCOL.name
    assert f"**{name}**" in winner["tags"]["mlflow.note.content"]
    assert "The best of" in parent["tags"]["mlflow.note.content"]
    for run in (run for run in runs if "candidate" in run["tags"]):
        own = KINDS[run["tags"]["candidate"]].params  # Not only what the recipe changes.
        assert {key: str(value) for key, value in own.items()}.items() <= run["params"].items()
    version = client.get_model_version(NAME, str(first.number))
    assert version.tags["ap"] == f"{winner['metrics']['ap']:.4f}"
    assert {"threshold_low", "threshold_high", "data_versions", "git_commit"} <= set(version.tags)
    assert f"**{name}**" in version.description
    assert "alias champion" in client.get_registered_model(NAME).description


def test_plots_and_figures_by_fold_are_kept(context: TrainingContext, first: Version) -> None:
    names = {file.path for file in context.registry._client.list_artifacts(first.run_id)}
    expected = {"pr", "roc", "calibration", "confusion", "cost", "importance"}
    assert {f"{name}.png" for name in expected} <= names
    by_fold = context.registry.read_json(first.run_id, "run.json")["by_fold"]
    rounds = PROTOCOL.folds * PROTOCOL.seeds
    for name in ("ap_by_fold", "cost_by_fold"):
        assert len(by_fold[name]) == rounds
        logged = context.registry._client.get_metric_history(first.run_id, name)
        assert [one.value for one in sorted(logged, key=lambda one: one.step)] == by_fold[name]
    parent = context.registry.runs(NAME)[-1]
    report = {file.path for file in context.registry._client.list_artifacts(parent["id"])}
    assert {"correlation.png", "readings_ph.png"} <= report
    for run in context.registry.runs(NAME, "tags.candidate LIKE '%'"):
        files = {file.path for file in context.registry._client.list_artifacts(run["id"])}
        assert "shap.png" in files, run["name"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_of_every_kind_does_what_the_model_does(
    context: TrainingContext, kind: str
) -> None:
    frame = lot_frame(context.lake, context.stage)
    split = make_split("lots", frame.split_items(), frame.versions, folds=3)
    everything = np.arange(len(frame.lots))
    small = {"n_estimators": 20} if "n_estimators" in KINDS[kind].params else {}
    fitted = fit_trees(TreeRecipe(kind, params=small), frame, split, everything)
    trees_to_onnx(fitted, frame.features(fitted.bands))  # raises ExportError unless equal


def test_a_file_that_differs_is_not_logged() -> None:
    with pytest.raises(ExportError, match=r"differs from the model by 0\.001"):
        check_equal([0.5], [0.501], "tree")


@pytest.mark.parametrize("kind", ["extra_trees", "lightgbm"])
def test_training_is_deterministic_and_bands_know_training_lots_only(
    context: TrainingContext, kind: str
) -> None:
    frame = lot_frame(context.lake, context.stage)
    split = make_split("lots", frame.split_items(), frame.versions, folds=3)
    one = next(split.rounds())
    recipe = TreeRecipe(kind, params={"n_estimators": 20})
    fitted, again = (fit_trees(recipe, frame, split, one.train) for _ in range(2))
    assert np.array_equal(fitted.predict(frame, one.test), again.predict(frame, one.test))
    # Readings of judged lots may be anything: bands and model stay as they are.
    is_judged = frame.groups.spread(np.isin(np.arange(len(frame.lots)), one.test))
    wild = {name: np.where(is_judged, x * 1e3, x) for name, x in frame.columns.items()}
    other = fit_trees(recipe, replace(frame, columns=wild), split, one.train)
    assert other.bands == fitted.bands
    assert np.array_equal(other.predict(frame, one.train), fitted.predict(frame, one.train))


def test_a_search_stays_within_the_training_lots(context: TrainingContext) -> None:
    frame = lot_frame(context.lake, context.stage)
    split = make_split("lots", frame.split_items(), frame.versions, folds=3)
    one = next(split.rounds())
    recipe = TreeRecipe("decision_tree", trials=3)
    hidden = replace(frame, labels=np.where(np.isin(np.arange(48), one.test), -1, frame.labels))
    fitted, blind = (fit_trees(recipe, f, split, one.train) for f in (frame, hidden))
    assert fitted.recipe == blind.recipe and fitted.recipe.trials == 0
    assert fitted.trials == blind.trials and len(fitted.trials) == 3


def test_first_champion_then_only_the_better(context: TrainingContext, first: Version) -> None:
    def evaluated(version: Version, splits: list[str]) -> Any:
        return predict_again(context, version, splits)

    registry = context.registry
    record = promote(registry, compare(registry, first, evaluated), None, "tester")
    assert record["reason"] == "first champion"
    assert registry.version(NAME) == first
    second = train_lots(context, RECIPES, PROTOCOL, "lot")
    found = compare(registry, second, evaluated)
    assert found.differences[DECIDES] == Interval(0, 0, 0)  # the same recipe on the same items
    with pytest.raises(PlatelakeError, match=r"is not shown to be better.*\+0.000"):
        promote(registry, found, None, "tester")
    assert registry.version(NAME) == first
    record = promote(registry, found, "the line was rebuilt", "tester")
    assert record["forced"] and record["reason"] == "the line was rebuilt"
    assert registry.version(NAME) == second
    assert rollback(registry, NAME, "too many reviews", "tester") == first
    assert [r["action"] for r in registry.history(NAME)] == ["promote", "promote", "rollback"]
    with pytest.raises(UsageError, match="nothing to go back to"):
        rollback(registry, NAME, "again", "tester")


def test_a_better_challenger_is_promoted() -> None:
    champion, challenger = (Version(NAME, n, "run", "") for n in (1, 2))
    better = {DECIDES: Interval(0.2, 0.05, 0.3)}
    assert Comparison(challenger, champion, [], better).is_better
    assert not Comparison(challenger, champion, [], {DECIDES: Interval(0.2, -0.01, 0.3)}).is_better


def test_a_recipe_can_be_judged_on_other_splits(context: TrainingContext, first: Version) -> None:
    logged = context.registry.read_json(first.run_id, PREDICTIONS_FILE)
    again = predict_again(context, first, logged["splits"])
    assert again["p"] == logged["p"]


def test_spark_and_process_say_the_same_and_a_second_scoring_nothing(
    context: TrainingContext, first: Version, plant: Chain
) -> None:
    registry, lake = context.registry, context.lake
    model = registry.load(f"{NAME}@{first.number}")
    frame = lot_frame(lake, context.stage)
    assert score_lots(lake, context.stage, model) == len(frame.lots)
    rows = {(r["day"], r["lot"]): r for r in lake.rows(LOT_VERDICTS)}
    for day, lot, values, verdict in zip(
        frame.days, frame.lots, frame.values, model.predict(frame.values), strict=True
    ):
        row = rows[day, lot]
        assert (row["verdict"], row["model_version"]) == (verdict.verdict, first.number)
        assert row["probability"] == pytest.approx(verdict.probability, abs=1e-6)
        features = as_matrix([lot_statistics(values, model.bands)], model.variables)
        assert features.shape == (1, len(feature_names(model.variables)))
    before = lake.version(LOT_VERDICTS)
    assert score_lots(lake, context.stage, model) == 0
    assert lake.version(LOT_VERDICTS) == before
    # Another server counts its versions anew: the same number is not the same model.
    card = json.loads(json.dumps(model.card)) | {"stage": "elsewhere"}
    other = LotModel(with_card(model.content, card), NAME, model.version)
    assert score_lots(lake, context.stage, other) == len(frame.lots)
    assert {row["model_sha256"] for row in lake.rows(LOT_VERDICTS)} == {other.sha256}
    score_lots(lake, context.stage, model)


def test_explanations_at_once_are_the_same_as_one_alone(
    context: TrainingContext, first: Version
) -> None:
    model = context.registry.load(f"{NAME}@challenger")
    assert isinstance(model, LotModel)
    [lot, *_] = context.lake.rows(LOTS, "day", "lot")

    def explained(_: int) -> Any:
        return explain_lot(context.lake, context.stage, model, lot["day"], lot["lot"])[1]

    alone = explained(0)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(explained, range(8))) == [alone] * 8


def test_a_model_is_reproduced(context: TrainingContext, first: Version) -> None:
    found = reproduce(context, first)
    assert found.is_equal and found.largest_difference == 0


def test_data_that_is_not_what_was_trained_on_is_refused(
    context: TrainingContext, first: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ml.study import reproduction as module

    def other(*args: Any) -> Any:
        frame = lot_frame(*args)
        return replace(frame, labels=1 - frame.labels)

    monkeypatch.setattr(module, "lot_frame", other)
    with pytest.raises(QualityGateError, match="is not what it was trained on"):
        reproduce(context, first)


def test_an_altered_file_is_refused(context: TrainingContext) -> None:
    version = train_lots(context, RECIPES[:1], Protocol("kfold", 3, 1), "lot")
    stored = [
        file
        for file in Path(str(context.registry._artifacts).removeprefix("file://")).rglob(
            "model.onnx"
        )
        if file.stat().st_mtime > time.time() - 600
    ]
    newest = max(stored, key=lambda file: file.stat().st_mtime_ns)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with pytest.raises(PlatelakeError, match="is not the one that was registered"):
        context.registry.load(f"{NAME}@{version.number}")


def test_a_hostile_pickle_is_not_run(context: TrainingContext, tmp_path: Path) -> None:
    """Neither by us, who read ONNX only, nor by MLflow's own loaders."""
    import mlflow
    import sklearn.linear_model

    from ml.use.predictor import open_model

    mark = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(mark),)

    with pytest.raises(PlatelakeError, match="is not an ONNX file that can be run"):
        open_model(pickle.dumps(Hostile()), "hostile", 1)
    folder = tmp_path / "model"
    mlflow.sklearn.save_model(
        sklearn.linear_model.LogisticRegression(),
        folder,
        serialization_format="pickle",
        pip_requirements=[],
    )
    (folder / "model.pkl").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(Exception, match=r"(?i)pickle"):
        mlflow.sklearn.load_model(str(folder))
    assert not mark.exists()


def test_mlflow_away_at_the_end_costs_no_training(
    context: TrainingContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(registry: Registry, *_: Any) -> str:
        raise registry._away(OSError("gone"))

    log_model = Registry.log_model
    monkeypatch.setattr(Registry, "log_model", gone)
    with pytest.raises(PlatelakeError, match=r"the trained models are kept in .*: `plate") as e:
        train_lots(context, RECIPES[:1], Protocol("kfold", 3, 1), "lot")
    assert context.registry.runs(NAME)[0]["status"] == "FAILED"
    monkeypatch.setattr(Registry, "log_model", log_model)
    folder = Path(str(e.value).split("kept in ")[1].split(": `")[0])
    with context.registry.run(NAME, "later", {}) as run_id:
        assert log_study(context.registry, folder, run_id).number > 1


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A tracking server of its own process, with database and artifacts in the folder."""
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    kept = ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    kept += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "server.log").open("ab") as log:
        command = [sys.executable, "-m", "mlflow", "server", *where, *kept]
        env = dict(os.environ, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
        server = subprocess.Popen(command, stdout=log, stderr=log, env=env, start_new_session=True)
    try:
        end = time.monotonic() + 120
        while not answers(port):
            assert server.poll() is None and time.monotonic() < end, log.name
            time.sleep(0.2)
        yield server
    finally:
        kill_group(server)


def answers(port: int) -> bool:
    with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """As the power going off: the server and its workers."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_server_killed_in_the_middle_costs_no_training(
    context: TrainingContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    registry = Registry(f"http://127.0.0.1:{port}")
    there = replace(context, registry=registry)
    fit_trees_as_ever = train_lots_module.fit_trees
    with mlflow_server(tmp_path, port) as server:

        def killed_meanwhile(*given: Any) -> Any:
            kill_group(server)
            return fit_trees_as_ever(*given)

        monkeypatch.setattr(train_lots_module, "fit_trees", killed_meanwhile)
        with pytest.raises(PlatelakeError, match=r"the trained models are kept in ") as e:
            train_lots(there, RECIPES[:1], Protocol("kfold", 3, 1), "lot")
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = Path(str(e.value).split("kept in ")[1].split(": `")[0])
    with mlflow_server(tmp_path, port):
        assert registry.mark_killed(NAME, lambda tags: True) == 1  # As the next training does.
        with registry.run(NAME, folder.name, {}) as run_id:
            version = log_study(registry, folder, run_id)
        # It speaks with that server alone, and a model comes back from it as it went.
        assert registry.need(f"{NAME}@challenger") == version
        assert registry.content(version) == registry.content(registry.need(f"{NAME}@1"))
        states = {run["name"]: run["status"] for run in registry.runs(NAME)}
        assert states[folder.name] == "FINISHED" and "RUNNING" not in states.values()
    assert folder.name not in {run["name"] for run in context.registry.runs(NAME)}


def test_a_server_that_is_not_there_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    try:
        registry = Registry("http://user:secret@127.0.0.1:9")
        told = r"MLflow at http://127\.0\.0\.1:9 cannot be used"
        with pytest.raises(PlatelakeError, match=told) as caught:
            registry.runs(NAME)
        assert "secret" not in "".join(traceback.format_exception(caught.value))
    finally:
        mlflow.set_tracking_uri(before)


KILLED = """
import sys, time
from jobs.options import Options
from jobs.runner import begin
from jobs.train import training_context
from ml.study import lots
from ml.study.context import Protocol
from ml.trees.models import TreeRecipe
lots.fit_trees = lambda *a: (print("training", flush=True), time.sleep(60))
context = training_context(begin(Options("chromate", lake=sys.argv[1])))
lots.train_lots(context, [TreeRecipe("decision_tree")], Protocol("kfold", 3, 1), "lot")
"""


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_training_ends_as_killed(
    context: TrainingContext, plant: Chain, signal_: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(plant.lake_folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PLATELAKE_CONF": str(Path(__file__).parents[3] / "conf")},
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert "training" in process.stdout.readline()
    process.send_signal(signal_)
    process.wait(60)
    if signal_ == signal.SIGKILL:  # Nobody could say so then; the next training does.
        assert context.registry.runs(NAME)[0]["status"] == "RUNNING"
        train_lots(context, RECIPES[:1], Protocol("kfold", 3, 1), "lot")
    states = [run["status"] for run in context.registry.runs(NAME)]
    assert "RUNNING" not in states and "KILLED" in states


@pytest.mark.parametrize(
    ("recipe", "protocol", "group", "said"),
    [
        (TreeRecipe("forest"), PROTOCOL, "lot", "no model kind 'forest'; known: decision_tree"),
        (
            RECIPES[0],
            Protocol("kfold", 40, 1),
            "lot",
            "8 groups of lots are bad, fewer than",
        ),
        (RECIPES[0], Protocol("random"), "lot", "no protocol 'random'"),
    ],
)
def test_what_cannot_be_trained_is_said_and_leaves_no_run(
    context: TrainingContext, recipe: TreeRecipe, protocol: Protocol, group: str, said: str
) -> None:
    before = len(context.registry.runs(NAME))
    with pytest.raises(UsageError, match=said):
        train_lots(context, [recipe], protocol, group)
    assert len(context.registry.runs(NAME)) == before


def test_a_vacuumed_version_is_said_so(context: TrainingContext, plant: Chain) -> None:
    table = readings(context.stage)
    files = context.lake.live_files(table)
    hidden = [(Path(f), Path(f"{f}.hidden")) for f in files]
    for file, away in hidden:
        file.rename(away)
    try:
        with pytest.raises(PlatelakeError, match="of table readings is no longer there"):
            lot_frame(context.lake, context.stage)
    finally:
        for file, away in hidden:
            away.rename(file)


def test_an_empty_lake_is_said_so(chain: Chain) -> None:
    work = begin(Options("chromate", lake=str(chain.lake_folder)))
    with pytest.raises(UsageError, match="has no lots to learn from"):
        lot_frame(work.lake, work.stage)
    with pytest.raises(UsageError, match="MLflow has no chromate-lots@champion"):
        open_registry(work).need(NAME)


def test_trials_of_a_search_are_runs_below_the_candidates(context: TrainingContext) -> None:
    recipe = TreeRecipe("decision_tree", trials=2)
    version = train_lots(context, [recipe], Protocol("kfold", 3, 1), "lot")
    below = f"tags.`mlflow.parentRunId` = '{version.run_id}'"
    runs = context.registry.runs(NAME, below)
    assert {run["name"] for run in runs} == {"trial 0", "trial 1"}
    assert all({"width", "max_depth"} == set(run["params"]) for run in runs)
    assert all(0 <= run["metrics"]["inner_ap"] <= 1 for run in runs)
    # The champion was judged on other splits: its recipe is trained on these.
    assert context.registry.read_json(version.run_id, PREDICTIONS_FILE)[
        "splits"
    ] != champion_splits(context)
    found = compare(context.registry, version, lambda *given: predict_again(context, *given))
    assert set(found.differences) >= {"ap", "auroc"}
    champion = context.registry.need(NAME)
    with pytest.raises(PlatelakeError, match="saves nothing: it decides"):  # Few lots, one tree.
        promote(context.registry, replace(found, differences={DECIDES: BETTER}), None, "tester")
    better = replace(found, differences={DECIDES: BETTER}, metrics={})
    assert promote(context.registry, better, None, "tester")["forced"] is False
    assert context.registry.need(NAME) == version
    assert rollback(context.registry, NAME, "a try", "tester") == champion


def champion_splits(context: TrainingContext) -> Any:
    champion = context.registry.need(NAME)
    return context.registry.read_json(champion.run_id, PREDICTIONS_FILE)["splits"]
