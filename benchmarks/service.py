"""The app and a plain FastAPI service of the same model: verdicts on photos over HTTP.

    python benchmarks/service.py SIDE LAKE FOLDER CLIENTS COUNT

Starts one side, lets so many clients post COUNT photos in all, and prints seconds, processors'
seconds and memory of the server. LAKE has a champion of photos. Both sides open that file by the
same session and decode in the same way; the plain service then answers, and keeps nothing. The app
knows its client by a token, keeps each photo, and each verdict in SQL, which is counted at the end.

Clients post photos of 480 x 720 pixels without a pause, each file a different one, on loopback and
on the same processors. The first probabilities go to FOLDER/answers.json.
"""

import http.client
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import inputs
import numpy as np
import scoring
import sqlalchemy as sa
from case import PLATELAKE, ROOT, STAGE, Case, Suite, script
from measure import memory_of, processes_of

COUNTS = {1: 300, 20: 500}
"""Verdicts of a round, by how many clients there are."""
COMPARED = 20
BOUNDARY = "platelake-benchmark"
Piece = bytes | memoryview
PNG_START = 33
"""Bytes of a PNG's signature and header, behind which a chunk of text may stand."""


def cases(suite: Suite) -> Iterator[Case]:
    """One client, then many."""
    lake = suite.folder / "scoring" / "photos"
    for clients, count in COUNTS.items():
        yield Case(
            f"verdicts of the app, {clients} client{'s' * (clients > 1)}",
            {
                side: partial(_command, name, lake, clients, count)
                for side, name in {"lake": "app", "plain FastAPI": "plain"}.items()
            },
            prepare=partial(scoring.prepare, lake, "photos", suite.given.pictures),
            check=same_answers,
            work=count,
            unit="verdicts",
            tells=True,
        )


def _command(name: str, lake: Path, clients: int, count: int, folder: Path) -> list[str]:
    return script("service", name, lake, folder, clients, count)


def same_answers(folders: dict[str, Path]) -> None:
    """Raise AssertionError if the sides gave the same photos other probabilities."""
    said = [json.loads((folder / "answers.json").read_text()) for folder in folders.values()]
    assert said[0] == said[1] and len(said[0]) == COMPARED, said


@dataclass(frozen=True)
class Service:
    """One side that runs: where it listens, and which process it is."""

    name: str
    port: int
    pid: int
    headers: dict[str, str]

    def post(self, connection: http.client.HTTPConnection, body: list[Piece]) -> float:
        """The probability that it gives a photo. Raises RuntimeError where it gives none."""
        length = str(sum(map(len, body)))
        connection.request(
            "POST", "/api/verdicts", iter(body), self.headers | {"content-length": length}
        )
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{self.name} answers {answer.status}: {said[:300]!r}")
        probability: float = json.loads(said)["results"][0]["verdict"]["probability"]
        return probability


def main(side: str, lake: Path, folder: Path, clients: int, count: int) -> None:
    """A round of one side."""
    folder.mkdir()
    photos, url = Photos(), f"sqlite:///{folder / 'app.db'}"
    started = _the_app(lake, folder, url) if side == "app" else _the_plain_service(lake)
    with started as service:
        connection = http.client.HTTPConnection("127.0.0.1", service.port)
        answers = [service.post(connection, photos.body()) for _ in range(COMPARED)]
        (folder / "answers.json").write_text(json.dumps(answers))
        spent, start = _cpu(service), time.perf_counter()
        _post(service, clients, count, photos)
        wall, cpu = time.perf_counter() - start, _cpu(service) - spent
        peak = sum(memory_of(process) for process, _ in processes_of(service.pid))
    if side == "app":
        _check_kept(url, folder / "landing", COMPARED + count)
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak}))


class Photos:
    """Bodies of requests, each with a photo that no other has. Safe for threads."""

    def __init__(self, count: int = 32, seed: int = 7) -> None:
        rng = np.random.default_rng(seed)
        self._pictures = [inputs.photo(rng) for _ in range(count)]
        self._number = itertools.count()

    def body(self) -> list[Piece]:
        """The next one, in pieces: no client copies a photo."""
        number = next(self._number)
        picture = memoryview(self._pictures[number % len(self._pictures)])
        head = (
            f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="files"; '
            f'filename="part {number}.png"\r\ncontent-type: image/png\r\n\r\n'
        )
        text = b"tEXtComment\0" + str(number).encode()
        chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
        end = f"\r\n--{BOUNDARY}--\r\n".encode()
        return [head.encode(), picture[:PNG_START], chunk, picture[PNG_START:], end]


def _post(service: Service, clients: int, count: int, photos: Photos) -> None:
    """So many clients at once, each with a connection of its own, until all are judged."""
    failed: list[BaseException] = []
    left = iter(range(count))

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        try:
            for _ in left:  # One step of this iterator is atomic.
                service.post(connection, photos.body())
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            failed.append(error)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(f"{service.name}: a client failed") from failed[0]


def _cpu(side: Service) -> float:
    return sum(cpu for _, cpu in processes_of(side.pid))


def _check_kept(url: str, landing: Path, posted: int) -> None:
    """Each verdict is in SQL and its photo in the landing zone. Raises RuntimeError."""
    from lakehouse.sql.database import Database
    from serving.tables import inspections

    with Database(url).transaction() as connection:
        rows = connection.scalar(sa.select(sa.func.count()).select_from(inspections))
    files = sum(1 for _ in landing.rglob("*.png"))
    if not rows == files == posted:
        raise RuntimeError(f"{posted} verdicts were given, {rows} rows and {files} photos are kept")


@contextmanager
def _the_app(lake: Path, folder: Path, url: str) -> Iterator[Service]:
    from lakehouse.sql.database import Database
    from serving.access.accounts import Accounts

    accounts = Accounts(Database(url))
    accounts.add("machine", by="benchmark")
    token = accounts.token("machine", by="benchmark")
    accounts.database.engine.dispose()
    landing = folder / "landing"
    landing.mkdir()
    where = ["--landing", str(landing), "--lake", str(lake), "--stage", STAGE]
    settings = {"PLATELAKE_SQL_URL": url, "PLATELAKE_APP_FOLDER": str(folder / "app")}
    command = [PLATELAKE, "serve", *where, "--port"]
    with _served("the app", command, "/readyz", settings, token) as service:
        yield service


@contextmanager
def _the_plain_service(lake: Path) -> Iterator[Service]:
    command = [*script("service"), "--plain", str(lake)]
    with _served("FastAPI + ONNX Runtime", command, "/docs") as service:
        yield service


@contextmanager
def _served(
    name: str,
    command: list[str],
    ready: str,
    settings: Mapping[str, str] = MappingProxyType({}),
    token: str = "",
) -> Iterator[Service]:
    """A process that listens on a port of its own, given as the last word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    process = subprocess.Popen([*command, str(port)], env=environment, start_new_session=True)
    headers = {
        "content-type": f"multipart/form-data; boundary={BOUNDARY}",
        "authorization": f"Bearer {token}",
    }
    try:
        _wait(process, port, ready)
        yield Service(name, port, process.pid, headers)
    finally:
        process.terminate()
        process.wait(30)


def _wait(process: "subprocess.Popen[bytes]", port: int, path: str) -> None:
    """Until it answers. Raises RuntimeError."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.5)
    raise RuntimeError(f"nothing answers at port {port}")


def plain(lake: str, port: int) -> None:
    """The plain service, as FastAPI's documentation shows it."""
    import uvicorn
    from fastapi import FastAPI, UploadFile

    from lakehouse.settings import load_settings
    from ml.registry import registry_of
    from ml.use.predictor import PhotoModel, open_model

    settings = load_settings(lake=lake)
    registry = registry_of(settings)
    version = registry.version(f"{STAGE}-photos")
    assert version is not None
    model: PhotoModel = open_model(registry.content(version), version.name, version.number)
    app = FastAPI()

    @app.post("/api/verdicts")
    def verdicts(files: list[UploadFile]) -> dict[str, object]:
        tensors = [model.read(file.file.read(), settings) for file in files]
        found = [model.look(tensor)[0] for tensor in tensors]
        return {"results": [{"verdict": vars(one)} for one in found]}

    uvicorn.run(app, port=port, log_level="warning")


if __name__ == "__main__":
    if sys.argv[1] == "--plain":
        plain(sys.argv[2], int(sys.argv[3]))
    else:
        lake, folder = map(Path, sys.argv[2:4])
        main(sys.argv[1], lake, folder, int(sys.argv[4]), int(sys.argv[5]))
