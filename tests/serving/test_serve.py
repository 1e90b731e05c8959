"""The commands that serve: a process of its own, without Spark, that stops when it is told to."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from jobs.serve import _listen
from lakehouse.sql.database import Database
from serving.access.accounts import Accounts
from serving.tables import inspections
from serving.verdicts.uploads import Uploads
from tests.serving.conftest import Plant

TIMEOUT = 120
PLATELAKE = Path(sys.executable).with_name("platelake")
DEMO = """
from rich.console import Console
from jobs.demo import open_the_app
from jobs.options import Options
from lakehouse.spark.session import open_session
open_session("demo")
open_the_app(Options("chromate", landing={landing!r}, lake={lake!r}), Console(soft_wrap=True))
"""


def said(process: "subprocess.Popen[str]", pattern: str) -> str:
    """What the pattern finds in the process's output, once it is there."""
    assert process.stdout
    text = ""
    for line in process.stdout:
        text += line
        if found := re.search(pattern, text):
            return found[1]
    raise AssertionError(f"{pattern} was not said: {text}")


def descendants(pid: int) -> set[str]:
    """The programs that this process has started and that still run; not what has ended."""
    found = set()
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        _, name, state = re.split(r"[()]", Path(f"/proc/{child}/stat").read_text(), maxsplit=2)
        found |= descendants(int(child)) | ({name} if state.split()[0] != "Z" else set())
    return found


def ready(address: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{address}/readyz").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError("the app is not ready")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    own = {"PLATELAKE_SQL_URL": f"sqlite:///{tmp_path / 'app.db'}"}
    return os.environ | own | {"PLATELAKE_APP_FOLDER": str(tmp_path / "app")}


@pytest.mark.heavy  # For the plant's champions.
def test_the_demo_ends_with_the_app_and_a_password_of_its_own(
    plant: Plant, environment: dict[str, str], landing: Path
) -> None:
    landing.mkdir()
    (landing / "a.txt").touch()
    code = DEMO.format(landing=str(landing), lake=str(plant.lake))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            password = said(process, r"Log in as demo-1 with the password (\S+)")
            address = said(process, r"The app is at (http://[\d.:]+)/")
            ready(address)
            login = {"name": "demo-1", "password": password}
            answer = httpx.post(f"{address}/login", data=login)
            assert answer.status_code == 303
            cookie = answer.headers["set-cookie"].partition(";")[0]
            photo = {"files": ("a.png", plant.bad[0].read_bytes())}
            from_page = {"cookie": cookie, "origin": address}
            inspected = httpx.post(f"{address}/api/verdicts", files=photo, headers=from_page)
            assert inspected.json()["results"][0]["verdict"]["verdict"] == "bad"
            deadline = time.monotonic() + 30  # Spark ends with the process that used it.
            while "java" in descendants(process.pid) and time.monotonic() < deadline:
                time.sleep(0.2)
            assert "java" not in descendants(process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0


@pytest.mark.heavy  # For the plant's champions.
def test_what_was_answered_outlives_a_kill(
    plant: Plant, environment: dict[str, str], landing: Path
) -> None:
    landing.mkdir()
    url = environment["PLATELAKE_SQL_URL"]
    accounts = Accounts(Database(url))
    accounts.add("kim", by="test")
    token = {"authorization": f"Bearer {accounts.token('kim', 'test')}"}
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
    address = f"http://127.0.0.1:{port}"
    where = ["--landing", str(landing), "--lake", str(plant.lake), "--port", port]
    command = [str(PLATELAKE), "serve", "--stage", "chromate", *where]
    answered: list[tuple[str, str]] = []

    def client(number: int) -> None:
        photos = plant.good + plant.bad
        with suppress(httpx.HTTPError):  # The app was killed.
            for n in range(1_000):
                photo = photos[n % len(photos)].read_bytes() + f"{number} {n}".encode()
                files = {"files": ("part.png", photo)}
                said = httpx.post(f"{address}/api/verdicts", files=files, headers=token, timeout=60)
                verdict = said.json()["results"][0]["verdict"]
                answered.append((verdict["inspection_id"], verdict["sha256"]))

    with subprocess.Popen(command, env=environment) as process, ThreadPoolExecutor(8) as pool:
        try:
            ready(address)
            for number in range(8):
                pool.submit(client, number)
            deadline = time.monotonic() + 60
            while len(answered) < 20 and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            process.kill()
    assert len(answered) >= 20
    with Database(url).transaction() as connection:
        kept = {(one.inspection_id, one.sha256) for one in connection.execute(inspections.select())}
    assert set(answered) <= kept
    assert {sha256 for _, sha256 in kept} <= {file.stem for file in landing.rglob("*.png")}


def test_the_end_of_an_answer_waits_for_no_ack() -> None:
    with _listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.fixture
def serve(environment: dict[str, str]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run `platelake serve` with these options, where it does not come to serve."""

    def run(*options: str) -> "subprocess.CompletedProcess[str]":
        command = [str(PLATELAKE), "serve", "--stage", "chromate", "--landing", "x", *options]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=TIMEOUT
        )

    return run


@pytest.mark.heavy  # For the plant's champions.
def test_serve_says_what_is_missing(
    plant: Plant, serve: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    nowhere = serve("--lake", "nowhere")
    assert nowhere.returncode == 1 and "there is no lake" in nowhere.stderr
    half = serve("--lake", str(plant.lake), "--tls-cert", "cert.pem")
    assert half.returncode == 2 and "--tls-key" in half.stderr


@pytest.mark.heavy  # For the plant's champions.
def test_a_taken_port_is_found_before_anything_is_touched(
    plant: Plant, tmp_path: Path, serve: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    upload = tmp_path / "app" / "uploads" / "x" / "part.png"
    upload.parent.mkdir(parents=True)
    upload.touch()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        taken = serve("--lake", str(plant.lake), "--port", port)
    assert taken.returncode == 1 and taken.stdout == ""
    assert f"port {port} of 127.0.0.1 is taken" in taken.stderr and "--port" in taken.stderr
    assert "Traceback" not in taken.stderr and "Errno" not in taken.stderr
    assert [file for file in (tmp_path / "app").rglob("*") if file.is_file()] == [upload]
    foreign = serve("--lake", str(plant.lake), "--host", "192.0.2.1")
    assert foreign.returncode == 1 and "--host" in foreign.stderr


def test_an_app_leaves_the_uploads_of_a_living_app_alone(tmp_path: Path) -> None:
    """Those of an app that was killed go."""
    folder = tmp_path / "uploads"
    code = (
        "import sys, pathlib, serving.verdicts.uploads\n"
        "uploads = serving.verdicts.uploads.Uploads(pathlib.Path(sys.argv[1]), 9, 9)\n"
        "file = uploads.place('part.png')\n"
        "file.touch()\n"
        "print('file', file, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as first:
        file = Path(said(first, r"file (\S+)"))
        second = Uploads(folder, 9, 9)
        assert file.exists() and second.folder not in file.parents
        first.kill()
        first.wait()
        third = Uploads(folder, 9, 9)
        assert not file.exists() and second.folder.is_dir()
    assert {one for one in folder.iterdir() if one.is_dir()} == {second.folder, third.folder}
