"""Read the Pollock benchmark's csv files with the form that `platelake look` guesses.

    python benchmarks/pollock.py DIR [--list]

DIR holds Pollock (https://github.com/HPI-Information-Systems/Pollock): `polluted_files` and
`survey_sample`, each with files in `csv` and what they should come to in `clean`. Of each of the
two folders it prints how many files are equal to the clean version, refused, with quarantined rows,
or wrong in silence, and Pollock's score. `--list` names the files of all classes but the first.

The score of a file, 0 to 10, is 1 if it is read, plus precision, recall and their harmonic mean for
the cells of the header, the rows and all cells. A file that is refused has 0. Pollock takes numbers
and times in different forms as equal, and rows with the same text; here each cell must be equal.
Blanks around a cell and rows of blank cells do not count.
"""

import argparse
import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from lakehouse.files.cells import read_cells
from lakehouse.files.delimited import inspect
from lakehouse.files.layout import Layout
from lakehouse.files.text_form import FormatError
from lakehouse.guess.text import Table, guess_table

EQUAL, NAMED = "equal", "equal rows, other names of columns"
QUARANTINED, REFUSED, WRONG = "rows quarantined", "refused", "wrong in silence"
KINDS = (EQUAL, NAMED, QUARANTINED, REFUSED, WRONG)
FOLDERS = ("polluted_files", "survey_sample")
WEIGHTS = "pollock_weights.json"
Rows = list[list[str]]


class Reading(NamedTuple):
    """The header and the rows of a file, and what is said about the rest.

    `refused` is why the file as a whole is not read, `faults` why some of its rows are not. The
    names of a file without a header are `made_up`.
    """

    rows: Rows
    refused: str = ""
    faults: tuple[str, ...] = ()
    made_up: bool = False


class Result(NamedTuple):
    """What a file came to; `has_breaks`: a cell of its clean version has a line break."""

    name: str
    kind: str
    score: float
    said: str
    has_breaks: bool = False


def layout(table: Table) -> Layout:
    """Return the layout that a stage with all these columns would have."""
    return Layout(
        delimiter=table.delimiter,
        encodings=(table.encoding,),
        fields={name: (name,) for name in table.names if name},
        quote=table.quote,
        find_header=table.header > 0,
        header=tuple(table.names) if table.header < 0 else (),
        ignore_lines=(f"^{re.escape(table.damaged)}\\s*$",) if table.damaged else (),
        skip_after_header=table.units,
    )


def read(file: Path) -> Reading:
    """Return a file's rows as they would be stored; the first is the header."""
    with file.open("rb") as stream:
        try:
            table = guess_table(stream)
        except FormatError as error:
            return Reading([], str(error))
        if table is None:
            return Reading([], "no header with rows below it is found")
        form = layout(table)
        stream.seek(0)
        report = inspect(stream, form)
        if report.rule:
            return Reading([], f"{report.rule}: {report.reason}")
        stream.seek(0)
        found = [row for batch in read_cells(stream, report, form) for row in batch.to_pylist()]
    places = sorted(range(len(report.order)), key=lambda at: report.order[at])
    header = [table.names[report.order[at]] for at in places]
    rows = filled([row["cells"][at] for at in places] for row in found if not row["fault"])
    faults = tuple(f"line {row['line']}: {row['fault']}" for row in found if row["fault"])
    made_up = table.header < 0 and not table.damaged
    return Reading([header, *rows], faults=faults, made_up=made_up)


def filled(rows: Iterable[Sequence[str]]) -> Rows:
    """Return the rows with trimmed cells, without those that are blank."""
    trimmed = ([cell.strip() for cell in row] for row in rows)
    return [row for row in trimmed if any(row)]


def result(file: Path, clean: Path) -> Result:
    """Read a file and compare it with its clean version."""
    found = read(file)
    with clean.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        cells = list(csv.reader(stream))
    rows = filled(cells)
    if found.made_up and found.rows[1:2] == rows[:1]:  # The clean version makes up no names.
        found = found._replace(rows=found.rows[1:])
    kind, said = compared(found, rows)
    score = 0.0 if kind == REFUSED else score_of(rows, found.rows)
    return Result(file.name, kind, score, said, any("\n" in cell for cell in chain(*cells)))


def compared(found: Reading, clean: Rows) -> tuple[str, str]:
    """Return the class of a reading, and why it is not the clean version."""
    if found.refused:
        return REFUSED, found.refused
    if found.rows == clean:
        return EQUAL, ""
    wanted, got = (Counter(map(tuple, some[1:])) for some in (clean, found.rows))
    if got - wanted or (wanted - got).total() > len(found.faults):
        return WRONG, difference(clean, found.rows)
    if found.rows[:1] != clean[:1]:
        return NAMED, difference(clean, found.rows)
    return (QUARANTINED, found.faults[0]) if found.faults else (WRONG, "rows in another order")


def score_of(clean: Rows, found: Rows) -> float:
    """Return Pollock's score of a file that is read."""
    if not clean:
        return 10.0
    header = measures(clean[0], found[0] if found else [])
    records = measures(map(tuple, clean[1:]), map(tuple, found[1:]))
    return 1.0 + header + records + measures(chain(*clean), chain(*found))


def measures(clean: Iterable[Hashable], found: Iterable[Hashable]) -> float:
    """Return the sum of precision, recall and their harmonic mean, in any order."""
    wanted, got = Counter(clean), Counter(found)
    common = (wanted & got).total()
    if not wanted:
        return 3.0
    if not common:
        return 0.0
    recall, precision = common / wanted.total(), common / got.total()
    return recall + precision + 2 * recall * precision / (recall + precision)


def difference(clean: Rows, found: Rows) -> str:
    """Say where the first difference is."""
    for at, (wanted, got) in enumerate(zip(clean, found, strict=False)):
        if wanted != got:
            return f"row {at}: {got} is not {wanted}"
    return f"{len(found)} rows, not {len(clean)}"


def results(folder: Path) -> list[Result]:
    """Return what each file of a folder came to."""
    return [result(file, folder / "clean" / file.name) for file in sorted(folder.glob("csv/*"))]


def report(folder: Path, found: Sequence[Result], names: bool) -> None:
    """Print the figures of a folder."""
    print(f"{folder.name}: {len(found)} files")
    kinds = Counter(one.kind for one in found)
    for kind in KINDS:
        print(f"  {kind}: {kinds[kind]}")
    broken = Counter(one.kind for one in found if one.has_breaks)
    print(f"  with a line break in a cell: {dict(broken)}")
    print(f"  score: {sum(one.score for one in found) / len(found):.3f} of 10")
    weights = folder.parent / WEIGHTS
    if folder.name == FOLDERS[0] and weights.exists():
        weight = json.loads(weights.read_text())
        total = sum(weight.get(one.name, 0) for one in found)
        score = sum(weight.get(one.name, 0) * one.score for one in found) / total
        print(f"  score, weighted by how often people have such files: {score:.3f} of 10")
    for kind in KINDS[1:] if names else ():
        print(f"  {kind}:")
        for one in found:
            if one.kind == kind:
                print(f"    {one.name}: {one.said[:300]}")


def main(given: Sequence[str]) -> int:
    """Read both folders; return 1 if a file is wrong in silence."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="a copy of Pollock")
    parser.add_argument("--list", action="store_true", help="name the files")
    asked = parser.parse_args(given)
    folders = [asked.folder / name for name in FOLDERS if (asked.folder / name / "csv").is_dir()]
    if not folders:
        print(f"{asked.folder} holds no copy of Pollock; nothing was read.")
    found = [results(folder) for folder in folders]
    for folder, some in zip(folders, found, strict=True):
        report(folder, some, asked.list)
    return int(any(one.kind == WRONG for one in chain(*found)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
