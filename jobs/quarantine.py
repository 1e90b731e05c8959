"""The quarantine: what is in it, one entry whole, and its replay."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from jobs.context import RunContext
from jobs.options import Options
from jobs.report import report
from jobs.runner import CHAIN, begin, do_jobs
from lakehouse.errors import UsageError
from lakehouse.landing.matching import KINDS
from lakehouse.tables.quarantine import QUARANTINE


def list_entries(context: RunContext) -> None:
    """Print every entry: in a table on a terminal, else a line each, cells parted by tabs."""
    rows = sorted(
        context.lake.rows(QUARANTINE), key=lambda row: (row["kind"], row["file"], row["line"])
    )
    entries = [
        (
            *(row["quarantine_id"], row["kind"], row["file"], str(row["line"] or "whole")),
            *(row["rule"], row["reason"]),
        )
        for row in rows
    ]
    if not sys.stdout.isatty():
        for cells in entries:
            print("\t".join(_on_one_line(cell) for cell in cells))
        return
    grid = Grid()
    for name in ("id", "kind", "file", "line", "rule", "reason"):
        grid.add_column(name, overflow="fold")
    for cells in entries:
        grid.add_row(*map(Text, cells))
    Console().print(grid if entries else "The quarantine is empty.")


def _on_one_line(cell: str) -> str:
    """The cell with its line breaks, tabs and other control characters escaped."""
    return "".join(
        one.encode("unicode_escape").decode()
        if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp")
        else one
        for one in cell
    )


def show_entry(context: RunContext, entry: str) -> None:
    """Print one entry, whole."""
    rows = [row for row in context.lake.rows(QUARANTINE) if row["quarantine_id"].startswith(entry)]
    if len(rows) != 1:
        found = "no entry begins" if not rows else f"{len(rows)} entries begin"
        names = f"platelake quarantine list{context.options.advice}"
        raise UsageError(f"{found} with {entry!r}; `{names}` names them")
    for name, value in rows[0].items():
        Console(soft_wrap=True).print(Text(f"{name}: {value}"))


def replay(options: Options, only: Sequence[str], withdraw: Sequence[str] = ()) -> None:
    """Read the files with entries (or `only` these of them) again, and print what that changed.

    A file's rows are replaced as a whole, so each is then stored once or quarantined once. Files
    that are new or changed wait for the next run, so the counts tell what the replay did. Photos to
    `withdraw` count as taken out by the plant, though it was `after_ingest` that took them.
    """
    context = begin(options, lake_must_exist=True)
    entries = context.lake.rows(QUARANTINE, "kind", "file")
    wanted = [row for row in entries if not only or row["file"] in only]
    if unknown := {*only, *withdraw} - {row["file"] for row in wanted}:
        raise UsageError(f"the quarantine has no entry of {', '.join(sorted(unknown))}")
    context.only_again, context.withdraw = True, frozenset(withdraw)
    context.again = {k: frozenset(r["file"] for r in wanted if r["kind"] == k) for k in KINDS}
    before = report(context)
    for file in _not_landed(context):
        Console(stderr=True).print(Text(f"not in the landing zone, so left as it is: {file}"))
    do_jobs(CHAIN, context)
    after = report(context)
    grid = Grid("what", "before", "after")
    for name in ("quarantined", "readings", "lots", "lots_failed", "pictures", "picture_names"):
        grid.add_row(name.replace("_", " "), f"{before[name]:,}", f"{after[name]:,}")
    Console().print(grid)


def _not_landed(context: RunContext) -> list[str]:
    """Files of text that are asked for again but gone; a photo that is gone counts as withdrawn."""
    gone: list[str] = []
    for kind in KINDS[:2]:
        landed = context.ingest(kind).looks.files(kind).named(context.again[kind])
        gone += sorted(context.again[kind] - {file.file for file in landed})
    return gone
