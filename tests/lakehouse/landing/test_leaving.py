"""Files on their way out of the landing zone: nothing is lost, overwritten or taken by mistake."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from lakehouse.errors import UsageError
from lakehouse.landing.files import LandedFile
from lakehouse.landing.leaving import Leaving, check_movable, is_archive, move_to_new
from lakehouse.landing.zone import (
    ARCHIVE_FOLDER,
    LEAVING_FOLDER,
    landing_root,
    list_landing,
)
from tests.lakehouse.landing.test_zone import KOREAN, stage_with
from tests.sshd import Sshd

OLD = 1_600_000_000
NAMES = ("a.csv", "x/b#1?.png", KOREAN, "x/y/c.png")


def write(folder: Path, name: str | bytes, content: str) -> Path:
    """A file with an old time, so that equal sizes are equal looks."""
    path = folder / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (OLD, OLD))
    return path


def below(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def landed(landing: str) -> list[LandedFile]:
    return list_landing(landing, stage_with(["**"]), "readings")


def take(landing: str, known: dict[str, str], archive: bool, run: str = "run") -> int:
    """One run's way out, with what the lake holds of each file."""
    way = Leaving(landing, "chromate", run)
    way.put_back_left()
    files = [file for file in landed(landing) if file.file in known]
    return way.take(files, {name: sha(text) for name, text in known.items()}, archive)


@pytest.fixture(params=["folder", "sftp"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Path], str]:
    """How a landing zone is named: as a folder here, or on another machine."""
    if request.param == "folder":
        return str
    host: Sshd = request.getfixturevalue("plant_host")
    return host.url


@pytest.mark.parametrize("archive", [True, False])
def test_what_is_known_goes_and_all_else_stays(
    place: Callable[[Path], str], tmp_path: Path, archive: bool
) -> None:
    known = {name: f"content of {name}" for name in NAMES}
    for name, text in known.items():
        write(tmp_path, name, text)
    write(tmp_path, "x/notes.txt", "mine")
    assert take(place(tmp_path), known, archive) == len(NAMES)
    archived = {f"{ARCHIVE_FOLDER}/{name}": text for name, text in known.items()}
    assert below(tmp_path) == {"x/notes.txt": "mine"} | (archived if archive else {})
    assert (tmp_path / "x" / "y").is_dir()
    assert list((tmp_path / LEAVING_FOLDER).iterdir()) == []
    assert [file.file for file in landed(place(tmp_path))] == ["x/notes.txt"]
    if archive:
        assert (tmp_path / ARCHIVE_FOLDER / "a.csv").stat().st_mtime == OLD


def test_an_emptied_landing_zone_is_no_error(place: Callable[[Path], str], tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "a")
    assert take(place(tmp_path), {"a.csv": "a"}, archive=False) == 1
    assert landed(place(tmp_path)) == []


@pytest.mark.parametrize("archive", [True, False])
def test_content_that_the_lake_does_not_hold_stays(
    place: Callable[[Path], str], tmp_path: Path, archive: bool
) -> None:
    write(tmp_path, "a.csv", "new")
    assert take(place(tmp_path), {"a.csv": "old"}, archive) == 0
    assert below(tmp_path) == {"a.csv": "new"}


def test_a_file_that_changes_after_the_listing_stays(
    place: Callable[[Path], str], tmp_path: Path
) -> None:
    write(tmp_path, "a.csv", "old")
    [file] = landed(place(tmp_path))
    (tmp_path / "a.csv").write_text("old")
    way = Leaving(place(tmp_path), "chromate", "run")
    assert way.take([file], {"a.csv": sha("old")}, archive=False) == 0
    assert below(tmp_path) == {"a.csv": "old"}


def test_what_is_delivered_anew_while_the_last_leaves_stays(
    place: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.csv", "old")
    hashed = Leaving._hash

    def deliver(self: Leaving, path: str) -> str:
        write(tmp_path, "a.csv", "new")
        return hashed(self, path)

    monkeypatch.setattr(Leaving, "_hash", deliver)
    assert take(place(tmp_path), {"a.csv": "old"}, archive=False) == 1
    assert below(tmp_path) == {"a.csv": "new"}


def test_neither_of_two_unknown_contents_of_a_name_is_lost(
    place: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.csv", "two")
    hashed = Leaving._hash

    def deliver(self: Leaving, path: str) -> str:
        write(tmp_path, "a.csv", "three")
        return hashed(self, path)

    monkeypatch.setattr(Leaving, "_hash", deliver)
    assert take(place(tmp_path), {"a.csv": "one"}, archive=False) == 0
    assert below(tmp_path) == {
        "a.csv": "three",
        f"{ARCHIVE_FOLDER}/{ARCHIVE_FOLDER}/a.csv.1": "two",
    }


def test_the_archive_is_never_overwritten(place: Callable[[Path], str], tmp_path: Path) -> None:
    for text in ("one", "two", "two", "three"):
        write(tmp_path, "x/a.csv", text)
        assert take(place(tmp_path), {"x/a.csv": text}, archive=True) == 1
    archive = tmp_path / ARCHIVE_FOLDER
    inner = f"{ARCHIVE_FOLDER}/x/a.csv"
    assert below(archive) == {"x/a.csv": "three", f"{inner}.1": "one", f"{inner}.2": "two"}
    assert [file.file for file in landed(place(archive))] == ["x/a.csv"]


def test_links_and_what_lies_below_them_stay(place: Callable[[Path], str], tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    write(landing, "a.csv", "a")
    write(tmp_path, "elsewhere/b.csv", "b")
    (landing / "nas").symlink_to("../elsewhere")
    (landing / "link.csv").symlink_to("../elsewhere/b.csv")
    known = {"a.csv": "a", "nas/b.csv": "b", "link.csv": "b"}
    assert take(place(landing), known, archive=False) == 1
    assert below(tmp_path / "elsewhere") == {"b.csv": "b"}
    assert (landing / "link.csv").is_symlink()


def test_a_move_never_overwrites(place: Callable[[Path], str], tmp_path: Path) -> None:
    one, two = write(tmp_path, "one", "1"), write(tmp_path, "two", "2")
    file_system, _ = landing_root(place(tmp_path))
    with pytest.raises(FileExistsError):
        move_to_new(file_system, str(one), str(two))
    assert below(tmp_path) == {"one": "1", "two": "2"}


def test_without_hard_links_a_move_does_not_overwrite_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*names: Any, **options: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    one, two = write(tmp_path, "one", "1"), write(tmp_path, "two", "2")
    with pytest.raises(FileExistsError):
        move_to_new(LocalFileSystem(), str(one), str(two))
    move_to_new(LocalFileSystem(), str(one), str(tmp_path / "three"))
    assert below(tmp_path) == {"two": "2", "three": "1"}


def test_where_moves_may_overwrite_files_are_only_kept() -> None:
    with pytest.raises(UsageError, match="can only be kept"):
        check_movable("memory://plant")


def test_an_archive_is_known_as_one(tmp_path: Path) -> None:
    assert is_archive(f"{tmp_path}/{ARCHIVE_FOLDER}/")
    assert not is_archive(str(tmp_path))


class Killed(BaseException):
    """As abrupt as SIGKILL: nobody catches it, and nothing is tidied up on the way."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Makes the step of that number the last; steps are counted before each change on disk."""
    counter: Counter[str] = Counter()

    def arm(step: int) -> None:
        counter["step"], counter["last"] = 0, step

    def guarded(work: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            counter["step"] += 1
            if counter["step"] == counter["last"]:
                raise Killed
            return work(*args, **options)

        return step

    for place, name in (
        *((os, name) for name in ("link", "unlink")),
        *((LocalFileSystem, name) for name in ("rm_file", "rmdir", "makedirs")),
        (Leaving, "_hash"),
    ):
        monkeypatch.setattr(place, name, guarded(getattr(place, name)))
    return arm


@pytest.mark.parametrize("archive", [True, False])
def test_killed_at_any_step_and_run_again(
    tmp_path: Path, archive: bool, killed_at: Callable[[int], None]
) -> None:
    known = {"a.csv": "new a", "x/b.png": "b", "x/c.png": "c", "d.csv": "old d"}
    steps = 0
    while True:
        steps += 1
        landing = tmp_path / str(steps)
        for name in known:
            write(landing, name, {"a.csv": "new a", "d.csv": "new d"}.get(name, name[-5]))
        write(landing, "notes.txt", "mine")
        write(landing / ARCHIVE_FOLDER, "a.csv", "old a")
        killed_at(steps)
        try:
            take(str(landing), known, archive)
            break
        except Killed:
            killed_at(0)
        there = Counter(below(landing).values())
        assert there["new d"] >= 1 and there["mine"] == 1 and there["old a"] >= 1
        take(str(landing), known, archive, "next run")
        inner, twice = (f"{ARCHIVE_FOLDER}/{ARCHIVE_FOLDER}/a.csv.{n}" for n in (1, 2))
        expected = {"d.csv": "new d", "notes.txt": "mine", f"{ARCHIVE_FOLDER}/a.csv": "old a"}
        if archive:
            for name in ("a.csv", "x/b.png", "x/c.png"):
                expected[f"{ARCHIVE_FOLDER}/{name}"] = known[name]
            expected[inner] = "old a"
        found = below(landing)
        if found.get(twice) == "old a":  # Killed while it had two names: one copy more.
            del found[twice]
        assert found == expected, f"killed at step {steps}"
        assert list((landing / LEAVING_FOLDER).iterdir()) == []
    assert steps > 20
