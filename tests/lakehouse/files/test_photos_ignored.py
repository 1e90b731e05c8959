"""Files between the photos that are none: they are never looked at."""

from pathlib import Path

import pytest

from lakehouse.landing.zone import label_of, list_landing
from lakehouse.stage import Stage, load_stage


def stage_of(ignore: list[str]) -> Stage:
    stage = load_stage("chromate")
    assert stage.photos is not None
    photos = stage.photos.model_copy(update={"labels": {"good": ["p/**"]}})
    return stage.model_copy(update={"photos": photos, "ignore": ignore})


NOISE = ["Thumbs.db", "thumbs.DB", "ehthumbs.db", "desktop.ini", ".DS_Store", "._a.jpg", "._"]
PHOTOS = ["a.jpg", "Thumbs.db.png", "my thumbs.db", ".hidden.png", "_a.jpg", "a._b.jpg"]


def test_what_systems_add_to_a_folder_is_passed_over(tmp_path: Path) -> None:
    for folder in ("p", "p/deep/er"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name in (*NOISE, *PHOTOS):
            (tmp_path / folder / name).write_bytes(b"x")
    found = {file.file for file in list_landing(str(tmp_path), stage_of([]), "photos")}
    assert found == {f"{folder}/{name}" for folder in ("p", "p/deep/er") for name in PHOTOS}


def test_the_stage_names_more(tmp_path: Path) -> None:
    (tmp_path / "p" / "도금").mkdir(parents=True)
    for name in ("a.jpg", "a.json", "도금/b.json", "도금/b.jpg"):
        (tmp_path / "p" / name).write_bytes(b"x")
    stage = stage_of(["**/*.json", "p/도금/b.*"])
    assert [file.file for file in list_landing(str(tmp_path), stage, "photos")] == ["p/a.jpg"]
    assert label_of(stage, "p/a.jpg") == "good"
    assert label_of(stage, "p/a.json") is None


@pytest.mark.parametrize("kind", ["readings", "error_lists"])
def test_noise_is_of_no_kind(tmp_path: Path, kind: str) -> None:
    stage = stage_of([])
    texts = {"readings": stage.readings, "error_lists": stage.error_lists}[kind]
    assert texts is not None
    stage = stage.model_copy(update={kind: texts.model_copy(update={"files": ["*.csv"]})})
    for name in ("._a.csv", "a.csv"):
        (tmp_path / name).write_bytes(b"x")
    assert [file.file for file in list_landing(str(tmp_path), stage, kind)] == ["a.csv"]
