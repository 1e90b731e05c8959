"""Masks that a stage names are copied from the landing zone, and teach if no others are given."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from structlog.testing import capture_logs

from jobs.train import with_masks
from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.stage import Stage, load_stage
from lakehouse.stage_sections import Photos
from ml.data.masks import keep_masks, masks_sha256
from ml.photos.recipe import CnnRecipe, PatchRecipe


def stage_with(masks: list[str]) -> Stage:
    photos = Photos(labels={"bad": "bad/*"}, masks=masks)
    return load_stage("chromate").model_copy(update={"photos": photos})


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    folder = tmp_path / "landing"
    (folder / "masks").mkdir(parents=True)
    (folder / "bad").mkdir()
    for name in ("a", "b"):
        Image.new("L", (4, 4), 255).save(folder / "masks" / f"{name}.png")
        Image.new("L", (4, 4), 90).save(folder / "bad" / f"{name}.jpg")
    return folder


def test_the_copy_is_named_by_its_content_and_made_once(landing: Path, tmp_path: Path) -> None:
    stage = stage_with(["masks/*.png"])
    kept = keep_masks(str(landing), stage, tmp_path / "kept")
    assert kept is not None
    assert sorted(file.name for file in kept.iterdir()) == ["a.png", "b.png"]
    assert masks_sha256(str(kept)).startswith(kept.name)
    assert keep_masks(str(landing), stage, tmp_path / "kept") == kept
    Image.new("L", (4, 4), 0).save(landing / "masks" / "a.png")
    other = keep_masks(str(landing), stage, tmp_path / "kept")
    assert other != kept
    assert {file.name for file in (tmp_path / "kept").iterdir()} == {
        kept.name,
        other and other.name,
    }


def test_two_masks_of_one_photo_are_refused(landing: Path, tmp_path: Path) -> None:
    Image.new("L", (4, 4), 0).save(landing / "masks" / "a.bmp")
    with pytest.raises(UsageError, match=r"masks/a\.bmp and masks/a\.png are masks of one photo"):
        keep_masks(str(landing), stage_with(["masks/*"]), tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_missing_landing_zone_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlatelakeError, match="does not exist"):
        keep_masks(str(tmp_path / "none"), stage_with(["masks/*"]), tmp_path / "kept")


def test_masks_of_the_stage_teach_if_no_others_are_given(landing: Path, tmp_path: Path) -> None:
    context: Any = SimpleNamespace(stage=stage_with(["masks/*.png"]), folder=tmp_path / "training")
    recipe = PatchRecipe()
    taught = with_masks(recipe, context, str(landing))
    assert isinstance(taught, PatchRecipe)
    assert Path(taught.masks).parent == tmp_path / "training" / "masks"
    assert taught.masks_sha256 == masks_sha256(taught.masks)
    given = replace(recipe, masks="elsewhere", masks_sha256="0")
    assert with_masks(given, context, str(landing)) is given
    small = CnnRecipe()
    assert with_masks(small, context, str(landing)) is small


@pytest.mark.parametrize(
    ("masks", "is_landing", "said"),
    [
        ([], True, []),
        (["masks/*.png"], False, ["the stage names masks; without --landing they do not teach"]),
        (["defects/*.png"], True, ["the landing zone has no masks"]),
    ],
)
def test_without_masks_labels_teach(
    landing: Path, tmp_path: Path, masks: list[str], is_landing: bool, said: list[str]
) -> None:
    context: Any = SimpleNamespace(stage=stage_with(masks), folder=tmp_path / "training")
    recipe = PatchRecipe()
    with capture_logs() as logs:
        assert with_masks(recipe, context, str(landing) if is_landing else None) is recipe
    assert [entry["event"] for entry in logs] == said
