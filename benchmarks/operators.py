"""Simulated operators at the app, and at a plain Gradio page with the network in torch.

    .venv/bin/python benchmarks/operators.py LANDING LAKE [--operators 100] [--minutes 5]

All operators log in at once. Then each judges a photo every ten seconds or so (exponential), by the
same requests as Gradio's page: upload, call, result. At the app the verdict's page is opened as
well, and everything is looked at: whose it is, and whether it is of the photo that was sent. The
plain page is `gr.Interface` with a network of the default kind and size in eager torch, which keeps
nothing and knows nobody. Both are processes of their own, one after the other; all is on loopback.
"""

import argparse
import asyncio
import hashlib
import io
import json
import os
import random
import re
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from lakehouse.sql.database import Database
from serving.access.accounts import Accounts

THINK = 10.0
STAGE = "chromate"


@dataclass
class Found:
    """What the operators of one page met."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    crossed: int = 0
    logins: list[float] = field(default_factory=list)

    def line(self, name: str) -> str:
        """The figures of one page."""
        cuts = statistics.quantiles(self.seconds, n=100, method="inclusive")
        shown = ", ".join(f"p{p} {cuts[p - 1] * 1000:.0f} ms" for p in (50, 95, 99))
        failed = f"{len(self.errors)} errors, {self.crossed} crossed"
        return f"{name}: {len(self.seconds)} verdicts, {failed}; {shown}"


def main(argv: list[str]) -> int:
    """Run both and print a line each; 1 if anything went wrong at the app."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("landing", type=Path, help="the plant's photos")
    parser.add_argument("lake", type=Path, help="a lake with a champion of photos")
    parser.add_argument("--operators", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--think", type=float, default=THINK, help="mean pause, seconds")
    given = parser.parse_args(argv)
    photos = [jpeg(file) for file in sorted(given.landing.rglob("*.png"))[:40]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = at_the_app(given, folder, photos)
        print(found.line("platelake"), flush=True)
        if found.logins:
            cuts = statistics.quantiles(found.logins, n=100, method="inclusive")
            print(
                f"logins: {len(found.logins)} at once, p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s"
            )
        plain = _at_the_plain_page(given, photos)
        print(plain.line("gr.Interface with torch"), flush=True)
        for error in sorted(set(found.errors))[:5]:
            print("error:", error[:300])
    return 1 if found.errors or found.crossed else 0


def at_the_app(given: argparse.Namespace, folder: Path, photos: list[bytes]) -> Found:
    """A crowd at an app of its own on `given.lake`, which is only read."""
    url = f"sqlite:///{folder / 'app.db'}"
    accounts = Accounts(Database(url))
    names = [f"operator {n}" for n in range(given.operators)]
    passwords = {name: accounts.add(name, by="benchmark") for name in names}
    (folder / "landing").mkdir()
    port = _free_port()
    command = [
        str(Path(sys.executable).with_name("platelake")), "serve", "--landing",
        str(folder / "landing"), "--lake", str(given.lake), "--stage", STAGE, "--port", str(port),
    ]  # fmt: skip
    settings = {"PLATELAKE_SQL_URL": url, "PLATELAKE_APP_FOLDER": str(folder / "app")}
    with subprocess.Popen(command, env=os.environ | settings) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(f"{address}/healthz")
            return asyncio.run(_crowd(given, address, photos, passwords))
        finally:
            process.terminate()


def _at_the_plain_page(given: argparse.Namespace, photos: list[bytes]) -> Found:
    port = _free_port()
    with subprocess.Popen([sys.executable, __file__, "--plain", str(port)]) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(f"{address}/config")
            return asyncio.run(_crowd(given, address, photos, {}))
        finally:
            process.terminate()


async def _crowd(
    given: argparse.Namespace, address: str, photos: list[bytes], passwords: dict[str, str]
) -> Found:
    """All operators at once; without passwords it is the plain page."""
    found = Found()
    names = list(passwords) or [f"visitor {n}" for n in range(given.operators)]
    clients = [httpx.AsyncClient(timeout=120, headers={"origin": address}) for _ in names]
    if passwords:
        pairs = zip(clients, passwords.items(), strict=True)
        await asyncio.gather(*(_log_in(http, address, *who, found) for http, who in pairs))
    end = time.monotonic() + given.minutes * 60
    draws = [random.Random(n) for n in range(len(names))]  # noqa: S311 It decides when they come.
    people = [
        _operator(http, draw, name * bool(passwords), address, photos, end, given, found)
        for http, draw, name in zip(clients, draws, names, strict=True)
    ]
    await asyncio.gather(*people)
    for http in clients:
        await http.aclose()
    return found


async def _log_in(
    http: httpx.AsyncClient, address: str, name: str, password: str, found: Found
) -> None:
    start = time.perf_counter()
    answer = await http.post(f"{address}/login", data={"name": name, "password": password})
    found.logins.append(time.perf_counter() - start)
    if answer.status_code != 303:
        found.errors.append(f"login: {answer.status_code}")
        return
    # It is Secure: a browser takes it from its own machine, httpx is told by hand.
    http.headers["cookie"] = answer.headers["set-cookie"].partition(";")[0]


async def _operator(
    http: httpx.AsyncClient,
    draw: random.Random,
    name: str,
    address: str,
    photos: list[bytes],
    end: float,
    given: argparse.Namespace,
    found: Found,
) -> None:
    """One of them, until the end; without a name at the plain page."""
    base = f"{address}/inspect/en" if name else address
    while time.monotonic() < end:
        await asyncio.sleep(draw.expovariate(1 / given.think))
        photo = _marked(draw.choice(photos))
        start = time.perf_counter()
        try:
            result = await _verdict(http, base, photo, app=bool(name))
            found.seconds.append(time.perf_counter() - start)
            if name:
                await _look(http, address, name, photo, result, found)
        except (httpx.HTTPError, AssertionError, KeyError, ValueError) as error:
            found.errors.append(f"{type(error).__name__}: {error}")


async def _verdict(http: httpx.AsyncClient, base: str, photo: bytes, app: bool) -> Any:
    """Upload, call, result: what Gradio's page does."""
    answer = await http.post(f"{base}/gradio_api/upload", files={"files": ("part.jpg", photo)})
    answer.raise_for_status()
    (path,) = answer.json()
    file = {"path": path, "orig_name": "part.jpg", "meta": {"_type": "gradio.FileData"}}
    session = secrets.token_hex(6)
    event = {
        "data": [[file], None, ""] if app else [file],
        "fn_index": await _number(http, base, "verdicts" if app else "predict"),
        "session_hash": session,
    }
    answer = await http.post(f"{base}/gradio_api/queue/join", json=event)
    answer.raise_for_status()
    asked = {"session_hash": session}
    async with http.stream("GET", f"{base}/gradio_api/queue/data", params=asked) as events:
        events.raise_for_status()
        async for line in events.aiter_lines():
            said = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
            if said.get("msg") == "process_completed":
                assert said["success"], f"the call failed: {line[:200]}"
                return said["output"]["data"]
    raise AssertionError("the call ended without a result")


async def _number(http: httpx.AsyncClient, base: str, name: str) -> int:
    """The number of the page's function of that name."""
    if base not in _NUMBERS:
        config = (await http.get(f"{base}/config")).json()
        (_NUMBERS[base],) = (d["id"] for d in config["dependencies"] if d["api_name"] == name)
    return _NUMBERS[base]


_NUMBERS: dict[str, int] = {}


async def _look(
    http: httpx.AsyncClient, address: str, name: str, photo: bytes, result: Any, found: Found
) -> None:
    """Whether it is this operator's verdict, on this photo; its page is opened as well."""
    html, (one,) = result
    verdict = one["verdict"]
    assert verdict, f"no verdict: {one['rule']}"
    page = await http.get(f"{address}{verdict['link']}", headers={"accept": "text/html"})
    page.raise_for_status()
    own = verdict["sha256"] == hashlib.sha256(photo).hexdigest()
    shown = set(re.findall(r"/inspections/([0-9a-f]{32})", html))
    if not own or shown != {verdict["inspection_id"]} or f"<dd>{name}</dd>" not in page.text:
        found.crossed += 1


def jpeg(file: Path) -> bytes:
    """The photo as a phone would send it."""
    target = io.BytesIO()
    Image.open(file).convert("RGB").save(target, "JPEG", quality=88)
    return target.getvalue()


def _marked(photo: bytes) -> bytes:
    """The photo with a comment of its own, so that it is a new one to the app."""
    return photo[:2] + b"\xff\xfe\x00\x12" + secrets.token_bytes(16) + photo[2:]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait(url: str) -> None:
    for _ in range(240):
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    sys.exit(f"{url} does not answer")


def plain(port: int) -> None:
    """The plain page, as its documentation shows it."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr
    import numpy as np
    import torch

    from ml.photos.networks import make_network

    network = make_network("small", 224, 224).eval()

    def predict(photo: Image.Image) -> dict[str, float]:
        resized = photo.resize((224, 224), Image.Resampling.BILINEAR)
        tensor = torch.from_numpy(np.asarray(resized).copy())[None]
        with torch.no_grad():
            p = torch.sigmoid(network(tensor)).flatten()[0].item()
        return {"bad": p, "good": 1 - p}

    page = gr.Interface(predict, gr.Image(type="pil"), gr.Label(), api_name="predict")
    page.launch(server_name="127.0.0.1", server_port=port, quiet=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--plain"]:
        plain(int(sys.argv[2]))
    else:
        sys.exit(main(sys.argv[1:]))
