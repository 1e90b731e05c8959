"""The same rows in other files give the same lake, and no row is lost on the way.

Files are permuted, split, merged, packed, renamed, written in other encodings and line ends, and
delivered in any order; what the tables say of the plant stays equal.
"""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.context import RunContext
from jobs.options import Options
from jobs.runner import CHAIN, run_jobs
from lakehouse.files.cells import read_cells
from lakehouse.files.delimited import inspect
from lakehouse.files.layout import Layout
from lakehouse.tables.label_report import LABEL_REPORT
from lakehouse.tables.lot_features import lot_features
from lakehouse.tables.lots import LOTS
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings

pytestmark = pytest.mark.heavy

STAGE = """
title = "Any plant"
[readings]
files = "sensor/**"
time = "Time"
date = { column = "Date" }
lot = "Lot"
missing = ["-"]
[[readings.variables]]
name = "ph"
column = "pH"
unit = "pH"
minimum = 0
maximum = 14
[[readings.variables]]
name = "flow"
column = "Flow"
unit = "l/min"
minimum = 0
maximum = 99
[error_lists]
files = "list*"
date = "Date"
lots = "Lot*"
"""
HEADER = ["Date", "Time", "Lot", "pH", "Flow"]
Row = list[str]
Files = dict[str, bytes]


def plant(seed: int) -> dict[date, list[Row]]:
    """Rows of four days; some cells are bad, some are missing."""
    draw = random.Random(seed)
    days: dict[date, list[Row]] = {}
    for at in range(4):
        day = date(2021, 9, 6) + timedelta(at)
        rows = []
        for second in range(60):
            time = f"{8 + second // 20:02d}:00:{second:02d}"
            ph = (
                draw.choice(["7.1", "7.25", "7.3", "-", "99", "acid"]) if second % 7 == 0 else "7.2"
            )
            rows.append([str(day), time, str(second // 15), ph, str(draw.randint(1, 98))])
        days[day] = rows
    return days


def text(rows: list[Row], header: list[str] = HEADER) -> str:
    order = [HEADER.index(name) for name in header]
    lines = [",".join(header), *(",".join(row[at] for at in order) for row in rows)]
    return "\n".join(lines) + "\n"


LIST = b"Date,Lot1,Lot2\n2021-09-06,1,\n2021-09-07,,\n2021-09-08,0,3\n"


def by_day(days: dict[date, list[Row]]) -> Files:
    return {f"sensor/{day}.csv": text(rows).encode() for day, rows in days.items()}


def merged(days: dict[date, list[Row]]) -> Files:
    return {"sensor/all.csv": text([row for rows in days.values() for row in rows]).encode()}


def split(days: dict[date, list[Row]]) -> Files:
    parts = [(day, at, rows[at : at + 13]) for day, rows in days.items() for at in range(0, 60, 13)]
    return {f"sensor/{day}/{at}.CSV": text(rows).encode() for day, at, rows in parts}


def encoded(days: dict[date, list[Row]]) -> Files:
    forms = ("utf-8-sig", "cp949", "utf-16", "utf-16-le")
    files = {}
    for form, (day, rows) in zip(forms, days.items(), strict=True):
        mark = "\ufeff" if form == "utf-16-le" else ""
        files[f"sensor/{day}.csv"] = (mark + text(rows).replace("\n", "\r\n")).encode(form)
    return files


def packed(days: dict[date, list[Row]]) -> Files:
    files = {}
    for at, (day, rows) in enumerate(days.items()):
        content = text(rows, HEADER[::-1] if at % 2 else HEADER).encode()
        if at % 2:
            files[f"sensor/{day}.csv.gz"] = gzip.compress(content)
        else:
            target = io.BytesIO()
            with zipfile.ZipFile(target, "w") as archive:
                archive.writestr("log.csv", content)
            files[f"sensor/{day}.zip"] = target.getvalue()
    return files


def twice(days: dict[date, list[Row]]) -> Files:
    return by_day(days) | {
        f"sensor/copy of {day}.csv": text(rows).encode() for day, rows in days.items()
    }


def restarted(days: dict[date, list[Row]]) -> Files:
    """Each file has a second header, in another order and in capitals."""
    other = [name.upper() for name in HEADER[::-1]]
    files = {}
    for day, rows in days.items():
        below = "\n".join([",".join(other), *(",".join(row[::-1]) for row in rows[30:])])
        files[f"sensor/{day}.csv"] = (text(rows[:30]) + below + "\n").encode()
    return files


def deliver(folder: Path, files: Files, at_once: bool, seed: int) -> RunContext:
    """Deliver the files, all in one run or in three, in an order by chance."""
    stage = folder / "any_plant.toml"
    stage.parent.mkdir(parents=True, exist_ok=True)
    stage.write_text(STAGE, "utf-8")
    names = list(files)
    random.Random(seed).shuffle(names)
    options = Options(stage_file=stage, landing=str(folder / "in"), lake=str(folder / "lake"))
    for some in [names] if at_once else [names[::3], names[1::3], names[2::3]]:
        for name in some:
            file = folder / "in" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(files[name])
        context = run_jobs(CHAIN, options)
    # Bands are fitted on what is there first.
    return run_jobs(["features"], replace(context.options, whole=True))


def said(context: RunContext) -> dict[str, Any]:
    """What the lake says of the plant: all but files, lines and what follows from their names."""
    lake, stage = context.lake, context.stage
    table = readings(stage)
    names = [name for name in table.names if name not in ("file", "line")]
    features = [name for name in lot_features(stage).names if name != "bands_id"]
    report = [name for name in LABEL_REPORT.names if name != "list_files"]
    return {
        "readings": sorted(map(repr, lake.rows(table, *names))),
        "lots": sorted(map(repr, lake.rows(LOTS))),
        "features": sorted(map(repr, lake.rows(lot_features(stage), *features))),
        "report": sorted(map(repr, lake.rows(LABEL_REPORT, *report))),
    }


def bad_rows(context: RunContext) -> list[str]:
    rows = context.lake.rows(QUARANTINE, "rule", "reason")
    return sorted(f"{row['rule']}: {row['reason']}" for row in rows)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATELAKE_SETTLE_SECONDS", "0")


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("form", [merged, split, encoded, packed, twice, restarted, by_day])
def test_other_files_give_the_same_lake(
    tmp_path: Path, form: Callable[[dict[date, list[Row]]], Files], seed: int
) -> None:
    days, lists = plant(seed), {"list.csv": LIST}
    first = deliver(tmp_path / "a", by_day(days) | lists, True, 0)
    other = deliver(tmp_path / "b", form(days) | lists, seed == 0, seed)
    assert said(other) == said(first)
    headers = [reason for reason in bad_rows(other) if "'LOT'" in reason or "'Lot'" in reason]
    assert len(headers) == (4 if form is restarted else 0)
    assert [one for one in bad_rows(other) if one not in headers] == bad_rows(first)
    assert len(first.lake.rows(readings(first.stage))) + len(bad_rows(first)) == 240


OPTIONS = st.builds(
    dict,
    find_header=st.booleans(),
    header=st.sampled_from([(), ("Lot", "pH"), ("pH", "Lot", "x")]),
    header_rows=st.integers(1, 2),
    skip_after_header=st.integers(0, 2),
    ignore_lines=st.sampled_from([(), ("^#",), ("7",)]),
    optional=st.sampled_from([frozenset(), frozenset({"ph"})]),
    quote=st.sampled_from(['"', "'"]),
    delimiter=st.sampled_from([",", ";"]),
    has_numbers=st.booleans(),
)
PIECES = st.sampled_from(
    [
        b"Lot,pH\n",
        b"lot;PH\n",
        b"1,7\n",
        b"1;7,5\n",
        b"#x\n",
        b"sep=;\n",
        b"\xff\xfe",
        b"\0",
        b"\x1f\x8b",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.binary(max_size=12), max_size=12).map(b"".join), OPTIONS)
@example(b"sep=;\n", {"header": ("Lot", "pH"), "find_header": True})
def test_any_bytes_by_any_layout_are_refused_or_read_to_the_last_row(
    content: bytes, options: dict[str, Any]
) -> None:
    fields = {"lot": ("Lot",), "ph": ("pH",)}
    layout = replace(Layout(",", ("utf-8", "cp949"), fields), **options)
    report = inspect(io.BytesIO(content), layout)
    if report.rule is None:
        batches = list(read_cells(io.BytesIO(content), report, layout))
        assert sum(batch.num_rows for batch in batches) == report.rows
