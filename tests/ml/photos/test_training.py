"""Training: the same each time, interrupted or not; what is judged is never what was augmented."""

import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lakehouse.errors import PlatelakeError, UsageError
from ml.data import loader, source
from ml.data.pictures import PictureFrame, picture_frame
from ml.data.source import load
from ml.figures.metrics import auroc
from ml.photos import epochs, fitted
from ml.photos.augment import augment
from ml.photos.fitted import Ensemble, Fitted, calibrate, export_onnx
from ml.photos.losses import verdict_loss
from ml.photos.networks import Backbone, FirstStudy, make_network
from ml.photos.recipe import FIRST_STUDY, CnnRecipe, recipe_for
from ml.photos.training import fit_cnn
from tests.ml.photo_lake import photo_lake
from tests.ml.photo_training import QUICK

pytestmark = pytest.mark.heavy

TRAIN, VALIDATE = np.arange(0, 16), np.arange(16, 24)


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> PictureFrame:
    return picture_frame(photo_lake(tmp_path_factory.mktemp("cnn")))


@pytest.fixture(scope="module")
def trained(frame: PictureFrame) -> Fitted:
    return fit_cnn(QUICK, frame, TRAIN, VALIDATE)


def weights(one: Fitted) -> dict[str, Tensor]:
    return one.network.state_dict()


def assert_same(one: Fitted, other: Fitted) -> None:
    """Bit for bit."""
    assert weights(one).keys() == weights(other).keys()
    assert all(torch.equal(weights(one)[name], weights(other)[name]) for name in weights(one))
    assert (one.slope, one.offset, one.best_epoch) == (other.slope, other.offset, other.best_epoch)
    losses = [[epoch["loss"] for epoch in fit.history] for fit in (one, other)]
    assert losses[0] == losses[1]


def test_training_is_deterministic_and_the_seed_matters(
    frame: PictureFrame, trained: Fitted
) -> None:
    torch.rand(3)  # What was drawn before changes nothing,
    before = torch.get_rng_state()
    again = fit_cnn(QUICK, frame, TRAIN, VALIDATE)
    assert torch.equal(before, torch.get_rng_state())  # and what comes after is not changed.
    assert_same(trained, again)
    other = fit_cnn(replace(QUICK, seed=1), frame, TRAIN, VALIDATE)
    assert not torch.equal(weights(other)["head.weight"], weights(trained)["head.weight"])


@pytest.mark.parametrize("recipe", [CnnRecipe(), FIRST_STUDY])
def test_recipes_as_they_are_used_are_deterministic(frame: PictureFrame, recipe: CnnRecipe) -> None:
    short = replace(recipe, epochs=1, steps=0, batch=8)  # Several threads, and 16 bits.
    one, other = (fit_cnn(short, frame, TRAIN, VALIDATE) for _ in range(2))
    assert_same(one, other)
    assert np.array_equal(one.predict(frame, VALIDATE), other.predict(frame, VALIDATE))


def test_16_bits_are_for_processors_that_gain_by_them(
    frame: PictureFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere a training took eight times as long."""
    one = replace(QUICK, epochs=1)

    def fitted(capability: str, bfloat16: bool) -> Fitted:
        monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
        return fit_cnn(replace(one, bfloat16=bfloat16), frame, TRAIN, VALIDATE)

    plain = fitted("AVX2", False)
    assert_same(plain, fitted("AVX2", True))
    halved = fitted("AVX512", True)
    assert not torch.equal(weights(plain)["head.weight"], weights(halved)["head.weight"])


def test_pictures_of_neither_part_decide_nothing(frame: PictureFrame) -> None:
    """What is to be judged may bear any label: it is as if it were not there."""
    labels = frame.labels.copy()
    fit, validate, evaluated = TRAIN[:10], TRAIN[10:], VALIDATE
    labels[evaluated] = 1 - labels[evaluated]
    one = fit_cnn(QUICK, frame, fit, validate)
    assert_same(one, fit_cnn(QUICK, replace(frame, labels=labels), fit, validate))
    labels[validate] = 1 - labels[validate]
    other = fit_cnn(QUICK, replace(frame, labels=labels), fit, validate)
    assert (one.slope, one.offset) != (other.slope, other.offset)


def test_the_rounds_of_a_study_read_once(
    frame: PictureFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    read = loader._record_batches

    def counted(files: Any, seed: Any) -> Any:
        passes.append(1)
        return read(files, seed)

    monkeypatch.setattr(loader, "_record_batches", counted)
    source._whole.cache_clear()
    one = replace(QUICK, epochs=1)
    for fit, validate in ((TRAIN, VALIDATE), (VALIDATE, TRAIN)):
        fit_cnn(one, frame, fit, validate).predict(frame, validate)
    assert len(passes) == 1


@pytest.mark.parametrize("schedule", ["onecycle", "cosine"])
def test_an_interrupted_training_goes_on_to_the_same_result(
    frame: PictureFrame, tmp_path: Path, schedule: str
) -> None:
    recipe = replace(QUICK, epochs=3, schedule=schedule)
    whole = fit_cnn(recipe, frame, TRAIN, VALIDATE)
    seen: list[float] = []

    def interrupt(about: dict[str, float]) -> None:
        seen.append(about["epoch"])
        if about["epoch"] == 1:
            raise KeyboardInterrupt

    checkpoint = tmp_path / "cnn.pt"
    with pytest.raises(KeyboardInterrupt):
        fit_cnn(recipe, frame, TRAIN, VALIDATE, checkpoint=checkpoint, progress=interrupt)
    resumed = fit_cnn(
        recipe,
        frame,
        TRAIN,
        VALIDATE,
        checkpoint=checkpoint,
        progress=lambda e: seen.append(e["epoch"]),
    )
    assert seen == [1, 2, 3]
    assert_same(whole, resumed)
    assert_same(whole, fit_cnn(recipe, frame, TRAIN, VALIDATE, checkpoint=checkpoint))


def test_a_checkpoint_of_something_else_is_refused(frame: PictureFrame, tmp_path: Path) -> None:
    file = tmp_path / "cnn.pt"
    one = replace(QUICK, epochs=1)
    fit_cnn(one, frame, TRAIN, VALIDATE, checkpoint=file)
    with pytest.raises(PlatelakeError, match="another recipe, split or data"):
        fit_cnn(replace(one, seed=5), frame, TRAIN, VALIDATE, checkpoint=file)
    with pytest.raises(PlatelakeError, match="another recipe, split or data"):
        fit_cnn(one, frame, TRAIN[:-1], VALIDATE, checkpoint=file)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(PlatelakeError, match="cannot be read"):
        fit_cnn(one, frame, TRAIN, VALIDATE, checkpoint=file)


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("hostile-was-here"),))


def test_a_checkpoint_never_runs_code(
    frame: PictureFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"about": Hostile()}, tmp_path / "saved.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Hostile()))
    for name in ("saved.pt", "plain.pt"):
        with pytest.raises(PlatelakeError, match="cannot be read"):
            fit_cnn(QUICK, frame, TRAIN, VALIDATE, checkpoint=tmp_path / name)
    assert not (tmp_path / "hostile-was-here").exists()


def test_it_learns_and_its_heat_is_where_the_spot_is(tmp_path: Path) -> None:
    frame = picture_frame(photo_lake(tmp_path, 90, sides=[96] * 90))
    recipe = replace(QUICK, epochs=12, batch=16)
    fit, validate, test = np.arange(40), np.arange(40, 60), np.arange(60, 90)
    model = fit_cnn(recipe, frame, fit, validate)
    p = model.predict(frame, test)
    assert p.shape == (30,) and p.dtype == np.float64 and ((p > 0) & (p < 1)).all()
    assert auroc(frame.labels[test], p) > 0.9
    bad = load(frame, test[frame.labels[test] == 1])[0]
    spots = [np.argwhere(one.mean(2) < 80).mean(0) / 96 for one in bad]
    hot = [(np.argwhere(h == h.max()).mean(0) + 0.5) / len(h) for h in map(model.heat, bad)]
    near = [float(np.abs(s - h).max()) for s, h in zip(spots, hot, strict=True)]
    assert np.median(near) < 0.25


def test_only_training_pictures_are_augmented(
    frame: PictureFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []

    def noted(pictures: Tensor, labels: Tensor, items: Any, *rest: Any) -> Any:
        shown.extend(TRAIN[items].tolist())
        return augment(pictures, labels, items, *rest)

    monkeypatch.setattr(epochs, "augment", noted)
    model = fit_cnn(QUICK, frame, TRAIN, VALIDATE)
    model.predict(frame, VALIDATE)
    assert sorted(shown) == sorted(TRAIN.tolist() * QUICK.epochs)


def test_a_picture_is_augmented_the_same_in_any_batch(frame: PictureFrame) -> None:
    tensors = torch.from_numpy(load(frame, TRAIN)[0])
    labels = torch.from_numpy(frame.labels[TRAIN])
    all_at_once = augment(tensors, labels, TRAIN, 3, QUICK)
    alone = augment(tensors[5:6], labels[5:6], TRAIN[5:6], 3, QUICK)
    assert torch.equal(all_at_once.pictures[5], alone.pictures[0])
    other = augment(tensors, labels, TRAIN, 4, QUICK)
    assert not torch.equal(all_at_once.pictures, other.pictures)
    assert not all_at_once.drawn[labels == 1].any() and all_at_once.drawn.any()
    without = augment(tensors, labels, TRAIN, 3, replace(QUICK, defects=0)).pictures
    changed = (all_at_once.pictures != without).flatten(1).any(1)
    assert torch.equal(changed, all_at_once.drawn)
    plain = replace(QUICK, flips=False, turns=False, shift=0, zoom=0, gamma=0, grey=0, defects=0)
    assert torch.equal(augment(tensors, labels, TRAIN, 1, plain).pictures, tensors)


def test_training_stops_once_validation_is_worse_by_more_than_chance(
    frame: PictureFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 4 bad ones, an average precision of 0.8 may by chance be 0.62, but not 0.5."""
    given = [0.4, 1.0, 0.3, 0.2, 0.1, 0.8, 0.62, 0.5, 0.3, 0.9]  # The first half does not count.
    monkeypatch.setattr(epochs, "average_precision", lambda *_: given.pop(0))
    model = fit_cnn(replace(QUICK, epochs=10, patience=2), frame, TRAIN, VALIDATE)
    assert len(model.history) == 9 and model.best_epoch == 7


def test_few_pictures_are_shown_more_often_in_smaller_batches() -> None:
    recipe = CnnRecipe(epochs=40, steps=400, batch=32, patience=12)
    few = recipe.planned(32)
    assert (few.batch, few.epochs, few.patience) == (8, 100, 30)
    many = recipe.planned(1_000)
    assert (many.batch, many.epochs, many.patience) == (32, 40, 12)
    assert recipe_for("small", 3).planned(32).epochs == 3


def test_progress_says_how_it_goes(trained: Fitted) -> None:
    first = trained.history[0]
    assert first.keys() >= {"epoch", "loss", "validation_loss", "validation_ap", "learning_rate"}
    assert first["pictures_per_second"] > 0 and first["loader_seconds"] > 0
    assert trained.loader_share > 0


def test_pictures_beyond_memory_are_streamed(frame: PictureFrame, trained: Fitted) -> None:
    streamed = fit_cnn(replace(QUICK, memory_bytes=0), frame, TRAIN, VALIDATE)
    again = fit_cnn(replace(QUICK, memory_bytes=0), frame, TRAIN, VALIDATE)
    assert_same(streamed, again)
    assert len(streamed.history) == len(trained.history)


def test_one_class_only_is_an_error(frame: PictureFrame) -> None:
    good = np.flatnonzero(frame.labels == 0)
    with pytest.raises(PlatelakeError, match="of 12 training pictures 0 are bad"):
        fit_cnn(QUICK, frame, good, VALIDATE)
    with pytest.raises(PlatelakeError, match="of 12 validation pictures 0 are bad"):
        fit_cnn(QUICK, frame, TRAIN, good)


@pytest.mark.parametrize("network", ["small", "first_study"])
def test_the_file_does_what_the_model_does(
    frame: PictureFrame, network: str, trained: Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    model = trained
    if network != "small":
        model = replace(trained, network=make_network(network, 32, 32).eval())
    content = model.onnx(frame)
    assert b".py" not in content, "the file says where the code lies"
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["pictures"]
    tensors = load(frame, np.arange(5))[0]
    p, heat = session.run(["probability", "heat"], {"pictures": tensors})
    np.testing.assert_allclose(p, model.predict(frame, np.arange(5)), atol=1e-5)
    np.testing.assert_allclose(heat[3], model.heat(tensors[3]), atol=1e-5)
    assert heat.min() >= 0 and heat.max() <= 1

    monkeypatch.setattr(fitted, "run", lambda *_: {"probability": p + 1e-3, "heat": heat})
    with pytest.raises(PlatelakeError, match=r"probability of network .* differs by 0.001"):
        export_onnx(model, tensors)


def test_several_judge_by_the_mean_of_their_logits(frame: PictureFrame, trained: Fitted) -> None:
    other = fit_cnn(replace(QUICK, seed=1), frame, TRAIN, VALIDATE)
    both = Ensemble(QUICK, (trained, other))
    one, two, mean = (m.predict(frame, VALIDATE) for m in (trained, other, both))
    logits = [np.log(p / (1 - p)) for p in (one, two, mean)]
    np.testing.assert_allclose(logits[2], (logits[0] + logits[1]) / 2, atol=1e-5)
    assert np.abs(one - two).max() > 1e-3  # They are not the same network.
    picture = load(frame, VALIDATE[:1])[0][0]
    heat = (trained.heat(picture) + other.heat(picture)) / 2
    np.testing.assert_allclose(both.heat(picture), heat, atol=1e-6)
    both.onnx(frame)  # raises unless the file does what the model does


def test_the_first_study_is_as_it_was(frame: PictureFrame) -> None:
    torch.manual_seed(3)
    network = FirstStudy().eval()
    assert sum(p.numel() for p in network.parameters()) == 3_299_109
    assert recipe_for("first_study") == FIRST_STUDY
    pictures = torch.from_numpy(load(frame, np.arange(3))[0])
    kept: list[Tensor] = []
    network.maps.register_forward_hook(lambda *args: kept.append(args[2]))
    logits, heat = network.evidence(pictures)
    (slope,) = torch.autograd.grad(logits.sum(), kept[0])  # Grad-CAM by its definition
    expected = torch.relu((slope.mean((2, 3), keepdim=True) * kept[0]).sum(1))
    expected = expected / expected.amax((1, 2), keepdim=True).clamp_min(1e-12)
    assert expected.amax() == 1  # There is something to compare.
    torch.testing.assert_close(heat, expected)


def test_a_picture_in_other_light_is_the_same_picture() -> None:
    network = make_network("small", 64, 64).eval()
    grey = torch.randint(60, 120, (2, 64, 64, 1), dtype=torch.uint8).expand(-1, -1, -1, 3)
    brighter = (grey * 2 + 10).to(torch.uint8)
    with torch.no_grad():
        one, other = network(grey), network(brighter)
    torch.testing.assert_close(one, other, atol=0.1, rtol=0.1)


def test_calibration_finds_slope_and_offset() -> None:
    draw = np.random.default_rng(0)
    logits = draw.normal(0, 2, 20_000)
    labels = (draw.random(20_000) < 1 / (1 + np.exp(-(1.7 * logits - 0.6)))).astype(np.int64)
    slope, offset = calibrate(logits, labels)
    assert slope == pytest.approx(1.7, abs=0.1) and offset == pytest.approx(-0.6, abs=0.1)
    apart = np.array([-3.0, -2.0, 2.0, 3.0])
    slope, offset = calibrate(apart, np.array([0, 0, 1, 1]))
    assert 0 < slope < 10 and abs(offset) < 1e-6  # Smoothed targets keep it finite,
    slope, _ = calibrate(-apart, np.array([0, 0, 1, 1]))
    assert slope == pytest.approx(1e-3)  # and what ranks backwards is not turned round.


def test_class_weights_and_focal_loss() -> None:
    plain = CnnRecipe(batch=4, class_weights=False, smoothing=0, defects=0)
    logits, targets = torch.tensor([2.0, -2.0, -2.0, -2.0]), torch.tensor([0.0, 0.0, 0.0, 1.0])
    each = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    torch.testing.assert_close(verdict_loss(logits, targets, targets, 0.25, plain), each.mean())
    balanced = replace(plain, class_weights=True)
    weighted = verdict_loss(logits, targets, targets, 0.25, balanced)
    weight = torch.tensor([2 / 3, 2 / 3, 2 / 3, 2.0])
    torch.testing.assert_close(weighted, (each * weight).mean())
    drawn = verdict_loss(logits, targets, torch.zeros(4), 0.25, balanced)
    torch.testing.assert_close(drawn, each.mean() * 2 / 3)
    focal = verdict_loss(logits, targets, targets, 0.25, replace(plain, focal_gamma=2.0))
    wrong = (targets - torch.sigmoid(logits)).abs()
    torch.testing.assert_close(focal, (each * wrong**2).mean())


def test_a_backbone_of_timm_by_name(
    frame: PictureFrame, trained: Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make_network("timm:test_resnet", 32, 32).eval()
    assert isinstance(network, Backbone)
    model = replace(trained, network=network)
    pictures = torch.from_numpy(load(frame, np.arange(3))[0])
    logits, cells = network.evidence(pictures)
    torch.testing.assert_close(logits, network.head(network.features(pictures))[:, 0])
    assert cells.shape == (3, 4, 4)  # The finest of three scales: 32 pixels by 8.
    assert model.heat(pictures[0].numpy()).shape == (4, 4)
    with pytest.raises(UsageError, match="no maps of 3 scales"):
        make_network("timm:test_vit", 32, 32)
    with pytest.raises(UsageError, match="no model 'none'"):
        make_network("timm:none", 32, 32)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match="pip install timm"):
        make_network("timm:test_resnet", 32, 32)


def test_names_that_nobody_knows() -> None:
    with pytest.raises(UsageError, match="no network 'large'"):
        make_network("large", 32, 32)
    with pytest.raises(UsageError, match="no schedule 'step'"):
        CnnRecipe(schedule="step")
    with pytest.raises(UsageError, match="epochs 0"):
        CnnRecipe(epochs=0)
