"""The loader: every wanted picture just once, whatever the files, order and share."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem

from lakehouse.errors import PlatelakeError
from lakehouse.tables.pictures import PICTURES
from ml.data import loader
from ml.data.loader import pictures
from ml.data.pictures import PictureFrame, picture_frame
from tests.ml.photo_lake import photo_lake, tensor


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> PictureFrame:
    return picture_frame(photo_lake(tmp_path_factory.mktemp("loader"), 23, files=3))


def order(frame: PictureFrame, **how: Any) -> list[int]:
    found = pictures(frame.files, frame.items, 4, rows=frame.rows, **how)
    return [int(at) for _, own in found for at in own]


def test_every_picture_comes_once_with_its_own_pixels(frame: PictureFrame) -> None:
    wanted = frame.items[3:20]
    seen = []
    for tensors, at in pictures(frame.files, wanted, 4, rows=frame.rows):
        assert tensors.dtype == np.uint8 and tensors.shape == (len(at), 32, 32, 3) and len(at) <= 4
        for own, place in zip(tensors, at, strict=True):
            number = int(wanted[place][1:])
            np.testing.assert_array_equal(own, tensor(number, number % 2 == 1))
        seen += at.tolist()
    assert sorted(seen) == list(range(17))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_shuffles_the_same_way_each_time(frame: PictureFrame, seed: int) -> None:
    plain, shuffled = order(frame), order(frame, seed=seed)
    assert order(frame) == plain
    assert all(order(frame, seed=seed) == shuffled for _ in range(5))
    assert len({tuple(plain), tuple(shuffled), tuple(order(frame, seed=2))}) == 3
    assert sorted(shuffled) == sorted(plain) == list(range(23))


def test_the_buffer_bounds_what_is_read_before_a_batch(tmp_path: Path) -> None:
    frame = picture_frame(photo_lake(tmp_path, 96, files=1))
    read = order(frame)
    for seed in range(20):
        found = pictures(frame.files, frame.items, 4, seed=seed, buffer=8)
        batches = [own.tolist() for _, own in found]
        mixed = [at for own in batches for at in own]
        assert mixed != read and sorted(mixed) == sorted(read)
        assert [len(own) for own in batches] == [4] * 24
        for number, own in enumerate(batches):
            assert max(read.index(at) for at in own) < 4 * number + 8


def test_a_batch_mixes_neighbouring_row_groups(tmp_path: Path) -> None:
    """Also where each fills the buffer: in every batch but the first and last."""
    frame = picture_frame(photo_lake(tmp_path, 96, files=3))
    number = {item: at for at, file in enumerate(frame.files) for item in items_of([file])}
    found = pictures(frame.files, frame.items, 8, seed=1, buffer=32, rows=frame.rows)
    groups = [len({number[frame.items[at]] for at in own}) for _, own in found]
    assert len(groups) == 12 and sum(count > 1 for count in groups) >= 6


def test_tensors_of_other_sizes_may_lie_between(tmp_path: Path) -> None:
    sides = [32, 16, 48] * 4
    lake = photo_lake(tmp_path, 12, files=2, sides=sides)
    files, items = lake.live_files(PICTURES), [f"p{at:03d}" for at in range(0, 12, 3)]
    seen = []
    for tensors, at in pictures(files, items, 3, rows=12):
        for own, place in zip(tensors, at.tolist(), strict=True):
            np.testing.assert_array_equal(own, tensor(3 * place, place % 2 == 1))
            seen.append(place)
    assert sorted(seen) == [0, 1, 2, 3]


def items_of(files: list[str]) -> list[str]:
    """What these files hold, in their order."""
    batches = loader._record_batches(files, None)
    return [item for batch in batches for item in batch["pixel_sha256"].to_pylist()]


@pytest.mark.parametrize("seed", [None, 4])
def test_shares_are_disjoint_and_make_the_batches_of_one(
    frame: PictureFrame, seed: int | None
) -> None:
    how: dict[str, Any] = {"rows": frame.rows, "seed": seed, "buffer": 5}
    whole = [own.tolist() for _, own in pictures(frame.files, frame.items, 4, **how)]
    shares = [
        [own.tolist() for _, own in pictures(frame.files, frame.items, 4, shard=(rank, 3), **how)]
        for rank in range(3)
    ]
    for batch, *own in zip(whole, *shares, strict=True):
        assert sorted(at for part in own for at in part) == sorted(batch)
        assert all(at % 3 == rank for rank, part in enumerate(own) for at in part)


def test_a_pass_that_is_not_whole_is_an_error(frame: PictureFrame) -> None:
    with pytest.raises(
        PlatelakeError, match="gave 23 rows of table pictures, its Delta log has 24"
    ):
        list(pictures(frame.files, frame.items, 4, rows=24))
    with pytest.raises(PlatelakeError, match="lacks 1 of 24 wanted pictures"):
        list(pictures(frame.files, [*frame.items, "other"], 4, rows=23))
    doubled = [*frame.files, frame.files[0]]
    with pytest.raises(PlatelakeError, match="more than once"):
        list(pictures(doubled, frame.items, 4))


def test_rows_that_petastorm_loses_are_missed(
    frame: PictureFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = loader._record_batches

    def losing(files: Any, seed: Any) -> Any:
        groups = list(whole(files, seed))
        return iter(groups[1:])

    monkeypatch.setattr(loader, "_record_batches", losing)
    with pytest.raises(PlatelakeError, match="its Delta log has 23"):
        list(pictures(frame.files, frame.items[:1], 4, rows=frame.rows))


def test_a_file_that_is_gone_is_an_error(frame: PictureFrame, tmp_path: Path) -> None:
    with pytest.raises(PlatelakeError, match="a live file is gone"):
        list(pictures([*frame.files, str(tmp_path / "gone.parquet")], frame.items, 4))


def test_any_path_is_a_path(frame: PictureFrame, tmp_path: Path) -> None:
    folder = tmp_path / "a b#c%20=1 접수?"
    folder.mkdir()
    files = [folder / f"x={at}.parquet" for at in range(len(frame.files))]
    for file, source in zip(files, frame.files, strict=True):
        file.write_bytes(Path(source).read_bytes())
    found = pictures([str(file) for file in files], frame.items, 4, rows=frame.rows)
    assert sorted(at for _, own in found for at in own) == list(range(23))


def test_urls_of_hdfs_are_read_there(frame: PictureFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for hdfs_native, which takes host and port, and whole URLs as paths."""
    asked = []

    class HdfsFileSystem(LocalFileSystem):
        cachable = False

        def __init__(self, host: str, port: int) -> None:
            super().__init__()
            asked.append((host, port))

        def open(self, path: str, mode: str = "rb", **how: Any) -> Any:
            return super().open(path.removeprefix("hdfs://master:9000"), mode, **how)

    module = ModuleType("hdfs_native.fsspec")
    module.HdfsFileSystem = HdfsFileSystem  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hdfs_native", ModuleType("hdfs_native"))
    monkeypatch.setitem(sys.modules, "hdfs_native.fsspec", module)
    files = [f"hdfs://master:9000{file}" for file in frame.files]
    found = list(pictures(files, frame.items, 4, rows=frame.rows))
    assert sorted(at for _, own in found for at in own) == list(range(23))
    assert asked == [("master", 9000)]


def test_hdfs_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hdfs_native", None)
    monkeypatch.setitem(sys.modules, "hdfs_native.fsspec", None)
    with pytest.raises(PlatelakeError, match="pip install hdfs-native"):
        list(pictures(["hdfs://master:9000/lake/x.parquet"], ["a"], 4))
