"""Runs killed with SIGKILL at seeded moments, then run again: how, and what is compared."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec

from lakehouse.delta.lake import Lake
from lakehouse.spark.session import open_session
from lakehouse.stage import Stage
from lakehouse.tables import all_tables
from tests.digest import differences, digests, versions

SEED = 20261123
PLATELAKE = Path(sys.executable).with_name("platelake")
COUNTS = ("readings", "lots", "pictures", "picture_names", "quarantined")


@dataclass
class MainJob:
    """The main job from `landing` to lakes below `root`, a folder or a URL."""

    landing: Path
    root: str
    files: Path
    """Folder of logs, reports and SQL."""
    env: Mapping[str, str] = field(default_factory=dict)
    """On top of this process's."""

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """A run on the lake of that name, which is under way."""
        where = ["--landing", self.landing, "--stage", "chromate", "--lake", f"{self.root}/{name}"]
        sql = ["--sql-url", f"sqlite:///{self.files}/{name}.db"]
        with self._file(name, "log").open("ab") as log:
            return subprocess.Popen(
                [PLATELAKE, "run", *where, *sql, "--json", self._file(name, "json")],
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def complete(self, name: str) -> dict[str, Any]:
        """The report of a run that must succeed."""
        code = self.start(name).wait()
        assert code == 0, self.said(name)
        found: dict[str, Any] = json.loads(self._file(name, "json").read_text())
        return found

    def kill_during(self, name: str, after: float, whole_group: bool) -> bool:
        """Kill a run after that many seconds; whether it was still running."""
        process = self.start(name)
        group = os.getpgid(process.pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert process.wait(after) == 0, self.said(name)
            return False
        if whole_group:
            os.killpg(group, signal.SIGKILL)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 30
        while _alive(group) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not _alive(group), "the killed driver left processes behind"
        return True

    def said(self, name: str) -> str:
        """The end of the run's log."""
        return self._file(name, "log").read_text()[-2000:]

    def lake(self, name: str) -> Lake:
        """The lake of that name."""
        return Lake(f"{self.root}/{name}", "chromate", lambda: open_session("tests"))

    def remove(self, name: str) -> None:
        """Remove the lake and its SQL."""
        files, folder = fsspec.url_to_fs(f"{self.root}/{name}")
        files.rm(folder, recursive=True)
        self._file(name, "db").unlink(missing_ok=True)

    def _file(self, name: str, ending: str) -> Path:
        return self.files / f"{name}.{ending}"


def _alive(group: int) -> bool:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            return True
    return False


def kill_and_run_again(job: MainJob, stage: Stage, points: int) -> None:
    """Kill so many runs, each on a new lake; run again; fail where a lake is not as it should be.

    Half of the kills take the whole process group (driver, JVM, workers), half only the driver,
    whose JVM then has to end by itself.
    """
    started = time.monotonic()
    counts = job.complete("reference")
    duration = time.monotonic() - started
    before = versions(job.lake("reference"), stage)
    job.complete("reference")
    made = versions(job.lake("reference"), stage)
    assert made == before, "a run with nothing new made versions"
    faults: list[str] = []
    kills = 0
    for number, moment in enumerate(moments(duration, most=3 * points)):
        name = f"killed-{number}"
        if job.kill_during(name, moment, whole_group=kills % 2 == 0):
            kills += 1
            wrong = _differences(job, name, stage, counts, job.complete(name))
            said = f"kill {kills} of {points}, after {moment:.1f} of {duration:.1f} s"
            print(f"{said}, {'; '.join(wrong) or 'equal'}", flush=True)
            faults += [f"{said}: {line}" for line in wrong]
            if wrong:
                continue
        job.remove(name)  # A run that had ended before it was to die shows nothing.
        if kills == points:
            break
    assert not faults, "\n".join(faults)
    assert kills == points, f"{kills} of {points} runs were still running when they were to die"


def _differences(
    job: MainJob, name: str, stage: Stage, counts: Mapping[str, Any], again: Mapping[str, Any]
) -> list[str]:
    """In what the lake of that name, and its report, are not as the reference's."""
    reference, lake = job.lake("reference"), job.lake(name)
    expected, found = digests(reference, stage), digests(lake, stage)
    wrong = [
        line
        for table in all_tables(stage)
        if found.get(table.name) != expected.get(table.name)
        for line in differences(reference, lake, table)
    ]
    wrong += [
        f"{what}: {again[what]} instead of {counts[what]}"
        for what in COUNTS
        if again[what] != counts[what]
    ]
    if _without_runs(again["sql"]) != _without_runs(counts["sql"]):
        wrong.append(f"sql: {again['sql']} instead of {counts['sql']}")
    return wrong


def moments(duration: float, most: int) -> Iterator[float]:
    """Seeded moments where there is work: behind the start of Python and of the JVM."""
    draw = random.Random(SEED)
    return (draw.uniform(0.1, 1.0) * duration for _ in range(most))


def _without_runs(sql: Any) -> dict[str, int]:
    return {name: rows for name, rows in sql.items() if name != "runs"}
