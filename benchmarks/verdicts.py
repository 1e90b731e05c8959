"""The app beside a plain FastAPI service of the same model: verdicts on photos over HTTP.

    .venv/bin/python benchmarks/verdicts.py LAKE [--seconds 20] [--rounds 5] [--sql-url URL]

LAKE has a champion of photos, as `platelake demo` makes one. Both sides open that file by the same
session and decode in the same way; the plain service then answers, and keeps nothing. The app knows
its client by a token, keeps each photo, and each verdict in SQL, which is counted at the end.

Clients post photos of 480 x 720 pixels without a pause, each file a different one, on loopback and
on the same processors. Both give the same probabilities, or nothing is timed. The sides take turns;
figures are medians of the rounds.
"""

import argparse
import http.client
import io
import itertools
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import sqlalchemy as sa
from measure import processes_of
from PIL import Image

from lakehouse.settings import load_settings
from lakehouse.sql.database import Database
from ml.registry import registry_of
from ml.use.predictor import PhotoModel, open_model
from serving.access.accounts import Accounts
from serving.tables import inspections

ROOT = Path(__file__).resolve().parent.parent
STAGE = "chromate"
CLIENTS = (1, 20)
BOUNDARY = "platelake-benchmark"
Piece = bytes | memoryview
PNG_START = 33
"""Bytes of a PNG's signature and header, behind which a chunk of text may stand."""


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


@dataclass(frozen=True)
class Round:
    """What clients met in one round: seconds of each verdict, and what the server spent."""

    seconds: list[float]
    wall: float
    cpu: float

    def figures(self) -> tuple[float, float, float, float]:
        """p50 and p99 in ms, verdicts/s, the server's CPU in ms a verdict."""
        cuts = statistics.quantiles(self.seconds, n=100, method="inclusive")
        count = len(self.seconds)
        return cuts[49] * 1e3, cuts[98] * 1e3, count / self.wall, self.cpu / count * 1e3


def main(argv: list[str]) -> int:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("lake", type=Path, help="a lake with a champion of photos")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each side in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sql-url", help="an empty database of the app; else a SQLite file")
    given = parser.parse_args(argv)
    photos = Photos()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        url = given.sql_url or f"sqlite:///{folder / 'app.db'}"
        app = stack.enter_context(_the_app(given.lake, folder, url))
        sides = [app, stack.enter_context(_the_plain_service(given.lake))]
        posted = _check_equal(sides, photos)
        found: dict[tuple[int, str], list[Round]] = {}
        for number in range(given.rounds + 1):  # The first warms up.
            for clients in CLIENTS:
                for side in sides[:: 1 if number % 2 else -1]:
                    one = _round(side, clients, given.seconds if number else 3, photos)
                    posted += len(one.seconds) if side is app else 0
                    if number:
                        found.setdefault((clients, side.name), []).append(one)
        _check_kept(url, folder / "landing", posted)
    print(f"Photos of {photos.size / 1e6:.2f} MB; {posted} verdicts of the app, all kept.\n")
    _print(found, *(side.name for side in sides))
    return 0


class Photos:
    """Bodies of requests, each with a photo that no other has. Safe for threads."""

    def __init__(self, count: int = 32, seed: int = 7) -> None:
        rng = np.random.default_rng(seed)
        self._pictures = [_picture(rng) for _ in range(count)]
        self._number = itertools.count()
        self.size = sum(map(len, self._pictures)) / count

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


def _picture(rng: np.random.Generator) -> bytes:
    """Soft spots under the noise of a camera, as a PNG."""
    spots = Image.fromarray(rng.integers(30, 226, (36, 24, 3), dtype=np.uint8))
    soft = np.asarray(spots.resize((480, 720), Image.Resampling.BICUBIC), np.int16)
    noisy = soft + rng.integers(-1, 2, soft.shape, dtype=np.int16)
    target = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(target, "PNG")
    return target.getvalue()


def _check_equal(sides: list[Service], photos: Photos) -> int:
    """Both give the same probabilities; how many each has given. Raises RuntimeError."""
    connections = [http.client.HTTPConnection("127.0.0.1", side.port) for side in sides]
    for number in range(20):
        body = photos.body()
        said = [
            side.post(connection, body) for side, connection in zip(sides, connections, strict=True)
        ]
        if len(set(said)) != 1:
            raise RuntimeError(f"photo {number}: the sides say {said}")
    return 20


def _round(side: Service, clients: int, seconds: float, photos: Photos) -> Round:
    """So many clients at once, each with a connection of its own, for so long."""
    found: list[float] = []
    failed: list[BaseException] = []
    spent = _cpu(side)
    start = time.perf_counter()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", side.port, timeout=60)
        try:
            while (begun := time.perf_counter()) < start + seconds:
                side.post(connection, photos.body())
                found.append(time.perf_counter() - begun)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            failed.append(error)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(f"{side.name}: a client failed") from failed[0]
    return Round(found, time.perf_counter() - start, _cpu(side) - spent)


def _cpu(side: Service) -> float:
    return sum(cpu for _, cpu in processes_of(side.pid))


def _check_kept(url: str, landing: Path, posted: int) -> None:
    """Each verdict is in SQL and its photo in the landing zone. Raises RuntimeError."""
    with Database(url).transaction() as connection:
        rows = connection.scalar(sa.select(sa.func.count()).select_from(inspections))
    files = sum(1 for _ in landing.rglob("*.png"))
    if not rows == files == posted:
        raise RuntimeError(f"{posted} verdicts were given, {rows} rows and {files} photos are kept")


def _print(found: dict[tuple[int, str], list[Round]], app: str, plain: str) -> None:
    print("| clients | side | p50 ms | p99 ms | verdicts/s | server CPU ms a verdict |")
    print("| --- | --- | --- | --- | --- | --- |")
    for (clients, name), rounds in sorted(found.items()):
        columns = zip(*(one.figures() for one in rounds), strict=True)
        shown = " | ".join(f"{statistics.median(column):.1f}" for column in columns)
        print(f"| {clients} | {name} | {shown} |")
    print()
    for clients in CLIENTS:
        pairs = zip(found[clients, app], found[clients, plain], strict=True)
        ratios = sorted(a.figures()[2] / b.figures()[2] for a, b in pairs)
        print(
            f"{clients} clients: {statistics.median(ratios):.2f} of the plain service's "
            f"verdicts/s, {ratios[0]:.2f} to {ratios[-1]:.2f} by round"
        )


@contextmanager
def _the_app(lake: Path, folder: Path, url: str) -> Iterator[Service]:
    accounts = Accounts(Database(url))
    accounts.add("machine", by="benchmark")
    token = accounts.token("machine", by="benchmark")
    accounts.database.engine.dispose()
    landing = folder / "landing"
    landing.mkdir()
    where = ["--landing", str(landing), "--lake", str(lake), "--stage", STAGE]
    settings = {"PLATELAKE_SQL_URL": url, "PLATELAKE_APP_FOLDER": str(folder / "app")}
    platelake = str(Path(sys.executable).with_name("platelake"))
    command = [platelake, "serve", *where, "--port"]
    with _served("the app", command, "/readyz", settings, token) as service:
        yield service


@contextmanager
def _the_plain_service(lake: Path) -> Iterator[Service]:
    command = [__file__, str(lake), "--plain"]
    with _served("FastAPI + ONNX Runtime", command, "/docs") as service:
        yield service


@contextmanager
def _served(
    name: str,
    script: list[str],
    ready: str,
    settings: Mapping[str, str] = MappingProxyType({}),
    token: str = "",
) -> Iterator[Service]:
    """A process that listens on a port of its own, given as the last word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    command = [sys.executable, *script, str(port)]
    process = subprocess.Popen(command, env=environment, start_new_session=True)
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
    if sys.argv[2:3] == ["--plain"]:
        plain(sys.argv[1], int(sys.argv[3]))
    else:
        sys.exit(main(sys.argv[1:]))
