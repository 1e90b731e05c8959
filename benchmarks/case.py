"""What a benchmark is: sides that do the same work, take turns, and are measured alike."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from measure import Measured, measured

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = ROOT / ".bench"
PLATELAKE = str(ROOT / ".venv" / "bin" / "platelake")
PYTHON = str(ROOT / ".venv" / "bin" / "python")
STAGE = "chromate"
ENV = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{PEERS}"}
sys.path.insert(0, str(ROOT))  # The project is what lies beside this folder.

Side = Callable[[Path], list[str]]
"""The command that does the work into a folder that is not yet there."""


def _nothing() -> None:
    """A case whose input another one has made."""


@dataclass(frozen=True)
class Suite:
    """Where the cases make their input, what ends with them, and what the command line says."""

    folder: Path
    stack: ExitStack
    given: argparse.Namespace


@dataclass(frozen=True)
class Case:
    """A row of the table: sides that do the same work on the same input.

    `prepare` makes the input, once; `before` what a side finds in its folder. `check` raises
    AssertionError if the sides' folders differ. `work` counts what is done, in `unit`. A side that
    `tells` prints figures of its own as JSON in its last line, which go before what is seen from
    outside.
    """

    name: str
    sides: dict[str, Side]
    prepare: Callable[[], object] = _nothing
    before: Callable[[Path], object] | None = None
    check: Callable[[dict[str, Path]], None] | None = None
    work: int = 0
    unit: str = ""
    rounds: int = 5
    tells: bool = False


def run(case: Case, rounds: int, scratch: Path) -> dict[str, list[Measured]]:
    """What each side took, by round; after the first, the results are compared."""
    case.prepare()
    scratch.mkdir()
    found: dict[str, list[Measured]] = {side: [] for side in case.sides}
    for turn in range(rounds):
        folders = {side: scratch / side for side in case.sides}
        for side in list(case.sides)[:: 1 if turn % 2 == 0 else -1]:
            shutil.rmtree(folders[side], ignore_errors=True)
            if case.before:
                case.before(folders[side])
            one, said = measured(case.sides[side](folders[side]), ENV)
            told = json.loads(said.splitlines()[-1]) if case.tells else {}
            found[side].append(replace(one, **told))
        if case.check and turn == 0:
            case.check(folders)
        print(f"{case.name}: round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
    shutil.rmtree(scratch, ignore_errors=True)
    return found


def do(command: list[str]) -> None:
    """Run a command of the preparation. Raises CalledProcessError if it fails."""
    subprocess.run(command, check=True, stdout=sys.stderr, env=ENV)


def platelake(lake: Path, *command: str) -> list[str]:
    """A command on that lake."""
    return [PLATELAKE, *command, "--stage", STAGE, "--lake", str(lake)]


def script(name: str, *words: object) -> list[str]:
    """A script of this folder."""
    return [PYTHON, str(HERE / f"{name}.py"), *map(str, words)]


def copy_lake(lake: Path, target: Path) -> None:
    """A lake that a side may write to; the tables' files, which never change, are links."""

    def copy_file(source: str, target: str) -> None:
        (os.link if source.endswith(".parquet") else shutil.copy2)(source, target)

    shutil.copytree(lake, target, copy_function=copy_file)
