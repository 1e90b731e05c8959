"""The commands for models, as a modeler gives them, one after another on one lake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from jobs.cli.main import invoke
from tests.ml.photo_lake import photo_lake, tensor

pytestmark = pytest.mark.heavy

NAME = "chromate-photos"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    photo_lake(folder)
    return folder


def test_from_training_to_rollback(
    lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--stage", "chromate", "--lake", str(lake)]
    photo, text = tmp_path / "part.png", tmp_path / "notes.png"
    Image.fromarray(tensor(3, True)).save(photo)
    text.write_text("no picture")

    def said(*command: str, code: int = 0) -> str:
        assert invoke([*command, *place]) == code
        return " ".join(capsys.readouterr().out.split())

    def refused(*command: str, code: int = 2) -> str:
        assert invoke([*command, *place]) == code
        return " ".join(capsys.readouterr().err.split())

    train = ["train", "cnn", "--folds", "2", "--near", "-1", "--epochs", "1"]
    assert "MLflow has no chromate-photos@champion" in refused("predict", str(photo))
    assert f"{NAME} version 1 is the challenger" in said(*train)
    assert f"{NAME} version 2 is the challenger" in said(*train, "--network", "first_study")
    compared = said("compare", "--of", "photos")
    assert "patches" in compared and "first_study" in compared and "2 folds" in compared
    said("promote", NAME, "--force", "the first one")
    lines = said("predict", "--json", str(photo), str(text), code=1).split("} {")
    first, second = (json.loads("{" + line.strip("{}") + "}") for line in lines)
    assert first["file"].endswith("part.png") and 0 <= first["probability"] <= 1
    assert (first["model"], first["version"]) == (NAME, 2)
    assert second["verdict"] == "unreadable" and second["reason"]
    heat = tmp_path / "heat.png"
    said("explain", "--photo", str(photo), "--output", str(heat))
    with Image.open(heat) as picture:
        assert picture.size == (32, 32)
    # In a process of its own, where no Spark is running yet.
    score = [Path(sys.executable).parent / "platelake", "score-photos", *place]
    done = subprocess.run(score, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"verdicts_changed": 24' in done.stderr
    assert "no champion before it" in refused("rollback", NAME, "--reason", "worse", code=2)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--network", "large"], "no network 'large'"),
        (["--folds", "200"], "folds"),
        (["--protocol", "random"], "random"),
        (["--groups", "nowhere.csv:tile"], "--groups nowhere.csv:tile"),
        (["--weights", "nowhere", "--network", "timm:test_resnet"], "nowhere: No such file"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(
    lake: Path, capsys: pytest.CaptureFixture[str], given: list[str], sentence: str
) -> None:
    place = ["--stage", "chromate", "--lake", str(lake)]
    assert invoke(["train", "cnn", "--near", "-1", *given, *place]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "command",
    [
        ("compare",),
        ("promote", "chromate-lots"),
        ("rollback", "chromate-lots", "--reason", "x"),
        ("train", "trees"),
        ("predict", "photo.png"),
    ],
)
def test_a_lake_that_is_not_there_is_not_made(command: tuple[str, ...], tmp_path: Path) -> None:
    where = ["--stage", "chromate", "--lake", str(tmp_path / "typo")]
    assert invoke([*command, *where]) == 1
    assert not (tmp_path / "typo").exists()
