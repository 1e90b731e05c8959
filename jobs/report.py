"""How a run ended: its report, what went wrong, and the exit code.

Exit codes: 0 done, 1 error, 2 usage, 3 quality gate.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from rich.console import Console
from rich.table import Table as Grid

from lakehouse.errors import DISK_FULL, PlatelakeError, UsageError
from lakehouse.tables.lots import LOTS
from lakehouse.tables.picture_names import PICTURE_NAMES
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings
from lakehouse.tables.unmatched_files import UNMATCHED_FILES

if TYPE_CHECKING:
    from jobs.context import RunContext

CAUSES = (
    (DISK_FULL, "the disk is full", "Make room"),
    (
        ("There are 0 datanode(s) running",),
        "HDFS has no DataNode that is alive",
        "Start them",
    ),
    (
        ("QuotaExceededException", "could only be written to 0 of"),
        "HDFS is full, or the lake's quota there",
        "Make room",
    ),
    (
        ("SafeModeException", "in safe mode"),
        "HDFS is in safe mode and takes no writes",
        "Look at the NameNode, which leaves it by itself after a start",
    ),
    (
        ("DELTA_CONCURRENT", "io.delta.exceptions.Concurrent", "Failed to commit transaction"),
        "another run wrote the same table, so this one's commit was refused",
        "Have the scheduler run one at a time",
    ),
)
"""Signs in the words of Spark, Delta, Hadoop and the system; what they mean; what to do."""


SHOWN = 20
"""How many unmatched files a report names."""


def check_report(file: Path) -> None:
    """Fail on a report that cannot be written before there is anything to report."""
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UsageError(
            f"the report {file} cannot be written: name by --json a file in a folder that is there"
        )


def report(context: RunContext) -> dict[str, Any]:
    """What the lake of the run's stage holds now, and what the run did."""
    lake = context.lake
    labels = Counter(row["label"] for row in lake.rows(LOTS, "label"))
    names = lake.rows(PICTURE_NAMES, "pixel_sha256")
    c = context.counts
    return {
        "run": context.run_id,
        "stage": context.stage.name,
        "readings": lake.count(readings(context.stage)),
        "lots": labels.total(),
        **{f"lots_{label}": labels[label] for label in ("failed", "good", "unknown")},
        "pictures": len({row["pixel_sha256"] for row in names}),
        "picture_names": len(names),
        "quarantined": lake.count(QUARANTINE),
        "unmatched": {
            "count": context.unmatched,
            "files": sorted(row["file"] for row in lake.rows(UNMATCHED_FILES, "file"))[:SHOWN],
        },
        "files": {
            "seen": c.seen,
            "loaded": c.loaded,
            "duplicate": c.duplicate,
            "quarantined": c.quarantined,
            "known": c.known,
        },
        "rows": {
            "read": c.rows_read,
            "stored": c.rows_stored,
            "quarantined": c.rows_quarantined,
        },
        "much_quarantined": [
            {**vars(one), "share": round(one.share, 4)} for one in c.large_shares[:SHOWN]
        ],
        "sql": context.sql_rows,
        "maintained": context.maintained,
        "seconds": context.seconds,
    }


def write_report(context: RunContext) -> None:
    """Write the report as JSON where it is asked for."""
    if context.options.json_file:
        write_json(context.options.json_file, report(context))


@contextmanager
def failure_reported(file: Path | None, jobs: Sequence[str]) -> Iterator[None]:
    """Write of a run that fails which jobs it was to do, what went wrong, and the exit code."""
    try:
        yield
    except Exception as error:
        if file:
            with suppress(OSError):  # What went wrong is told on standard error, too.
                write_json(file, failed(jobs, error))
        raise


def failed(jobs: Sequence[str], error: BaseException) -> dict[str, Any]:
    """The report of a run that failed: its jobs, what went wrong, the exit code."""
    return {"jobs": [*jobs], **failure(error)}


def write_json(file: Path, found: Mapping[str, Any]) -> None:
    """Write it as a JSON file, for a person or a program."""
    file.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", "utf-8")


def grid(*columns: str, title: str = "", numbers: Sequence[str] = ()) -> Grid:
    """A table for standard output: with lines on a terminal, without in a pipe or a file.

    Args:
        columns: Heads of the columns.
        title: Stands above the table.
        numbers: The columns of numbers, which end at the right.
    """
    found = Grid(title=title or None, title_justify="left")
    if not sys.stdout.isatty():
        found.box = None
    for name in columns:
        found.add_column(name, justify="right" if name in numbers else "left")
    return found


def show(context: RunContext) -> None:
    """The report as tables for a person, on standard output, and where to look on."""
    found, of = report(context), context.options.advice
    console = Console(soft_wrap=not sys.stdout.isatty())
    console.print(f"Stage {found['stage']}, run {found['run']}")
    lake = grid("in the lake", "count", numbers=("count",))
    for name in ("readings", "lots", "lots_failed", "lots_good", "lots_unknown"):
        lake.add_row(name.replace("_", " "), f"{found[name]:,}")
    for name in ("pictures", "picture_names"):
        lake.add_row(name.replace("_", " "), f"{found[name]:,}")
    lake.add_row(*_marked("quarantined", found["quarantined"]))
    console.print(lake)
    files, rows = found["files"], found["rows"]
    run = grid("in this run", "files", "rows", numbers=("files", "rows"))
    run.add_row("seen, read", f"{files['seen']:,}", f"{rows['read']:,}")
    run.add_row("loaded, stored", f"{files['loaded']:,}", f"{rows['stored']:,}")
    run.add_row("duplicate", f"{files['duplicate']:,}", "")
    run.add_row(*_marked("quarantined", files["quarantined"], rows["quarantined"]))
    run.add_row("known, not read again", f"{files['known']:,}", "")
    run.add_row(*_marked("unmatched", found["unmatched"]["count"]), "")
    console.print(run)
    if found["sql"]:
        sql = grid("copied to SQL", "rows", numbers=("rows",))
        for name, count in found["sql"].items():
            sql.add_row(name, f"{count:,}")
        console.print(sql)
    spent = ", ".join(f"{name} {seconds:.1f}" for name, seconds in found["seconds"].items())
    console.print(f"seconds: {spent}", soft_wrap=True)
    for line in _where_to_look(found, of):
        console.print(line, soft_wrap=True)


def _marked(name: str, *counts: int) -> list[str]:
    """A row of counts; in colour on a terminal if there are any."""
    cells = [name, *(f"{count:,}" for count in counts)]
    return [f"[yellow]{cell}[/]" for cell in cells] if any(counts) else cells


def _where_to_look(found: Mapping[str, Any], of: str) -> Iterator[str]:
    if found["quarantined"]:
        yield f"{found['quarantined']:,} quarantined; see `platelake quarantine list{of}`"
    for one in found["much_quarantined"][:3]:
        yield "{of}: {quarantined:,} of {rows:,} quarantined, most by {rule}".format_map(one)
    if unmatched := found["unmatched"]["count"]:
        names = ", ".join(found["unmatched"]["files"][:3])
        more = ", …" if unmatched > 3 else ""
        yield f"{unmatched:,} not read, since no pattern of the stage names them: {names}{more}"


def failure(error: BaseException) -> dict[str, Any]:
    """What went wrong as one sentence, `error`, and the process's `exit_code`."""
    code = error.exit_code if isinstance(error, PlatelakeError) else 1
    return {"error": _foreseen(error) or _unforeseen(error), "exit_code": code}


def exit_code(error: BaseException, stage: str = "") -> int:
    """Say on standard error what went wrong, and in which stage of several; the exit code."""
    if not _foreseen(error):
        structlog.get_logger().error("failed", exc_info=error)
    found = failure(error)
    where = f"stage {stage}: " if stage else ""
    print(f"platelake: {where}{found['error']}", file=sys.stderr)
    return int(found["exit_code"])


def _foreseen(error: BaseException) -> str:
    """The sentence of an error that somebody thought of; empty where nobody did."""
    text = str(error)
    if isinstance(error, PlatelakeError):
        return text
    if by_worker := BY_WORKER.search(text):
        return by_worker[1]
    for signs, meaning, remedy in CAUSES:
        if any(sign in text for sign in signs):
            return (
                f"{meaning}; the tables are as they were at their last commit. {remedy} and run "
                "again"
            )
    return ""


BY_WORKER = re.compile(r"^lakehouse\.errors\.\w+: (.+)$", re.MULTILINE)
"""A PlatelakeError that a worker raised, as Spark tells it."""


def _unforeseen(error: BaseException) -> str:
    """The line that says most: of Java's words the innermost cause, else the first."""
    text = str(error).strip()
    causes = re.findall(r"^(?:Caused by)?: (\S.*)$", text, re.MULTILINE)
    line = causes[-1] if causes else text.partition("\n")[0]
    return (
        f"{type(error).__name__}: {line.strip().removesuffix('.') or 'no more is known'}. The "
        "tables are as their last commit left them; run again once the cause is mended"
    )
