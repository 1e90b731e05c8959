"""Labels that reviewers agreed on: they reach the training, in a version of their own."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from lakehouse.delta.lake import Lake
from lakehouse.tables.agreed_labels import AGREED_LABELS
from ml.data.errors import TooFewError
from ml.data.pictures import PictureFrame, picture_frame
from ml.figures.cross_validation import CrossValidation, figures_by_source
from ml.figures.metrics import FIGURES
from tests.ml.photo_lake import photo_lake

LABELS = ("good", "bad", "unlabelled", "unlabelled", "unlabelled", "good")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Six pictures; file and picture have names of their own, and p004 is in two files."""
    return with_files(photo_lake(tmp_path, 6, labels=LABELS))


def with_files(lake: Lake) -> Lake:
    """Name the file of each picture: f000 of p000."""
    place = f"{lake.folder}/picture_names"
    names = DeltaTable(place).to_pyarrow_table().to_pylist()
    for row in names:
        row["sha256"] = row["pixel_sha256"].replace("p", "f")
    again = {**names[4], "sha256": "f004-again", "name": "again.png"}
    write_deltalake(
        place, pa.Table.from_pylist([*names, again]), mode="overwrite", schema_mode="overwrite"
    )
    return lake


def agree(lake: Lake, **labels: str) -> None:
    """Two reviewers agree; `f004_again` is the file f004-again."""
    said = {"agreed_at": datetime(2021, 9, 7), "first_correction": "a", "second_correction": "b"}
    rows = [{"sha256": k.replace("_", "-"), "label": v, **said} for k, v in labels.items()]
    lake.insert_rows(AGREED_LABELS, rows)


def labels_of(frame: PictureFrame) -> dict[str, int]:
    return dict(zip(frame.items, frame.labels.tolist(), strict=True))


def test_what_people_agreed_on_is_learned_in_a_version_of_its_own(lake: Lake) -> None:
    before = picture_frame(lake)
    assert labels_of(before) == {"p000": 0, "p001": 1, "p005": 0}
    assert "agreed_labels" not in before.versions and before.people == frozenset()
    agree(lake, f002="bad", f000="bad")  # Of p000 the plant says more.
    after = picture_frame(lake)
    assert labels_of(after) == {"p000": 0, "p001": 1, "p002": 1, "p005": 0}
    assert after.people == {"p002"} and after.versions["agreed_labels"] == lake.version(
        AGREED_LABELS
    )
    assert after.sha256 != before.sha256
    agree(lake, f003="good")
    assert labels_of(picture_frame(lake)) == labels_of(after) | {"p003": 0}
    # What was learned before is found again, with and without labels of people.
    assert picture_frame(lake, versions=after.versions).sha256 == after.sha256
    assert picture_frame(lake, versions=before.versions).sha256 == before.sha256


def test_files_of_one_picture_with_different_labels_give_none(lake: Lake) -> None:
    agree(lake, f004="bad", f004_again="good", f003="bad")
    assert picture_frame(lake).people == {"p003"}


def test_people_alone_are_enough(tmp_path: Path) -> None:
    lake = photo_lake(tmp_path, 2, labels=("unlabelled",) * 2)
    with pytest.raises(TooFewError, match="none of them labelled"):
        picture_frame(lake)


def test_figures_are_told_apart_because_doubtful_photos_are_harder() -> None:
    """A loop that only hears doubt: its figures are not those of the line; the plant's are."""
    draw = np.random.default_rng(20261130)
    y = draw.integers(0, 2, 4_000)
    p = 1 / (1 + np.exp(-draw.normal(3.0 * (2 * y - 1), 2.5)))
    doubtful = (p > 0.2) & (p < 0.8)  # These reach the reviewers.
    random = (draw.random(len(y)) < 0.2) & ~doubtful  # The plant labels a sample of all parts.
    random |= doubtful & (draw.random(len(y)) < 0.2)
    taken = doubtful | random
    items = tuple(f"p{n:04}" for n in np.flatnonzero(taken))
    tested = CrossValidation(
        (), items, y[taken], p[taken, None], np.zeros((len(items), 1), np.int64), items,
        np.zeros((len(items), 1), bool),
    )  # fmt: skip
    people = frozenset(np.array(items)[~random[taken]].tolist())
    found = figures_by_source(tested, people)
    truth, both = FIGURES["ap"](y, p), FIGURES["ap"](tested.y, tested.p[:, 0])
    assert found["items_people"] + found["items_plant"] == len(items)
    assert found["ap_people"] < found["ap_plant"] - 0.1 and both < truth - 0.05
    assert found["ap_plant_low"] <= truth <= found["ap_plant_high"]
    assert figures_by_source(tested, frozenset()) == {}


@pytest.mark.slow
@pytest.mark.heavy
def test_a_study_learns_them_and_is_reproduced(tmp_path: Path) -> None:
    from jobs.options import Options
    from jobs.runner import begin
    from jobs.train import training_context
    from ml.photos.recipe import recipe_for
    from ml.photos.weights import NETWORK
    from ml.study.context import Protocol
    from ml.study.photos import train_photos
    from ml.study.reproduction import reproduce

    labels = [("good", "bad")[at % 2] if at < 16 else "unlabelled" for at in range(24)]
    lake = with_files(photo_lake(tmp_path, labels=labels))
    agree(lake, **{f"f{at:03d}": ("good", "bad")[at % 2] for at in range(16, 24)})
    training = training_context(begin(Options("chromate", lake=str(tmp_path))))
    version = train_photos(training, [recipe_for(NETWORK)], Protocol("kfold", 2), near=-1)
    metrics = training.registry.read_run(version.run_id)["metrics"]
    assert (metrics["items"], metrics["items_people"], metrics["bad_people"]) == (24, 8, 4)
    assert {"ap", "ap_plant", "ap_people", "ap_plant_low"} <= set(metrics)
    about = training.registry.describe(version.name, version.number)
    assert about is not None and "agreed_labels" in about["tags"]["data_versions"]
    assert reproduce(training, version).is_equal
