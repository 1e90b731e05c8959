"""The benchmark suite: the lake beside what a person would write for the same work.

    make bench [ARGS='--only photos --rounds 3']

The sides take turns, so that what else the machine does meets both. After the first turn their
results are compared; nothing is written of sides that differ. Medians and spread go to
docs/benchmarks.md and benchmarks/results.json, where the rows that did not run stay as they were.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import chain
import loader
import photos
import scoring
import service
import starts
import sync
from case import HERE, ROOT, Case, Suite, run

Results = dict[str, dict[str, Any]]
"""By case: commit, date, work, unit, and by side what each round took."""

RESULTS = HERE / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"
HEAD = "| work | side | seconds | least to most | a second | processors' seconds | memory | to the lake | made |"  # noqa: E501


def cases(suite: Suite) -> Iterator[Case]:
    """All of them; none is prepared."""
    for module in (chain, photos, loader, scoring, sync, service, starts):
        yield from module.cases(suite)


def table(results: Results) -> str:
    """The figures, a row for each side."""
    lines = [HEAD, "|" + " --- |" * (HEAD.count("|") - 1)]
    for name, row in results.items():
        ours = statistics.median(one["wall"] for one in row["sides"]["lake"])
        for side, found in row["sides"].items():
            walls = [one["wall"] for one in found]
            wall = statistics.median(walls)
            pace = f"{shown(row['work'] / wall)} {row['unit']}" if row["work"] else ""
            cells = (
                name,
                side,
                shown(wall),
                f"{shown(min(walls))} to {shown(max(walls))}",
                pace,
                shown(statistics.median(one["cpu"] for one in found)),
                f"{max(one['peak'] for one in found) / 1e9:.2g} GB",
                f"{wall / ours:.2f}",
                f"{row['commit']}, {row['date']}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(figure: float) -> str:
    """Three digits of it, more if it is large."""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def page(results: Results) -> str:
    """docs/benchmarks.md: what was measured, then what a person wrote below the line."""
    before = PAGE.read_text("utf-8") if PAGE.exists() else ""
    _, line, rest = before.partition("\n## Where the time goes\n")
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return f"""# Benchmarks

Made by `make bench`: {machine}; the sides in turns. Times are medians. The last column says
when, and of which commit, a row was made.

The sides do the same work on the same input, and their results are compared. `lake` is the command
of platelake with all checks, ledger, quarantine and SQL. The others are what a person would write
for the figures alone (`benchmarks/peer_*.py`). Where work is counted, "a second" is its pace.

{table(results)}
{line}{rest}"""


def merged(results: Results, name: str, row: dict[str, Any], order: list[str]) -> Results:
    """The results with this row, in the order of the suite; rows of other sizes behind them."""
    found = results | {name: row}
    return {name: found[name] for name in dict.fromkeys([*order, *found]) if name in found}


def arguments(argv: list[str]) -> argparse.Namespace:
    """The command line."""

    def numbers(text: str) -> list[float]:
        return [float(one) for one in text.split(",") if one]

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name has this")
    parser.add_argument("--rounds", type=int, help="else as many as each case says, mostly 5")
    parser.add_argument("--sizes", type=numbers, default=[0.5, 5], help="millions of readings")
    names = [10_000, 100_000, 1_000_000]
    parser.add_argument("--names", type=numbers, default=names, help="photos that are known")
    parser.add_argument("--pictures", type=int, default=500, help="pictures that are judged")
    parser.add_argument("--list", action="store_true", help="say the cases' names, and end")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run the suite and write its page."""
    given = arguments(argv)
    asked = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    results: Results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        every = list(cases(Suite(Path(name), stack, given)))
        if given.list:
            print(*(case.name for case in every), sep="\n")
            return 0
        for case in every:
            if given.only not in case.name:
                continue
            found = run(case, given.rounds or case.rounds, Path(name) / "out")
            sides = {side: [asdict(one) for one in some] for side, some in found.items()}
            row = {"commit": commit, "date": f"{date.today():%Y-%m-%d}", "work": case.work}
            row |= {"unit": case.unit, "sides": sides}
            print(table({case.name: row}), flush=True)
            results = merged(results, case.name, row, [one.name for one in every])
            RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
            PAGE.write_text(page(results), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
