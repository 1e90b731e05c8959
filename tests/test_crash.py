"""A run killed with SIGKILL at seeded moments, then run again: equal tables, nothing twice.

Three moments by default; `make crash` takes twenty, on the real data where it is there. Half of
the kills take the whole process group (driver, JVM, workers), half only the driver, whose JVM
then has to end by itself.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lakehouse.delta.lake import Lake
from lakehouse.landing.sample_plant import make_sample_plant
from lakehouse.spark.session import open_session
from lakehouse.stage import Stage
from lakehouse.tables import all_tables
from tests.conftest import REAL
from tests.digest import differences, digests, versions

pytestmark = pytest.mark.heavy

SEED = 20261123
PLATELAKE = Path(sys.executable).with_name("platelake")


def start(landing: Path, lake: Path, report: Path) -> subprocess.Popen[bytes]:
    log = lake.with_suffix(".log").open("ab")
    where = ["--landing", landing, "--stage", "chromate", "--lake", lake]
    return subprocess.Popen(
        [PLATELAKE, "run", *where, "--json", report],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def complete(landing: Path, lake: Path) -> dict[str, object]:
    report = lake.with_suffix(".json")
    code = start(landing, lake, report).wait()
    assert code == 0, lake.with_suffix(".log").read_text()[-2000:]
    found: dict[str, object] = json.loads(report.read_text())
    return found


def kill_during(landing: Path, lake: Path, after: float, whole_group: bool) -> bool:
    """Kill a run after that many seconds; whether it was still running."""
    process = start(landing, lake, lake.with_suffix(".json"))
    group = os.getpgid(process.pid)
    try:
        assert process.wait(after) == 0, lake.with_suffix(".log").read_text()[-2000:]
        return False
    except subprocess.TimeoutExpired:
        pass
    if whole_group:
        os.killpg(group, signal.SIGKILL)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while _alive(group) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _alive(group), "the killed driver left processes behind"
    return True


def _alive(group: int) -> bool:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            return True
    return False


@pytest.fixture(scope="module")
def landing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    real = REAL / "kamp" / "chromate"
    if request.config.getoption("--kill-points") > 3 and real.is_dir():
        return real
    plant = tmp_path_factory.mktemp("plant") / "plant"
    make_sample_plant(plant, days=3, lots_per_day=4, rows_per_lot=12, failed_lots=2, photos=6)
    (plant / "sensor" / "broken.csv").write_text("no header\n")
    return plant


@pytest.mark.timeout(7200)
def test_killed_and_run_again(
    request: pytest.FixtureRequest, landing: Path, tmp_path: Path, stage: Stage
) -> None:
    points = request.config.getoption("--kill-points")
    reference = tmp_path / "reference"
    started = time.monotonic()
    counts = complete(landing, reference)
    duration = time.monotonic() - started

    def lake_at(folder: Path) -> Lake:
        return Lake(str(folder), "chromate", lambda: open_session("tests"))

    expected = digests(lake_at(reference), stage)
    before = versions(lake_at(reference), stage)
    complete(landing, reference)
    assert versions(lake_at(reference), stage) == before, "a run with nothing new made versions"
    faults: list[str] = []
    kills = 0
    for number, moment in enumerate(moments(duration, most=3 * points)):
        lake = tmp_path / f"killed-{number}"
        if not kill_during(landing, lake, moment, whole_group=kills % 2 == 0):
            shutil.rmtree(lake)  # This run had ended before: it shows nothing.
            continue
        kills += 1
        again = complete(landing, lake)
        found = digests(lake_at(lake), stage)
        said = f"kill {kills} of {points}, after {moment:.1f} of {duration:.1f} s"
        wrong = [
            line
            for table in all_tables(stage)
            if found.get(table.name) != expected.get(table.name)
            for line in differences(lake_at(reference), lake_at(lake), table)
        ]
        wrong += [
            f"{name}: {again[name]} instead of {counts[name]}"
            for name in ("readings", "lots", "pictures", "picture_names", "quarantined")
            if again[name] != counts[name]
        ]
        if _without_runs(again["sql"]) != _without_runs(counts["sql"]):
            wrong.append(f"sql: {again['sql']} instead of {counts['sql']}")
        print(f"{said}, {'; '.join(wrong) or 'equal'}", flush=True)
        faults += [f"{said}: {line}" for line in wrong]
        if not wrong:
            shutil.rmtree(lake)
        if kills == points:
            break
    assert not faults, "\n".join(faults)
    assert kills == points, f"{kills} of {points} runs were still running when they were to die"


def moments(duration: float, most: int) -> Iterator[float]:
    """Seeded moments where there is work: behind the start of Python and of the JVM."""
    draw = random.Random(SEED)
    return (draw.uniform(0.1, 1.0) * duration for _ in range(most))


def _without_runs(sql: Any) -> dict[str, int]:
    return {name: rows for name, rows in sql.items() if name != "runs"}
