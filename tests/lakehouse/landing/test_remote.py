"""A landing zone on another machine, by sftp: a real sshd on the loopback address."""

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.cli.main import invoke
from lakehouse.delta.lake import Lake
from lakehouse.errors import UsageError
from lakehouse.landing.files import LandedFile
from lakehouse.landing.remote import connect
from lakehouse.landing.stable import Looks
from lakehouse.landing.zone import list_landing, open_url
from lakehouse.spark.session import open_session
from lakehouse.tables.photos import PHOTOS
from tests.lakehouse.landing.test_zone import NAMES, complaint, found, put, stage_with
from tests.plant import write_photo
from tests.sshd import Sshd, free_port, make_key


def test_every_name_size_time_and_content_is_what_the_folder_says(
    plant_host: Sshd, tmp_path: Path
) -> None:
    put(tmp_path, *(name for name, _ in NAMES.values()), "x/y/deep.csv")
    os.utime(tmp_path / "x/y/deep.csv", (1_600_000_000, 1_600_000_000))
    url, stage = plant_host.url(tmp_path), stage_with(["**"])
    there = list_landing(url, stage, "readings")
    here = list_landing(str(tmp_path), stage, "readings")

    def about(files: list[LandedFile]) -> list[tuple[str, int, int]]:
        return [(f.file, f.size, int(f.modified_at.timestamp())) for f in files]

    assert about(there) == about(here)
    for file, same in zip(there, here, strict=True):
        with open_url(url, file.url) as far, open_url(str(tmp_path), same.url) as near:
            assert far.read() == near.read()


def test_a_listing_is_never_an_old_one(plant_host: Sshd, tmp_path: Path) -> None:
    url = plant_host.url(tmp_path)
    put(tmp_path, "a.csv")
    assert found(url) == ["a.csv"]
    put(tmp_path, "b.csv")
    (tmp_path / "a.csv").unlink()
    assert found(url) == ["b.csv"]


def test_links_there_are_followed_once(plant_host: Sshd, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    put(landing, "x/1.csv")
    put(tmp_path, "elsewhere/2.csv", "3.csv")
    (landing / "loop").symlink_to(".")
    (landing / "nas").symlink_to("../elsewhere")
    (landing / "file.csv").symlink_to("../3.csv")
    (landing / "broken.csv").symlink_to("nowhere")
    url = plant_host.url(landing)
    files = list_landing(url, stage_with(["**"]), "readings")
    assert [f.file for f in files] == ["broken.csv", "file.csv", "nas/2.csv", "x/1.csv"]
    assert files[1].size == len("3.csv")
    with pytest.raises(FileNotFoundError):
        open_url(url, files[0].url)


def test_a_host_whose_key_is_not_the_known_one_is_refused(plant_host: Sshd, tmp_path: Path) -> None:
    put(tmp_path, "a.csv")
    make_key(tmp_path / "other")
    plant_host.trust(tmp_path / "other.pub")
    said = complaint(lambda: found(plant_host.url(tmp_path)))
    assert "Host key is not trusted" in said
    assert "add it to ~/.ssh/known_hosts" in said


def test_a_host_that_nobody_knows_is_refused(
    plant_host: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a.csv")
    (plant_host.home / ".ssh" / "known_hosts").unlink()
    assert "not trusted" in complaint(lambda: found(plant_host.url(tmp_path)))


def test_a_key_that_the_host_does_not_know_is_refused(
    plant_host: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a.csv")
    (tmp_path / ".ssh").mkdir()
    make_key(tmp_path / ".ssh" / "id_ed25519")
    known = (plant_host.home / ".ssh" / "known_hosts").read_text()
    (tmp_path / ".ssh" / "known_hosts").write_text(known)
    monkeypatch.setenv("HOME", str(tmp_path))
    said = complaint(lambda: found(plant_host.url(tmp_path)))
    assert "its host refuses" in said
    assert "use an ssh key" in said


def test_a_password_in_the_url_is_refused_and_shown_nowhere(plant_host: Sshd) -> None:
    with pytest.raises(UsageError) as error:
        found(f"sftp://operator:geheim@127.0.0.1:{plant_host.port}/x")
    assert "geheim" not in str(error.value)
    assert "use an ssh key" in str(error.value)


def test_what_is_not_there_is_one_sentence(plant_host: Sshd, tmp_path: Path) -> None:
    url = plant_host.url(tmp_path / "nowhere")
    assert complaint(lambda: found(url)).startswith(f"the landing directory {url} does not exist;")
    put(tmp_path, "a.csv")
    url = plant_host.url(tmp_path / "a.csv")
    assert complaint(lambda: found(url)).startswith(f"the landing directory {url} is a file;")


def test_nobody_listening_is_one_sentence(plant_host: Sshd) -> None:
    url = f"sftp://127.0.0.1:{free_port()}/x"
    said = complaint(lambda: found(url))
    assert said.startswith(f"the landing directory {url} cannot be reached: ")
    assert "refused" in said or "Connect call failed" in said


def test_a_connection_that_was_lost_is_made_again(plant_host: Sshd, tmp_path: Path) -> None:
    put(tmp_path, "a.csv")
    url = plant_host.url(tmp_path)
    assert found(url) == ["a.csv"]
    plant_host.stop()
    plant_host.start()
    assert found(url) == ["a.csv"]


def test_a_connection_lost_in_the_middle_of_a_file_ends_with_a_sentence(
    plant_host: Sshd, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes(bytes(64 << 20))
    url = plant_host.url(tmp_path)
    [file] = list_landing(url, stage_with(), "readings")

    def read_while_the_server_goes() -> None:
        with open_url(url, file.url) as stream:
            stream.read(1 << 20)
            plant_host.stop()
            while stream.read(1 << 20):
                pass

    try:
        assert re.search("was lost: .*; run again", complaint(read_while_the_server_goes))
    finally:
        plant_host.start()


@contextlib.contextmanager
def writing(host: Sshd, target: Path) -> Iterator[None]:
    """Somebody else writes that file over a connection of their own, a little every 50 ms."""
    file_system, path = connect(host.url(target))
    stop, begun = threading.Event(), threading.Event()

    def write() -> None:
        with file_system.open(path, "wb") as stream:
            while not stop.wait(0.05):
                stream.write(bytes(1000))
                begun.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert begun.wait(20)
        yield
    finally:
        stop.set()
        thread.join()


def test_a_file_that_is_being_written_over_sftp_still_grows(
    plant_host: Sshd, tmp_path: Path
) -> None:
    put(tmp_path, "still.csv")
    url, stage = plant_host.url(tmp_path), stage_with()
    with writing(plant_host, tmp_path / "grows.csv"):
        looks = Looks(url, stage, 0.3)
        files = looks.files("readings")
        assert [file.file for file in files] == ["grows.csv", "still.csv"]
        assert looks.growing(files, {}) == {"grows.csv"}
    looks = Looks(url, stage, 0.3)
    assert looks.growing(looks.files("readings"), {}) == set()


@pytest.mark.heavy
def test_sparks_workers_read_by_sftp_too(plant_host: Sshd, tmp_path: Path) -> None:
    for seed in range(3):
        write_photo(tmp_path / "plant", f"good/{seed}.png", seed)
    program = "from jobs.cli.main import main; main()"
    where = ["--landing", plant_host.url(tmp_path / "plant"), "--lake", str(tmp_path / "lake")]
    done = subprocess.run(
        [sys.executable, "-c", program, "ingest-photos", *where, "--stage", "chromate"],
        env={**os.environ, "PLATELAKE_SETTLE_SECONDS": "0.2", "PLATELAKE_HERE_BYTES": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lake = Lake(str(tmp_path / "lake"), "chromate", lambda: open_session("tests"))
    assert lake.count(PHOTOS) == 3


def test_the_command_line_takes_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    url = "sftp://operator:geheim@plant/x"
    assert invoke(["ingest-photos", "--landing", url, "--stage", "chromate"]) == 2
    said = capsys.readouterr().err
    assert "geheim" not in said
    assert "use an ssh key" in " ".join(said.replace("│", " ").split())
