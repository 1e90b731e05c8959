"""Many at once: nobody is shown another's verdict, and a crowd at the login stops nobody else."""

import time
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from benchmarks.operators import at_the_app, jpeg
from serving.app import create_app
from serving.context import AppContext
from tests.serving.conftest import PASSWORD, Plant
from tests.serving.live import served

pytestmark = pytest.mark.heavy

CROWD = 40


def test_a_small_crowd(plant: Plant, tmp_path: Path) -> None:
    """The benchmark itself, for a few seconds."""
    given = Namespace(lake=plant.lake, operators=12, minutes=0.15, think=0.5)
    found = at_the_app(given, tmp_path, [jpeg(photo) for photo in plant.bad[:5]])
    assert found.errors == [] and found.crossed == 0
    assert len(found.logins) == 12 and len(found.seconds) > 24


def test_a_crowd_at_the_login_stops_nobody_else(context: AppContext, plant: Plant) -> None:
    context.accounts.add("kim", password=PASSWORD, by="test")
    token = {"Authorization": f"Bearer {context.accounts.token('kim', 'test')}"}
    photo = {"files": ("a.png", plant.bad[0].read_bytes())}
    with served(create_app(context)) as address:

        def guess(number: int) -> int:
            known = {"name": f"nobody {number}", "password": "a guess of mine"}
            return httpx.post(f"{address}/login", data=known, timeout=120).status_code

        httpx.post(f"{address}/api/verdicts", files=photo, headers=token, timeout=60)
        with ThreadPoolExecutor(CROWD) as pool:
            guesses = [pool.submit(guess, number) for number in range(CROWD)]
            time.sleep(0.2)
            done = 0
            while not all(one.done() for one in guesses):
                page = httpx.get(f"{address}/api/inspections/x", headers=token, timeout=60)
                inspected = httpx.post(
                    f"{address}/api/verdicts", files=photo, headers=token, timeout=60
                )
                assert (page.status_code, inspected.status_code) == (404, 200)
                done += 1
        assert {one.result() for one in guesses} == {401}
        assert done >= 3  # They did not wait for the crowd.


def test_an_app_that_nobody_asks_sleeps(context: AppContext) -> None:
    """Gradio's queues wake it some 4,400 times a second, if they are let."""

    def wakings() -> int:
        lines = [
            line
            for task in Path("/proc/self/task").iterdir()
            for line in (task / "status").read_text().splitlines()
        ]
        return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))

    with served(create_app(context)) as address:
        for page in ("inspect", "sensor"):
            httpx.get(f"{address}/{page}/en/config")
        time.sleep(1)
        before = wakings()
        time.sleep(2)
        assert wakings() - before < 1_000
