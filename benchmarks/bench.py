"""The benchmark suite: the lake beside what a person would write for the same work.

    make bench [ARGS='--rounds 5 --only chain']

The results of the sides are compared first. Then the sides take turns, so that what else the
machine does meets both. Medians and spread go to docs/benchmarks.md and benchmarks/results.json.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import compare
import inputs
from measure import Measured, measured

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = ROOT / ".bench"
PLATELAKE = str(ROOT / ".venv" / "bin" / "platelake")
PYTHON = str(ROOT / ".venv" / "bin" / "python")

Results = dict[str, dict[str, list[dict[str, Any]]]]
"""By case and side, what each round took."""

Side = Callable[[Path], list[str]]
"""The command that does the work into a folder that is not yet there."""


@dataclass
class Case:
    """A row of the table: sides that do the same work on the same input."""

    name: str
    sides: dict[str, Side]
    before: Callable[[Path], None] | None = None
    check: Callable[[dict[str, Path]], None] | None = None
    found: dict[str, list[Measured]] = field(default_factory=dict)


def lake(landing: Path) -> Side:
    """The main job."""
    where = ["--landing", str(landing), "--stage", "chromate", "--lake"]
    return lambda folder: [PLATELAKE, "run", *where, str(folder)]


def peer(name: str, landing: Path) -> Side:
    """The same by a script of this folder."""
    return lambda folder: [PYTHON, str(HERE / f"peer_{name}.py"), str(landing), str(folder)]


def chain(folder: Path, name: str, files: int, rows: int, peers: tuple[str, ...]) -> Case:
    """Sensor csv to SQL, all of it."""
    landing = folder / name.replace(" ", "-")
    inputs.make_readings(landing, files, rows)
    sides = {"lake": lake(landing), **{one: peer(one, landing) for one in peers}}
    return Case(name, sides, check=compare.chains)


def increments(folder: Path, landing: Path) -> Iterator[Case]:
    """What comes to a lake that is there: a file more, a corrected list, nothing."""
    base = folder / "base"
    subprocess.run(lake(landing)(base), check=True, capture_output=True)
    days = len(list((landing / "sensor").iterdir()))

    def copied(change: Callable[[Path], None]) -> Callable[[Path], None]:
        def before(target: Path) -> None:
            shutil.copytree(base, target)
            change(landing)

        return before

    def more(landing: Path) -> None:
        inputs.make_readings(landing, 1, 50_000, seed=8, first=days)

    def less(landing: Path) -> None:
        for file in sorted((landing / "sensor").iterdir())[days:]:
            file.unlink()
        inputs.write_list(landing, days)

    def corrected(landing: Path) -> None:
        less(landing)
        inputs.write_list(landing, days, corrected=3)

    changes = {"one file more": more, "a list corrected": corrected, "nothing new": less}
    for name, change in changes.items():
        yield Case(f"{name}, of {days} files", {"lake": lake(landing)}, before=copied(change))


def cases(folder: Path, sizes: list[float]) -> Iterator[Case]:
    """All of them, the smallest first."""
    for millions in sizes:
        files = round(millions * 20)
        name = f"{millions:g} million readings in {files} files"
        yield chain(folder, name, files, 50_000, ("duckdb", "spark"))
        if millions == sizes[-1]:
            yield from increments(folder, folder / name.replace(" ", "-"))
    yield chain(folder, "200,000 readings in 20,000 files", 20_000, 10, ("duckdb",))


def run(case: Case, rounds: int, scratch: Path) -> None:
    """Check that the sides agree, then let them take turns."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{PEERS}"}
    folders = {}
    for turn in range(rounds + bool(case.check)):
        for side, command in case.sides.items():
            folder = scratch / side
            shutil.rmtree(folder, ignore_errors=True)
            if case.before:
                case.before(folder)
            found = measured(command(folder), env)
            folders[side] = folder
            if not case.check or turn:
                case.found.setdefault(side, []).append(found)
        if case.check and not turn:
            case.check(folders)
        print(f"{case.name}: round {turn} of {rounds}", file=sys.stderr, flush=True)


def table(results: Results) -> str:
    """The figures, a row for each side."""
    lines = [
        "| work | side | seconds | least to most | processors' seconds | memory | to the lake |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, sides in results.items():
        ours = statistics.median(one["wall"] for one in sides["lake"])
        for side, found in sides.items():
            walls = [one["wall"] for one in found]
            wall, cpu = statistics.median(walls), statistics.median(one["cpu"] for one in found)
            peak = max(one["peak"] for one in found)
            lines.append(
                f"| {name} | {side} | {wall:.1f} | {min(walls):.1f} to {max(walls):.1f} | "
                f"{cpu:.1f} | {peak / 1e9:.1f} GB | {wall / ours:.2f} |"
            )
    return "\n".join(lines)


def page(results: Results, rounds: int) -> str:
    """docs/benchmarks.md: what was measured here, then what a person wrote below the line."""
    file = ROOT / "docs" / "benchmarks.md"
    before = file.read_text("utf-8") if file.exists() else ""
    _, line, rest = before.partition("\n## Where the time goes\n")
    asked = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return f"""# Benchmarks

Made by `make bench` at commit {commit} on {date.today():%Y-%m-%d}: {machine}; {rounds} rounds,
the sides in turns. Times are medians.

The sides do the same work on the same files. `lake` is `platelake run` with all checks, ledger,
quarantine and SQL. `duckdb` and `spark` are what a person would write for the figures alone
(`benchmarks/peer_*.py`). Labels, readings and all features are compared before anything is timed.

{table(results)}
{line}{rest}"""


def main(argv: list[str]) -> int:
    """Run the suite and write its page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="0.5,5,20", help="millions of readings")
    parser.add_argument("--only", default="", help="cases whose name has this")
    given = parser.parse_args(argv)
    results: Results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in cases(folder, [float(size) for size in given.sizes.split(",") if size]):
            if given.only in case.name:
                run(case, given.rounds, folder / "out")
                found = {s: [asdict(one) for one in some] for s, some in case.found.items()}
                results[case.name] = found
                print(table({case.name: found}), flush=True)
                (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
                (ROOT / "docs" / "benchmarks.md").write_text(page(results, given.rounds), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
