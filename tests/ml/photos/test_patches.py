"""The model of patches: it finds, points, knows its limits, and works without defects."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.settings import load_settings
from ml.data.masks import masks_sha256, read_masks
from ml.data.pictures import PictureFrame, picture_frame
from ml.data.splits import make_split
from ml.figures.metrics import auroc
from ml.onnx import with_card
from ml.photos import patches
from ml.photos.heads import top_mean
from ml.photos.patch_model import FittedPatches, fit_patches, predict_patches
from ml.photos.recipe import PatchRecipe, recipe_again, recipe_for
from ml.study.photos import patch_candidate
from ml.use.explain import grey_heat, heat_picture, with_map
from ml.use.predictor import NEEDS_HUMAN, PhotoModel, open_model
from ml.use.reasons import key_of
from tests.ml.photo_lake import SIDE, photo_lake, tensor

pytestmark = pytest.mark.heavy

COUNT = 60
TRAIN, TESTED = np.arange(42), np.arange(42, COUNT)
FOLDS = [(np.setdiff1d(TRAIN, part), part) for part in np.array_split(TRAIN, 3)]


COLOURS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
"""Noise of all colours; the pictures have grey noise."""


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> PictureFrame:
    return picture_frame(photo_lake(tmp_path_factory.mktemp("patches"), count=COUNT))


@pytest.fixture(scope="module")
def recipe() -> PatchRecipe:
    found = recipe_for("patches")
    assert isinstance(found, PatchRecipe)
    return replace(found, side=192, bank=200, threads=1)


@pytest.fixture(scope="module")
def fitted(frame: PictureFrame, recipe: PatchRecipe) -> FittedPatches:
    return fit_patches(recipe, frame, TRAIN, FOLDS)


@pytest.fixture(scope="module")
def model(fitted: FittedPatches, frame: PictureFrame) -> PhotoModel:
    card = {"width": SIDE, "height": SIDE, "limits": fitted.limits, "kind": "photos"}
    card |= {"thresholds": {"low": 0.3, "high": 0.7}}
    return PhotoModel(with_card(fitted.onnx(frame), card), "chromate-photos", 1)


def spot(pixels: np.ndarray) -> tuple[float, float]:
    """The middle of a bad picture's dark spot, (down, across), 0 to 1."""
    found = np.argwhere(pixels[..., 0] < 85)
    down, across = np.median(found, axis=0) / SIDE
    return float(down), float(across)


def test_it_finds_defects_that_it_never_saw(fitted: FittedPatches, frame: PictureFrame) -> None:
    found = predict_patches(fitted, frame, TESTED)
    assert auroc(frame.labels[TESTED], found.p) > 0.95
    whole = fitted.predict(frame, TESTED)  # From pictures, in 32 bits; above from maps, in 16.
    np.testing.assert_allclose(whole, found.p, rtol=0, atol=1e-3)


def test_its_map_points_at_the_defect_and_shows_nothing_on_good_ones(
    model: PhotoModel, frame: PictureFrame
) -> None:
    missed, shown = 0, 0
    for at in TESTED:
        picture = tensor(int(at), bool(frame.labels[at]))
        heat = model.look(picture)[1]
        if frame.labels[at]:
            down, across = np.unravel_index(heat.argmax(), heat.shape)
            wanted = spot(picture)
            cell = np.array([down + 0.5, across + 0.5]) / heat.shape
            missed += bool(np.abs(cell - wanted).max() > 0.2) or bool(heat.max() < 0.5)
        else:
            shown += bool(heat.max() >= 0.5)
    assert missed <= 1 and shown <= 1


def test_the_map_has_its_own_scale(model: PhotoModel) -> None:
    """What is far from a defect stays below the threshold."""
    good = tensor(1, False)
    bad = good.copy()
    bad[20:28, 22:30] = 30
    clean, marked = model.heat(good), model.heat(bad)
    assert marked.max() > 0.5 > clean.max()
    quarter = tuple(slice(0, side // 4) for side in clean.shape)
    assert marked[quarter].max() < 0.5


@pytest.mark.parametrize("bad", [0, 1])
def test_good_pictures_alone_are_enough(frame: PictureFrame, recipe: PatchRecipe, bad: int) -> None:
    """With no bad picture, or one, it knows good ones only, and doubts what is far from them."""
    good = np.flatnonzero(frame.labels == 0)
    train = np.sort(np.append(good[:24], np.flatnonzero(frame.labels)[:bad]))
    folds = [(np.setdiff1d(train, part), part) for part in np.array_split(train, 3)]
    fitted = fit_patches(recipe, frame, train, folds)
    assert fitted.evidence is None
    tested = np.setdiff1d(np.arange(COUNT), train)
    found = predict_patches(fitted, frame, tested)
    labels = frame.labels[tested]
    assert auroc(labels, found.p) > 0.9
    assert (found.p[labels == 0] < 0.5).mean() > 0.8
    assert (found.p[labels == 1] > 0.5).mean() > 0.5


@pytest.mark.parametrize(
    ("key", "photo"),
    [
        ("small", Image.new("RGB", (8, 8), (130, 130, 130))),
        ("dark", Image.new("RGB", (64, 64))),
        ("bright", Image.new("RGB", (64, 64), "white")),
        ("blank", Image.new("RGB", (64, 64), (130, 130, 130))),
        ("blurred", Image.linear_gradient("L").convert("RGB").resize((64, 64))),
        ("unlike", Image.fromarray(COLOURS)),
        ("unlike", Image.fromarray(np.indices((64, 64)).sum(0).astype(np.uint8) // 8 % 2 * 255)),
    ],
)
def test_it_says_what_it_does_not_know(model: PhotoModel, key: str, photo: Image.Image) -> None:
    verdict, _ = model.inspect(photo.convert("RGB"))
    assert verdict.verdict == NEEDS_HUMAN
    assert verdict.probability is not None
    assert key_of(verdict.reason or "") == key


def test_it_knows_pictures_of_the_same_plant(fitted: FittedPatches, frame: PictureFrame) -> None:
    assert (predict_patches(fitted, frame, TESTED).unlike <= 1).mean() >= 0.9


def test_a_model_without_limits_gives_all_verdicts(model: PhotoModel) -> None:
    old = {name: value for name, value in model.card.items() if name != "limits"}
    opened = PhotoModel(with_card(model.content, old), model.name, 2)
    assert opened.limits is None
    dark = opened.inspect(Image.new("RGB", (64, 64)))[0]
    assert key_of(dark.reason or "") == "unlike"  # Its file has the output still.
    opened.points = False  # As a file without that output.
    assert opened.inspect(Image.new("RGB", (64, 64)))[0].reason is None


def test_the_photo_keeps_its_size_and_only_defects_are_coloured(
    model: PhotoModel, tmp_path: Path
) -> None:
    good, bad = (Image.fromarray(tensor(1, False)).resize((90, 60)) for _ in range(2))
    bad.paste((20, 20, 20), (60, 36, 82, 52))
    for name, photo in (("good", good), ("bad", bad)):
        photo.save(tmp_path / f"{name}.png")
        content = (tmp_path / f"{name}.png").read_bytes()
        target = tmp_path / f"{name}-heat.png"
        heat_picture(model, content, load_settings(), target)
        shown = np.asarray(Image.open(target)).astype(int)
        assert shown.shape == (60, 90, 3)
        changed = np.abs(shown - np.asarray(photo)).max(2) > 0
        assert changed.any() == (name == "bad")
        assert not changed[:10, :20].any()


def test_only_a_map_with_a_scale_gets_boxes() -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[1, 1] = 0.6
    shown = [
        np.asarray(with_map(Image.new("RGB", (80, 80), "white"), grey_heat(heat), points))
        for points in (True, False)
    ]
    assert shown[0][20, 20].tolist() == [220, 30, 30] != shown[1][20, 20].tolist()
    assert (shown[0][60:] == 255).all()


def test_masks_teach_and_are_pinned(
    frame: PictureFrame, recipe: PatchRecipe, tmp_path: Path
) -> None:
    for at in np.flatnonzero(frame.labels):
        white = (tensor(int(at), True)[..., 0] < 85).astype(np.uint8) * 255
        Image.fromarray(white).save(tmp_path / f"p{at:03d}.png")
    sha256 = masks_sha256(str(tmp_path))
    cells, known = read_masks(str(tmp_path), sha256, frame, 8, 8)
    assert known.all() and cells[frame.labels == 0].max() == 0
    assert (cells[frame.labels == 1].max((1, 2)) == 1).all()
    taught = fit_patches(
        replace(recipe, masks=str(tmp_path), masks_sha256=sha256), frame, TRAIN, FOLDS
    )
    assert auroc(frame.labels[TESTED], predict_patches(taught, frame, TESTED).p) > 0.95
    (tmp_path / "p001.png").unlink()
    with pytest.raises(PlatelakeError, match="does not hold the masks that the recipe names"):
        read_masks(str(tmp_path), sha256, frame, 8, 8)
    with pytest.raises(UsageError, match="there is no file"):
        masks_sha256(str(tmp_path / "none"))


def test_the_same_again_and_nothing_of_what_is_tested(
    frame: PictureFrame, recipe: PatchRecipe, fitted: FittedPatches
) -> None:
    labels = frame.labels.copy()
    labels[TESTED] = 1 - labels[TESTED]
    other = fit_patches(recipe, replace(frame, labels=labels), TRAIN, FOLDS)
    assert other.joined == fitted.joined
    first, again = (predict_patches(one, frame, TESTED) for one in (fitted, other))
    assert np.array_equal(first.p, again.p)


def test_maps_that_need_more_memory_go_to_a_file(frame: PictureFrame, recipe: PatchRecipe) -> None:
    inside = patches.maps_of(recipe, frame)
    patches._kept.cache_clear()
    outside = patches.maps_of(replace(recipe, memory_bytes=1 << 20), frame)
    patches._kept.cache_clear()
    assert isinstance(outside.grid, np.memmap) and not isinstance(inside.grid, np.memmap)
    # Pictures may come in other batches, so the last bit of float16 may differ.
    np.testing.assert_allclose(inside.grid, outside.grid, rtol=2e-3, atol=2e-3)


def test_what_is_missing_is_named(frame: PictureFrame, recipe: PatchRecipe, tmp_path: Path) -> None:
    only_bad = replace(frame, labels=np.ones_like(frame.labels))
    with pytest.raises(PlatelakeError, match="trains on no good picture"):
        fit_patches(recipe, only_bad, TRAIN, FOLDS)
    with pytest.raises(PlatelakeError, match="not the file of weights"):
        fit_patches(replace(recipe, weights_sha256="0" * 64), frame, TRAIN, FOLDS)
    for backbone, wanted in (
        ("timm:vit_tiny_patch16_224", "gives no maps of 3 scales"),
        ("small", "a backbone is timm:NAME"),
    ):
        with pytest.raises(UsageError, match=wanted):
            patches.Backbone(replace(recipe, backbone=backbone, weights=""), SIDE, SIDE)


def test_a_study_tests_it_as_it_will_be_used(frame: PictureFrame, recipe: PatchRecipe) -> None:
    split = make_split("photos", frame.split_items(), {}, folds=2)
    candidate = patch_candidate(recipe, frame, split)
    (first, _) = split.rounds()
    answers = candidate.fit(split, first)
    assert auroc(frame.labels[first.test], answers.p) > 0.9
    assert answers.refused is not None and answers.refused.mean() <= 0.2
    final = candidate.finish()
    card = {**final.card, "kind": "photos", "thresholds": {"low": 0.3, "high": 0.7}}
    opened = open_model(with_card(final.content, card), "chromate-photos", 1)
    assert opened.points and opened.limits == final.card["limits"]


def test_a_stored_recipe_is_read_again(recipe: PatchRecipe) -> None:
    assert recipe_again(asdict(recipe)) == recipe
    small = recipe_for("small")
    assert recipe_again(asdict(small)) == small


def test_the_highest_cells_are_the_score() -> None:
    import torch

    cells = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    assert top_mean(cells, 0.5).tolist() == [2.5]
    assert top_mean(cells, 0.01).tolist() == [3.0]
