"""Sensor csv to SQL, the whole chain, and what comes to a lake that is there."""

import shutil
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import compare
import inputs
from case import Case, Side, Suite, do, platelake, script


def cases(suite: Suite) -> Iterator[Case]:
    """Each size beside its peers, increments of the largest, and many small files."""
    for millions in suite.given.sizes:
        files = round(millions * 20)
        name = f"{millions:g} million readings in {files} files"
        yield chain(suite.folder, name, files, 50_000, ("duckdb", "spark"))
    if suite.given.sizes:
        yield from increments(suite.folder, files)
    yield chain(suite.folder, "200,000 readings in 20,000 files", 20_000, 10, ("duckdb",))


def lake(landing: Path) -> Side:
    """The main job."""
    return lambda folder: platelake(folder, "run", "--landing", str(landing))


def peer(name: str, landing: Path) -> Side:
    """The same by a script of this folder."""
    return lambda folder: script(f"peer_{name}", landing, folder)


def chain(folder: Path, name: str, files: int, rows: int, peers: tuple[str, ...]) -> Case:
    """All of it, into an empty lake."""
    landing = folder / name.replace(" ", "-")
    return Case(
        name,
        {"lake": lake(landing), **{one: peer(one, landing) for one in peers}},
        prepare=partial(inputs.make_readings, landing, files, rows),
        check=compare.chains,
        work=files * rows,
        unit="readings",
    )


def increments(folder: Path, days: int) -> Iterator[Case]:
    """A file more, a corrected list, nothing."""
    landing, base = folder / "increments", folder / "increments-lake"

    @cache
    def prepare() -> None:
        inputs.make_readings(landing, days, 50_000)
        do(lake(landing)(base))

    def more() -> None:
        inputs.make_readings(landing, 1, 50_000, seed=8, first=days)

    def less() -> None:
        for file in sorted((landing / "sensor").iterdir())[days:]:
            file.unlink()
        inputs.write_list(landing, days)

    def corrected() -> None:
        less()
        inputs.write_list(landing, days, corrected=3)

    def before(change: Callable[[], None], target: Path) -> None:
        shutil.copytree(base, target)
        change()

    changes = {"one file more": more, "a list corrected": corrected, "nothing new": less}
    for name, change in changes.items():
        sides = {"lake": lake(landing)}
        yield Case(f"{name}, of {days} files", sides, prepare, partial(before, change))
