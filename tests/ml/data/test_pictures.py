"""The frame that a CNN learns from: what is in it, who belongs together, and at which version."""

from pathlib import Path

import numpy as np
import pytest

from lakehouse.delta.lake import Lake
from lakehouse.errors import PlatelakeError
from ml.data.errors import TooFewError
from ml.data.pictures import PERCEPTUAL_NEIGHBOURS, picture_frame
from tests.conftest import Chain
from tests.ml.photo_lake import no_spark, photo_lake
from tests.plant import write_photo

A, A6, A12, FAR = "0000000000000000", "000000000000003f", "0000000000000fff", "ffffffffffffffff"


def parts(groups: tuple[str, ...]) -> set[frozenset[int]]:
    return {frozenset(at for at, own in enumerate(groups) if own == group) for group in set(groups)}


def test_what_the_main_job_stored_is_a_frame(chain: Chain) -> None:
    for at in range(3):
        write_photo(chain.landing, f"good/g{at}.png", at)
        write_photo(chain.landing, f"bad/b{at}.png", 10 + at)
    write_photo(chain.landing, "good/again.png", 0)
    write_photo(chain.landing, "unlabelled/new.png", 20)
    chain("ingest_photos")
    lake = Lake(str(chain.lake_folder), "chromate", no_spark)
    frame = picture_frame(lake)
    assert len(frame.items) == 6 and list(frame.items) == sorted(frame.items)
    assert frame.labels.sum() == 3 and frame.labels.dtype == np.int64
    assert (frame.rows, frame.height, frame.width) == (7, 224, 224)
    assert all(Path(file).is_file() for file in frame.files)

    write_photo(chain.landing, "bad/later.png", 30)
    chain("ingest_photos")
    assert len(picture_frame(lake).items) == 7
    pinned = picture_frame(lake, versions=frame.versions)
    assert (pinned.items, pinned.sha256, pinned.rows) == (frame.items, frame.sha256, frame.rows)

    together = picture_frame(lake, {"again.png": "part", "b1.png": "part"}, near=-1)
    assert sorted(len(part) for part in parts(together.groups)) == [1, 1, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("hashes", "near", "expected"),
    [
        ([A, A6, A12, FAR], 6, [{0, 1, 2}, {3}]),  # A and A12 are linked by A6 alone
        ([A, A6, A12, FAR], 5, [{0}, {1}, {2}, {3}]),
        ([A, A, A6, FAR], 0, [{0, 1}, {2}, {3}]),
        ([A, A, A6, FAR], -1, [{0}, {1}, {2}, {3}]),
        ([A, A6, A12, FAR], PERCEPTUAL_NEIGHBOURS, [{0, 1, 2}, {3}]),
    ],
)
def test_near_hashes_are_one_group(
    tmp_path: Path, hashes: list[str], near: int, expected: list[set[int]]
) -> None:
    lake = photo_lake(tmp_path, 4, hashes=hashes)
    assert parts(picture_frame(lake, near=near).groups) == {frozenset(part) for part in expected}


def test_given_groups_and_hashes_link_together(tmp_path: Path) -> None:
    lake = photo_lake(tmp_path, 4, hashes=[A, A6, FAR, A12])
    given = {"p001.png": "tile", "p002.png": "tile"}
    assert parts(picture_frame(lake, given, near=-1).groups) == {
        frozenset({0}), frozenset({1, 2}), frozenset({3})
    }  # fmt: skip
    assert parts(picture_frame(lake, given, near=6).groups) == {frozenset({0, 1, 2, 3})}


def test_many_pictures_are_compared_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = photo_lake(tmp_path, 5, hashes=[A, FAR, A, FAR, A])
    whole = picture_frame(lake).groups
    monkeypatch.setattr("ml.data.pictures._ROWS_AT_ONCE", 2)
    assert picture_frame(lake).groups == whole and len(set(whole)) == 2


def test_the_hash_is_of_what_training_sees(tmp_path: Path) -> None:
    frame = picture_frame(photo_lake(tmp_path, 4))
    assert frame.sha256 == picture_frame(Lake(str(tmp_path), "chromate", no_spark)).sha256
    other = frame.with_groups(dict.fromkeys(frame.items, "one"))
    assert other.sha256 != frame.sha256 and set(other.groups) == {"one"}
    assert [item.group for item in other.split_items()] == ["one"] * 4


def test_no_photos_says_so(tmp_path: Path) -> None:
    with pytest.raises(TooFewError, match=r"table pictures .* no photos"):
        picture_frame(Lake(str(tmp_path / "empty"), "chromate", no_spark))
    unlabelled = photo_lake(tmp_path / "new", 2, labels=["unlabelled"] * 2)
    with pytest.raises(TooFewError, match="picture_names has 2 pictures, none of them labelled"):
        picture_frame(unlabelled)


def test_tensors_of_two_sizes_are_refused(tmp_path: Path) -> None:
    lake = photo_lake(tmp_path, 3, sides=[32, 32, 48])
    with pytest.raises(PlatelakeError, match=r"2 sizes .32x32, 48x48"):
        picture_frame(lake)


def test_a_version_that_is_gone_is_named(tmp_path: Path) -> None:
    lake = photo_lake(tmp_path, 4)
    frame = picture_frame(lake)
    Path(frame.files[0]).unlink()
    with pytest.raises(PlatelakeError, match="version 2 of table pictures"):
        picture_frame(lake, versions=frame.versions)
    with pytest.raises(PlatelakeError, match="version 9 of table pictures"):
        picture_frame(lake, versions={**frame.versions, "pictures": 9})
