"""Photo models from lake to verdict: one small plant, every step on the real MLflow and Spark."""

import json
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.cli.main import invoke
from jobs.options import Options
from jobs.runner import begin
from jobs.train import read_groups, training_context
from lakehouse.errors import UsageError
from lakehouse.tables.photo_verdicts import PHOTO_VERDICTS
from lakehouse.tables.pictures import PICTURES
from ml.data.pictures import picture_frame
from ml.data.splits import make_split
from ml.photos.recipe import CnnRecipe
from ml.photos.training import fit_cnn
from ml.registry import Version
from ml.study import photos as train_photos_module
from ml.study.context import Protocol, TrainingContext
from ml.study.photos import photo_candidate, train_photos
from ml.study.promotion import compare, promote
from ml.study.reproduction import reproduce
from ml.use.predictor import UNREADABLE, PhotoModel
from ml.use.score import score_photos
from tests.conftest import Chain
from tests.plant import write_sensor

pytestmark = pytest.mark.heavy

NAME = "chromate-photos"
RECIPE = CnnRecipe(members=2, epochs=2, steps=0, batch=8, bfloat16=False)
STAGE = (Path(__file__).parents[3] / "conf" / "stages" / "chromate.toml").read_text()


def draw(seed: int, bad: bool) -> Image.Image:
    """A plate of texture; a bad one has a dark stain."""
    random = np.random.default_rng(seed)
    pixels = random.normal(150, 15, (48, 64, 3))
    if bad:
        x, y = random.integers(4, 30, 2)
        pixels[y : y + 14, x : x + 14] -= 100
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def plant(module_chain: Chain) -> Chain:
    landing = module_chain.landing
    for label in ("good", "bad"):
        (landing / "photos" / label).mkdir(parents=True)
    for at in range(24):
        label = ("good", "bad")[at % 2]
        draw(at, label == "bad").save(landing / "photos" / label / f"part {at}.png")
    from datetime import date

    write_sensor(landing, date(2021, 9, 6))
    stage = landing.with_name("small.toml")
    stage.write_text(
        STAGE.replace("width = 224", "width = 64").replace("height = 224", "height = 48")
    )
    module_chain.options |= {"stage_file": stage}
    module_chain("ingest_photos")
    return module_chain


@pytest.fixture(scope="module")
def context(plant: Chain) -> TrainingContext:
    stage_file = plant.options["stage_file"]
    return training_context(begin(Options("chromate", stage_file, lake=str(plant.lake_folder))))


@pytest.fixture(scope="module")
def first(context: TrainingContext) -> Version:
    return train_photos(context, [RECIPE], Protocol("kfold", 2, 1))


@pytest.fixture(scope="module")
def model(context: TrainingContext, first: Version) -> PhotoModel:
    found = context.registry.load(f"{NAME}@{first.number}")
    assert isinstance(found, PhotoModel)
    return found


def test_bytes_and_tensors_get_the_same_verdict(
    context: TrainingContext, model: PhotoModel, plant: Chain
) -> None:
    files = sorted((plant.landing / "photos").rglob("*.png"))
    verdicts = model.predict([file.read_bytes() for file in files], context.settings)
    by_bytes = sorted(round(v.probability or 0, 6) for v in verdicts)
    rows = context.lake.rows(PICTURES, "tensor")
    tensors = np.stack([np.frombuffer(row["tensor"], np.uint8) for row in rows])
    by_tensor = model.probabilities(tensors.reshape(-1, model.height, model.width, 3))
    assert by_bytes == pytest.approx(sorted(by_tensor.tolist()), abs=1e-5)
    assert {v.version for v in verdicts} == {model.version}
    heat = model.heat(tensors[0].reshape(model.height, model.width, 3))
    assert heat.ndim == 2 and heat.min() >= 0 and heat.max() <= 1


def test_an_unreadable_picture_stops_nobody(
    context: TrainingContext, model: PhotoModel, first: Version
) -> None:
    lake = context.lake
    one = lake.rows(PICTURES)[0]
    broken = {**one, "pixel_sha256": "broken", "tensor": one["tensor"][:100]}
    assert lake.insert_rows(PICTURES, [broken]) == 1
    assert score_photos(lake, model) == 25
    rows = {row["pixel_sha256"]: row for row in lake.rows(PHOTO_VERDICTS)}
    bad = rows.pop("broken")
    assert (bad["verdict"], bad["probability"]) == (UNREADABLE, None)
    assert bad["reason"] == "the tensor has 100 bytes; 9216 are needed"
    pictures = {
        r["pixel_sha256"]: r["tensor"] for r in lake.rows(PICTURES, "pixel_sha256", "tensor")
    }
    for picture, row in rows.items():
        tensor = np.frombuffer(pictures[picture], np.uint8).reshape(1, model.height, model.width, 3)
        assert row["probability"] == pytest.approx(float(model.probabilities(tensor)[0]), abs=1e-5)
    before = lake.version(PHOTO_VERDICTS)
    assert score_photos(lake, model) == 0
    assert lake.version(PHOTO_VERDICTS) == before


def test_a_photo_model_is_reproduced_to_the_digit(context: TrainingContext, first: Version) -> None:
    shutil.rmtree(context.folder / "reproduced", ignore_errors=True)
    found = reproduce(context, first)
    assert found.is_equal and found.largest_difference == 0
    left = [file for file in context.folder.rglob("*") if file.suffix in (".pt", ".npy")]
    assert left == [], "a later training would take these for its own"


def test_a_study_that_was_cut_goes_on_where_it_was(
    context: TrainingContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = picture_frame(context.lake)
    split = make_split("photos", frame.split_items(), frame.versions, folds=2)
    candidate = photo_candidate(RECIPE, frame, split, context, context.folder)
    first, second = split.rounds()
    found = candidate.fit(split, first).p
    calls: list[int] = []

    def cut(*given: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return fit_cnn(*given, **options)

    monkeypatch.setattr(train_photos_module, "fit_cnn", cut)
    with pytest.raises(KeyboardInterrupt):
        candidate.fit(split, second)
    again = photo_candidate(RECIPE, frame, split, context, context.folder)
    calls[:] = [1, 1]  # From here on nothing is cut, but counted.
    assert np.array_equal(again.fit(split, first).p, found) and len(calls) == 2
    resumed = again.fit(split, second).p
    assert len(calls) == 2 + RECIPE.members
    assert not list((context.folder / "checkpoints").rglob("*.pt"))
    again.finish()
    monkeypatch.undo()
    fresh = photo_candidate(RECIPE, frame, split, context, context.folder)
    assert np.array_equal(fresh.fit(split, second).p, resumed)
    fresh.finish()


def test_networks_of_several_processes_come_out_alike(context: TrainingContext) -> None:
    frame = picture_frame(context.lake)
    split = make_split("photos", frame.split_items(), frame.versions, folds=2)
    recipe = replace(RECIPE, members=1, epochs=1, processes=2)
    candidate = photo_candidate(recipe, frame, split, context, context.folder / "several")
    p = candidate.fit(split, next(split.rounds())).p
    assert p.shape == (12,) and ((p > 0) & (p < 1)).all()


def test_too_few_groups_are_said_before_a_run_opens(context: TrainingContext) -> None:
    names = {f"part {at}.png": "one" if at < 22 else f"part {at}" for at in range(24)}
    before = len(context.registry.runs(NAME))
    with pytest.raises(UsageError, match=r"table picture_names: .*2 are needed, one to fit"):
        train_photos(context, [RECIPE], Protocol("leave_one_group_out"), names, -1)
    assert len(context.registry.runs(NAME)) == before


def test_predict_says_a_line_a_file_errors_included(
    context: TrainingContext,
    first: Version,
    plant: Chain,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    registry = context.registry
    promote(registry, compare(registry, first, lambda *_: {}), None, "tester")
    good = next((plant.landing / "photos" / "good").glob("*.png"))
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:300])
    korean = tmp_path / os.fsdecode("불량".encode("cp949"))  # As Windows names it; no UTF-8.
    files = [str(good), str(cut), str(tmp_path / "none.png"), str(korean)]
    where = ["--lake", str(plant.lake_folder), "--stage-file", str(plant.options["stage_file"])]
    assert invoke(["predict", "--json", "--stage", "chromate", *where, *files]) == 1
    out = capfd.readouterr().out
    lines: list[dict[str, Any]] = [
        json.loads(x) for x in out.splitlines() if x.startswith('{"file')
    ]
    assert [line["file"] for line in lines] == files
    assert lines[0]["verdict"] in ("good", "bad", "needs_human")
    assert (lines[0]["model"], lines[0]["version"]) == (NAME, first.number)
    assert lines[1]["reason"].startswith("broken_image") and lines[1]["verdict"] == UNREADABLE
    assert lines[2]["reason"].startswith("unreadable")
    assert invoke(["predict", "--stage", "chromate", *where, str(korean)]) == 1
    assert invoke(["predict", "--json", "--stage", "chromate", *where, str(good)]) == 0
    heat = tmp_path / "heat.png"
    told = ["--photo", str(good), "--output", str(heat)]
    assert invoke(["explain", "--stage", "chromate", *where, *told]) == 0
    assert Image.open(heat).size == (64, 48)


def test_groups_come_from_a_csv(tmp_path: Path) -> None:
    file = tmp_path / "photos.csv"
    file.write_text("name,tile\na.png,t1\nb.png,t2\n")
    assert read_groups(f"{file}:tile") == {"a.png": "t1", "b.png": "t2"}
    with pytest.raises(UsageError, match="needs the columns name and part"):
        read_groups(f"{file}:part")
    with pytest.raises(UsageError, match="No such file"):
        read_groups(f"{tmp_path / 'none.csv'}:tile")


def test_no_photo_is_said_so(chain: Chain) -> None:
    context = training_context(begin(Options("chromate", lake=str(chain.lake_folder))))
    with pytest.raises(UsageError):
        train_photos(context, [RECIPE], Protocol("kfold", 2, 1))
    assert context.registry.runs(NAME) == []


def test_a_second_training_waits_for_the_first(context: TrainingContext) -> None:
    """Both would go on from the same kept rounds."""
    recipe = replace(RECIPE, members=1, epochs=1)
    second = threading.Thread(
        target=train_photos, args=(context, [recipe], Protocol("kfold", 2, 1))
    )

    def running() -> int:
        return len(context.registry.runs(NAME, "attributes.status = 'RUNNING'"))

    with context.lake.lock("train-photos"):
        second.start()
        time.sleep(8)
        assert second.is_alive() and running() == 0
    second.join(120)
    assert not second.is_alive()
    assert context.registry.runs(NAME)[0]["status"] == "FINISHED"
