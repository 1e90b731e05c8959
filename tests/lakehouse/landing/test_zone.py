"""The landing zone: which files are found, what they are called, and what opens them."""

import os
import shutil
import socket
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.landing.files import LandedFile
from lakehouse.landing.matching import KINDS
from lakehouse.landing.walk import Entry
from lakehouse.landing.zone import _as_rows, display, list_landing, look, open_url
from lakehouse.stage import Stage, load_stage
from lakehouse.stage_sections import Photos

REMEDY = "give the folder of the plant's files with --landing"
NOBODY = 65534


def stage_with(readings: list[str] | None = None, **photos: Any) -> Stage:
    stage = load_stage("chromate")
    return stage.model_copy(
        update={
            "readings": stage.readings.model_copy(update={"files": readings or ["*.csv"]}),
            "photos": Photos(**photos) if photos else None,
        }
    )


def put(folder: Path, *names: str | bytes) -> None:
    """Files of these paths; each holds its own path, so that no two are alike."""
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))


def found(folder: Path | str, *globs: str) -> list[str]:
    return [file.file for file in list_landing(str(folder), stage_with(list(globs)), "readings")]


def complaint(work: Callable[[], object]) -> str:
    with pytest.raises(PlatelakeError) as error:
        work()
    return str(error.value)


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        pytest.param("*.csv", ["a.csv"], id="* is one folder's"),
        pytest.param("**/*.csv", ["a.csv", "x/b.csv", "x/y/c.csv"], id="**/ is any depth"),
        pytest.param("x/**", ["x/b.csv", "x/d[1].csv1", "x/y/c.csv"], id="** is all below"),
        pytest.param("x/**/c.csv", ["x/y/c.csv"], id="**/ between"),
        pytest.param("*/*.csv", ["x/b.csv"], id="one folder deep"),
        pytest.param("?.csv", ["a.csv"], id="? is one character"),
        pytest.param("x?b.csv", [], id="? is no folder's end"),
        pytest.param("x/d[1].csv?", ["x/d[1].csv1"], id="brackets are themselves"),
        pytest.param("x/[b].csv", [], id="brackets are no choice"),
        pytest.param("A.csv", ["a.csv"], id="case does not matter"),
        pytest.param("a.cs", [], id="the whole path, end"),
        pytest.param("b.csv", [], id="the whole path, start"),
        pytest.param("a+csv", [], id="no regular expression"),
    ],
)
def test_globs(tmp_path: Path, glob: str, expected: list[str]) -> None:
    put(tmp_path, "a.csv", "x/b.csv", "x/y/c.csv", "x/d[1].csv1")
    assert found(tmp_path, glob) == expected


def test_a_file_that_several_globs_match_is_found_once(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", "b.txt")
    assert found(tmp_path, "*.csv", "a.*", "*.txt") == ["a.csv", "b.txt"]


KOREAN = "양품 사진.png"
NAMES: dict[str, tuple[str | bytes, str]] = {
    "spaces": (" a  b .csv", " a  b .csv"),
    "Korean, composed": (
        unicodedata.normalize("NFC", KOREAN),
        unicodedata.normalize("NFC", KOREAN),
    ),
    "Korean, decomposed": (
        unicodedata.normalize("NFD", KOREAN),
        unicodedata.normalize("NFD", KOREAN),
    ),
    "Korean, cp949": (KOREAN.encode("cp949"), KOREAN),
    "cp949 below UTF-8": ("도금".encode() + b"/" + "불량".encode("cp949"), "도금/불량"),
    "UTF-8 below cp949": ("도금".encode("cp949") + b"/" + "불량".encode(), "도금/불량"),
    "no known encoding": (b"a\xff\xfe.png", "a\\xff\\xfe.png"),
    "quotes": ('it\'s "it" `x`.csv', 'it\'s "it" `x`.csv'),
    "dots": ("..a..b../...c..", "..a..b../...c.."),
    "newline": ("a\nb\r\tc.csv", "a\nb\r\tc.csv"),
    "a URL's characters": ("a%20b?c#d&e=f;g.csv", "a%20b?c#d&e=f;g.csv"),
    "another protocol": ("s3:::b::c.csv", "s3:::b::c.csv"),
    "backslash, home": ("~/$HOME\\a*[b].csv", "~/$HOME\\a*[b].csv"),
    "hidden": (".a/.b", ".a/.b"),
    "long": ("가" * 85, "가" * 85),
}


@pytest.mark.parametrize(("name", "shown"), NAMES.values(), ids=NAMES)
def test_any_name_is_data_and_its_url_opens_it(
    tmp_path: Path, name: str | bytes, shown: str
) -> None:
    put(tmp_path, name)
    [file] = list_landing(str(tmp_path), stage_with(["**"]), "readings")
    modified = datetime.fromtimestamp((tmp_path / os.fsdecode(name)).stat().st_mtime, UTC)
    url = file.url
    assert file == LandedFile("readings", shown, url, len(os.fsencode(name)), modified, None)
    assert url.isascii()
    assert shown == shown.encode().decode()
    with open_url(str(tmp_path), url) as stream:
        assert stream.read() == os.fsencode(name)


def test_all_names_side_by_side_are_kept_apart(tmp_path: Path) -> None:
    names = [name for name, _ in NAMES.values()]
    put(tmp_path, *names)
    files = list_landing(str(tmp_path), stage_with(["**"]), "readings")
    opened = []
    for file in files:
        with open_url(str(tmp_path), file.url) as stream:
            opened.append(stream.read())
    assert sorted(opened) == sorted(map(os.fsencode, names))
    assert [file.file for file in files] == sorted({file.file for file in files})


def test_of_two_names_that_read_alike_utf_8_keeps_the_text(tmp_path: Path) -> None:
    put(tmp_path, "가.csv", "가.csv".encode("cp949"), "나.csv".encode("cp949"))
    files = list_landing(str(tmp_path), stage_with(["*.csv"]), "readings")
    contents = {}
    for file in files:
        with open_url(str(tmp_path), file.url) as stream:
            contents[file.file] = stream.read()
    assert contents == {
        "\\xb0\\xa1.csv": "가.csv".encode("cp949"),
        "가.csv": "가.csv".encode(),
        "나.csv": "나.csv".encode("cp949"),
    }


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    "folder",
    [
        pytest.param(unicodedata.normalize("NFC", "양품").encode(), id="composed"),
        pytest.param(unicodedata.normalize("NFD", "양품").encode(), id="decomposed"),
        pytest.param("양품".encode("cp949"), id="cp949"),
    ],
)
def test_a_korean_folder_is_found_however_it_is_written(
    tmp_path: Path, folder: bytes, form: str
) -> None:
    put(tmp_path, folder + b"/1.png")
    stage = stage_with(labels={"good": unicodedata.normalize(form, "**/양품/*")})  # type: ignore[arg-type]
    [file] = list_landing(str(tmp_path), stage, "photos")
    assert (file.file, file.label) == (display(os.fsdecode(folder)) + "/1.png", "good")


LABELS = {"good": "**/good/*", "bad": ["**/bad/*", "reject*"]}


def test_photos_have_the_label_of_their_folder(tmp_path: Path) -> None:
    put(tmp_path, "good/1", "a/b/good/2", "bad/3", "reject 4", "new/5", "new/x/6", "good/x/7", "8")
    stage = stage_with(labels=LABELS, unlabelled="new/**")
    photos = list_landing(str(tmp_path), stage, "photos")
    assert [(photo.kind, photo.file, photo.label) for photo in photos] == [
        ("photos", "a/b/good/2", "good"),
        ("photos", "bad/3", "bad"),
        ("photos", "good/1", "good"),
        ("photos", "new/5", "unlabelled"),
        ("photos", "new/x/6", "unlabelled"),
        ("photos", "reject 4", "bad"),
    ]


@pytest.mark.parametrize("file", ["good/bad/1", "reject/good/1", "good/reject"])
def test_only_the_folder_that_the_glob_names_counts(tmp_path: Path, file: str) -> None:
    put(tmp_path, file)
    [photo] = list_landing(str(tmp_path), stage_with(labels=LABELS), "photos")
    assert photo.label == ("bad" if file.startswith("good/bad") else "good")


def test_a_photo_of_two_labels_is_a_usage_error(tmp_path: Path) -> None:
    put(tmp_path, "good/reject 1")
    stage = stage_with(labels={"good": "good/*", "bad": "**/reject*"})
    with pytest.raises(UsageError) as error:
        list_landing(str(tmp_path), stage, "photos")
    assert str(error.value) == (
        "stage chromate: good/reject 1 is matched by the globs of bad and good; make them disjoint"
    )


def test_kinds_are_found_by_their_own_globs(tmp_path: Path) -> None:
    put(tmp_path, "sensor/1.csv", "Error Lot list.csv", "photos/good/1.png", "sensor/README")
    stage = load_stage("chromate")
    kinds = {
        kind: [(f.kind, f.file, f.label) for f in list_landing(str(tmp_path), stage, kind)]
        for kind in KINDS
    }
    assert kinds == {
        "readings": [("readings", "sensor/1.csv", None)],
        "error_lists": [("error_lists", "Error Lot list.csv", None)],
        "photos": [("photos", "photos/good/1.png", "good")],
    }


def test_a_stage_without_photos_has_none(tmp_path: Path) -> None:
    put(tmp_path, "good/1.png")
    assert list_landing(str(tmp_path), stage_with(), "photos") == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param("", f"no landing directory is given; {REMEDY}", id="none"),
        pytest.param("{}/no", f"the landing directory {{}}/no does not exist; {REMEDY}", id="gone"),
        pytest.param("{}/a", f"the landing directory {{}}/a is a file; {REMEDY}", id="a file"),
        pytest.param("{}/e", f"the landing directory {{}}/e is empty; {REMEDY}", id="empty"),
        pytest.param(
            "{}/f", f"the landing directory {{}}/f is empty; {REMEDY}", id="only empty folders"
        ),
        pytest.param(
            "{}/l", f"the landing directory {{}}/l does not exist; {REMEDY}", id="a broken link"
        ),
        pytest.param(
            "nfs3://x",
            "the landing directory nfs3://x cannot be reached: Protocol not known: nfs3",
            id="no such protocol",
        ),
    ],
)
def test_a_landing_directory_that_is_none_is_one_sentence(
    tmp_path: Path, given: str, expected: str
) -> None:
    put(tmp_path, "a")
    (tmp_path / "e").mkdir()
    (tmp_path / "f" / "g" / "h").mkdir(parents=True)
    (tmp_path / "l").symlink_to("nowhere")
    landing = given.format(tmp_path)
    sentence = complaint(lambda: list_landing(landing, stage_with(), "readings"))
    assert sentence == expected.format(tmp_path)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may look into."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(work: Callable[[], str]) -> str:
    """What `work` returns, done by a user without rights."""
    if os.geteuid() != 0:
        return work()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(NOBODY)
            os.write(writer, work().encode())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


@pytest.mark.parametrize("closed", ["plant", "plant/in"])
def test_an_unreadable_folder_is_one_sentence(public: Path, closed: str) -> None:
    put(public, "plant/in/2021/09/a.csv", "plant/in/2021/b.csv")
    landing = str(public / "plant" / "in")
    (public / closed).chmod(0o000)
    stage = stage_with(["**"])
    said = as_nobody(lambda: complaint(lambda: list_landing(landing, stage, "readings")))
    (public / closed).chmod(0o755)
    refused = public / "plant" / "in" if closed == "plant" else public / closed
    assert said == (
        f"the landing directory {landing} cannot be read: [Errno 13] Permission denied: "
        f"'{refused}'; give this user the right to read it"
    )


def test_an_unreadable_subfolder_is_left_out_and_named(public: Path) -> None:
    put(public, "in/lost+found/a.csv", "in/b.csv")
    (public / "in" / "lost+found").chmod(0o000)

    def attempt() -> str:
        found = look(str(public / "in"))
        files = [file.file for file in found.sort(stage_with(["**"])).landed["readings"]]
        hidden = found.is_hidden("lost+found/a.csv"), found.is_hidden("b.csv")
        return str((files, found.unreadable, hidden))

    said = as_nobody(attempt)
    (public / "in" / "lost+found").chmod(0o755)
    assert said == str((["b.csv"], ("lost+found",), (True, False)))


def test_files_that_no_glob_names_are_told(tmp_path: Path) -> None:
    put(tmp_path, "sensor/a.CSV", "sensor/b.csv.gz", "sensor/c.csv.ZIP", "sensor/d.txt", "read.me")
    put(tmp_path, "app/x.png", "Thumbs.db", "sensor/._a.csv", "sensor/desktop.ini", "~$list.xlsx")
    sorted_ = look(str(tmp_path)).sort(stage_with(["sensor/*.csv"]))
    names = [file.file for file in sorted_.landed["readings"]]
    assert names == ["sensor/a.CSV", "sensor/b.csv.gz", "sensor/c.csv.ZIP"]
    assert sorted_.unmatched == ["read.me", "sensor/d.txt"]
    strict = stage_with(["sensor/*.csv"]).model_copy(update={"case_sensitive": True})
    assert "sensor/a.CSV" in look(str(tmp_path)).sort(strict).unmatched


def test_a_file_that_cannot_be_read_is_still_found(public: Path) -> None:
    put(public, "a.csv")
    (public / "a.csv").chmod(0o000)

    def attempt() -> str:
        [file] = list_landing(str(public), stage_with(["*"]), "readings")
        try:
            open_url(str(public), file.url)
        except OSError as error:
            return f"{file.file}: {error.strerror}"
        return "it could be read"

    assert as_nobody(attempt) == "a.csv: Permission denied"


def test_links_to_files_are_files_with_the_targets_size_and_time(tmp_path: Path) -> None:
    landing, elsewhere = tmp_path / "landing", tmp_path / "elsewhere"
    put(elsewhere, "target")
    os.utime(elsewhere / "target", (1_600_000_000, 1_600_000_000))
    landing.mkdir()
    (landing / "a.csv").symlink_to("../elsewhere/target")
    [file] = list_landing(str(landing), stage_with(), "readings")
    assert (file.file, file.size) == ("a.csv", 6)
    assert file.modified_at == datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC)
    with open_url(str(landing), file.url) as stream:
        assert stream.read() == b"target"


def test_a_link_that_leads_nowhere_is_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "a.csv").symlink_to("nowhere")
    (tmp_path / "b.csv").symlink_to("b.csv")
    files = list_landing(str(tmp_path), stage_with(), "readings")
    assert [file.file for file in files] == ["a.csv", "b.csv"]
    for file in files:
        with pytest.raises(OSError, match=r"No such file|Too many levels"):
            open_url(str(tmp_path), file.url)


def test_linked_folders_are_walked_once_and_loops_end(tmp_path: Path) -> None:
    landing, elsewhere = tmp_path / "landing", tmp_path / "elsewhere"
    put(landing, "x/1", "y/2")
    put(elsewhere, "3", "deep/4")
    for link, target in {
        "a loop": ".",
        "x/up": "..",
        "x/to y": "../y",
        "y/to x": "../x",
        "a twin": "x",
        "nas": "../elsewhere",
        **{f"nas {n:02}": "../elsewhere" for n in range(30)},
    }.items():
        (landing / link).symlink_to(target)
    (elsewhere / "back").symlink_to(landing)
    assert found(landing, "**") == ["nas/3", "nas/deep/4", "x/1", "y/2"]


def test_the_landing_directory_may_itself_be_a_link(tmp_path: Path) -> None:
    put(tmp_path, "real/x/1.csv")
    (tmp_path / "link").symlink_to("real")
    assert found(tmp_path / "link", "x/*") == ["x/1.csv"]


def test_pipes_and_sockets_are_no_files(tmp_path: Path) -> None:
    put(tmp_path, "a.csv")
    os.mkfifo(tmp_path / "b.csv")
    (tmp_path / "link.csv").symlink_to("b.csv")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(tmp_path, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/c.csv")
        os.close(here)
    assert found(tmp_path) == ["a.csv"]


@pytest.mark.parametrize(
    "landing", ["{0}", "{0}/", "{0}/x/..", "file://{0}", "l::z", "./l::z", "../{1}/l::z/"]
)
def test_the_landing_directory_may_be_written_in_many_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, landing: str
) -> None:
    put(tmp_path, "x/1.csv", "l::z/x/1.csv")
    monkeypatch.chdir(tmp_path)
    given = landing.format(tmp_path, tmp_path.name)
    [file] = list_landing(given, stage_with(["x/*"]), "readings")
    assert file.file == "x/1.csv"
    monkeypatch.chdir("/")
    with open_url(given, file.url) as stream:
        assert stream.read() == (b"l::z/x/1.csv" if "l::z" in given else b"x/1.csv")


class Remote(fsspec.spec.AbstractFileSystem):  # type: ignore[misc]
    """A file system elsewhere that lists `entries`, folders by a trailing /."""

    protocol = "platelaketest"
    entries: tuple[str, ...] = ("a.csv",)
    about: dict[str, Any] = {"mtime": 0}  # noqa: RUF012
    vanished = ""

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        return {"name": path, "size": 0, "type": "directory"}

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[dict[str, Any]]:
        if self.vanished and path.endswith(self.vanished):
            raise FileNotFoundError(path)
        below = [f"{path}/{name}" for name in self.entries if "/" not in path]
        folders = [name.rstrip("/") for name in below if name.endswith("/")]
        files = [name for name in below if not name.endswith("/")] or [f"{path}/deep.csv"]
        return [
            {"name": path, "size": 0, "type": "directory"},  # As some object stores do.
            *({"name": name, "size": 0, "type": "directory"} for name in folders),
            *({"name": name, "size": 3, "type": "file", **self.about} for name in files),
        ]


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes `platelaketest://` be so."""

    def set_up(**attributes: Any) -> None:
        fsspec.register_implementation(Remote.protocol, Remote, clobber=True)
        for name, value in attributes.items():
            monkeypatch.setattr(Remote, name, value)

    return set_up


@pytest.mark.parametrize(
    "about",
    [
        pytest.param({"mtime": 1_600_000_000.25}, id="seconds"),
        pytest.param({"modificationTime": 1_600_000_000_250}, id="milliseconds, as WebHDFS"),
        pytest.param(
            {"LastModified": datetime(2020, 9, 13, 12, 26, 40, 250_000, tzinfo=UTC)}, id="S3"
        ),
        pytest.param(
            {"last_modified": datetime(2020, 9, 13, 21, 26, 40, 250_000, ZoneInfo("Asia/Seoul"))},
            id="another zone",
        ),
    ],
)
def test_file_systems_tell_the_time_in_their_own_ways(
    remote: Callable[..., None], about: dict[str, Any]
) -> None:
    remote(about=about)
    [file] = list_landing("platelaketest://plant", stage_with(), "readings")
    moment = datetime(2020, 9, 13, 12, 26, 40, 250_000, tzinfo=UTC)
    assert file == LandedFile("readings", "a.csv", "plant/a.csv", 3, moment)
    assert file.modified_at.tzinfo is UTC


def test_a_file_without_a_time_was_modified_just_now(remote: Callable[..., None]) -> None:
    remote(about={})
    [file] = list_landing("platelaketest://plant", stage_with(), "readings")
    assert timedelta(0) <= datetime.now(UTC) - file.modified_at < timedelta(minutes=1)


def test_a_folder_that_vanishes_meanwhile_is_not_missed(remote: Callable[..., None]) -> None:
    remote(entries=("gone/", "there/", "a.csv"), vanished="gone")
    assert found("platelaketest://plant", "**") == ["a.csv", "there/deep.csv"]


def test_links_of_this_machine_mean_nothing_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remote: Callable[..., None]
) -> None:
    (tmp_path / "plant" / "one").mkdir(parents=True)
    (tmp_path / "plant" / "two").symlink_to("one")
    monkeypatch.chdir(tmp_path)
    remote(entries=("one/", "two/", "a.csv"))
    assert found("platelaketest://plant", "**") == ["a.csv", "one/deep.csv", "two/deep.csv"]


class Refusing(Remote):
    """A file system that cannot be connected to."""

    def __init__(self, **options: Any) -> None:
        raise ConnectionRefusedError(111, "Connection refused")


@pytest.mark.parametrize(
    ("protocol", "implementation", "expected"),
    [
        ("platelakerefusing", Refusing, "[Errno 111] Connection refused"),
        ("platelakemissing", "no_such_module.X", "install it"),
    ],
)
def test_a_file_system_out_of_reach_is_one_sentence(
    protocol: str, implementation: Any, expected: str
) -> None:
    fsspec.register_implementation(protocol, implementation, clobber=True, errtxt="install it")
    said = complaint(lambda: list_landing(f"{protocol}://x", stage_with(), "readings"))
    assert said == f"the landing directory {protocol}://x cannot be reached: {expected}"


@given(st.lists(st.floats(-2e9, 4e9), max_size=20))
def test_times_are_those_of_python(seconds: list[float]) -> None:
    entries = [Entry(f"/x/{n:02}", "file", 1, moment) for n, moment in enumerate(seconds)]
    told = _as_rows(entries, "/x")["modified_at"].to_pylist()
    assert told == [datetime.fromtimestamp(moment, UTC) for moment in seconds]


def test_masks_are_no_photos_and_not_unmatched(tmp_path: Path) -> None:
    put(tmp_path, "bad/1.jpg", "bad/masks/1.png", "bad/masks/Thumbs.db", "notes.txt")
    stage = stage_with(labels={"bad": "bad/**"}, masks="**/masks/*.png")
    listing = look(str(tmp_path))
    landed, unmatched = listing.sort(stage)
    assert [photo.file for photo in landed["photos"]] == ["bad/1.jpg"]
    assert unmatched == ["notes.txt"]
    masks = listing.masks(stage)
    assert list(masks) == ["bad/masks/1.png"]
    assert open_url(str(tmp_path), masks["bad/masks/1.png"]).read() == b"bad/masks/1.png"
