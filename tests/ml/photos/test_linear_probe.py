"""A linear layer on a backbone that stays as it is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lakehouse.errors import PlatelakeError, UsageError
from ml.data.pictures import PictureFrame, picture_frame
from ml.figures.metrics import auroc
from ml.photos.fitted import Fitted
from ml.photos.linear_probe import fit_probe, predict_probe
from ml.photos.networks import Backbone, make_network
from ml.photos.recipe import CnnRecipe, recipe_for, weights_file
from ml.photos.training import fit_cnn
from ml.photos.weights import FILE, NETWORK, write_weights
from tests.ml.photo_lake import photo_lake

pytestmark = pytest.mark.heavy

NAME = "timm:test_resnet"
TRAIN, JUDGED = np.arange(0, 48), np.arange(48, 72)
FOLDS = [(np.setdiff1d(TRAIN, part), part) for part in np.split(TRAIN, 4)]


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> PictureFrame:
    return picture_frame(photo_lake(tmp_path_factory.mktemp("probe"), count=72))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> CnnRecipe:
    """Weights as users have them: a file."""
    torch.manual_seed(5)
    network = make_network(NAME, 32, 32)
    assert isinstance(network, Backbone)
    file = tmp_path_factory.mktemp("weights") / "some.safetensors"
    save_file(network.body.state_dict(), str(file))
    return recipe_for(NAME, weights=file)


@pytest.fixture(scope="module")
def probe(frame: PictureFrame, recipe: CnnRecipe) -> Fitted:
    return fit_probe(recipe, frame, TRAIN, FOLDS)


def test_it_learns_and_leaves_the_backbone_alone(
    frame: PictureFrame, recipe: CnnRecipe, probe: Fitted
) -> None:
    found = probe.predict(frame, JUDGED)
    assert auroc(frame.labels[JUDGED], found) > 0.9
    given = make_network(NAME, 32, 32, weights=recipe.weights).state_dict()
    for name, value in probe.network.state_dict().items():
        assert name.startswith("head.") or torch.equal(value, given[name]), name


def test_features_that_are_there_judge_as_the_whole_network(
    frame: PictureFrame, probe: Fitted
) -> None:
    found = predict_probe(probe, frame, JUDGED)
    np.testing.assert_allclose(found, probe.predict(frame, JUDGED), rtol=0, atol=2e-6)


def test_the_same_again_and_nothing_of_what_is_judged(
    frame: PictureFrame, recipe: CnnRecipe, probe: Fitted
) -> None:
    labels = frame.labels.copy()
    labels[JUDGED] = 1 - labels[JUDGED]
    other = fit_probe(recipe, replace(frame, labels=labels), TRAIN, FOLDS)
    assert (other.slope, other.offset) == (probe.slope, probe.offset)
    assert np.array_equal(other.predict(frame, JUDGED), probe.predict(frame, JUDGED))


def test_its_file_says_the_same(frame: PictureFrame, probe: Fitted) -> None:
    assert probe.onnx(frame)  # It refuses a file that differs.


def test_fine_tuning_trains_the_backbone(frame: PictureFrame, recipe: CnnRecipe) -> None:
    file = Path(recipe.weights)
    tuned = recipe_for(NAME, epochs=1, weights=file, fine_tune=True)
    fitted = fit_cnn(tuned, frame, TRAIN, JUDGED)
    given = make_network(NAME, 32, 32, weights=recipe.weights).state_dict()
    name = "body.conv1.0.weight"
    assert not torch.equal(fitted.network.state_dict()[name], given[name])


def test_other_weights_are_noticed(frame: PictureFrame, recipe: CnnRecipe, tmp_path: Path) -> None:
    file = tmp_path / "moved.safetensors"
    file.write_bytes(Path(recipe.weights).read_bytes()[:-8] + b"\0" * 8)
    with pytest.raises(PlatelakeError, match="not the file of weights"):
        fit_probe(replace(recipe, weights=str(file)), frame, TRAIN, FOLDS)
    with pytest.raises(UsageError, match="--fine-tune"):
        recipe_for(NAME, members=2, weights=file)


def test_installed_weights_are_taken_where_none_are_named() -> None:
    recipe = recipe_for(NETWORK)
    assert (recipe.weights, recipe.frozen) == (str(FILE), True)
    network = make_network(NETWORK, 224, 224, weights=weights_file(recipe))
    assert isinstance(network, Backbone)
    assert network.head.in_features == 2 * (40 + 112 + 320)
    assert not recipe_for(NETWORK, fine_tune=True).frozen
    assert recipe_for("timm:resnet18").weights == ""


def test_installed_weights_stand_for_the_same_file_elsewhere(tmp_path: Path) -> None:
    recipe = replace(recipe_for(NETWORK), weights=str(tmp_path / "gone.safetensors"))
    assert weights_file(recipe) == str(FILE)
    (tmp_path / "gone.safetensors").write_bytes(b"others")
    assert weights_file(recipe) == str(FILE)
    with pytest.raises(PlatelakeError, match="not the file of weights"):
        weights_file(replace(recipe, weights_sha256="0" * 64))
    assert weights_file(CnnRecipe(network=NETWORK)) == ""  # A study before there were any.


def test_weights_are_converted_to_the_same_bytes_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "share" / "lite0.safetensors"
    write_weights(file)
    assert file.read_bytes() == FILE.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o644

    def full(tensors: object, target: str) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    monkeypatch.setattr("ml.photos.weights.FILE", tmp_path / "other" / "lite0.safetensors")
    with pytest.raises(PlatelakeError, match="No space left"):
        recipe_for(NETWORK)
    assert list((tmp_path / "other").iterdir()) == []
