"""Say what a run would do with the files of a landing zone; write nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from jobs.context import RunContext
from jobs.options import Options
from jobs.report import write_json
from jobs.runner import begin
from lakehouse.delta.lake import Lake
from lakehouse.errors import NoLakeError, PhotoError, PlatelakeError
from lakehouse.files import error_lists, readings
from lakehouse.files.layout import FileReport
from lakehouse.files.photos import read_photo
from lakehouse.files.read import hash_files, inspect_files, read_rows
from lakehouse.files.rules import filter_held_back
from lakehouse.ingest import events, ledger
from lakehouse.landing.files import LandedFile
from lakehouse.landing.matching import KINDS
from lakehouse.landing.stable import Looks
from lakehouse.landing.zone import open_url
from lakehouse.settings import Settings
from lakehouse.stage import Stage

SHOWN = 10
"""How many files and reasons are shown of each kind."""


@dataclass
class Planned:
    """What a run would do with the files of one kind.

    `quarantined` has the reason of each file as a whole; `rules` counts rows by rule, `reasons` are
    the first of them.
    """

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    duplicate: list[str] = field(default_factory=list)
    known: int = 0
    rows: int = 0
    quarantined: dict[str, str] = field(default_factory=dict)
    rules: Counter[str] = field(default_factory=Counter)
    reasons: list[str] = field(default_factory=list)


def run_plan(options: Options) -> dict[str, Any]:
    """Return and print what a run with these options would do.

    Writes nothing to the lake, and makes none where there is none.
    """
    try:
        return _plan_run(begin(options, lake_must_exist=True))
    except NoLakeError:
        with TemporaryDirectory() as empty:
            return _plan_run(begin(replace(options, lake=empty)))


def _plan_run(context: RunContext) -> dict[str, Any]:
    looks, options = context.looks, context.options
    if looks is None:
        raise PlatelakeError("no landing directory; give the plant's folder by --landing")
    stage, settings, lake = context.stage, context.settings, context.lake
    found = {kind: _plan(lake, looks, kind, stage, settings) for kind in KINDS if _has(stage, kind)}
    report = {
        "stage": stage.name,
        **{kind: {**vars(one), "rules": dict(one.rules)} for kind, one in found.items()},
        "unmatched": looks.unmatched(),
        "unreadable": list(looks.unreadable()),
    }
    if options.json_file:
        write_json(options.json_file, report)
    _show(found, looks)
    return report


def _has(stage: Stage, kind: str) -> bool:
    return getattr(stage, kind) is not None


def _plan(lake: Lake, looks: Looks, kind: str, stage: Stage, settings: Settings) -> Planned:
    landed = looks.files(kind)
    last = events.last_events(lake, kind, landed.names)
    candidates = list(ledger.candidates(landed, last, ()))
    reports, look = _inspect(lake, looks.landing, kind, stage, settings, candidates)
    known = events.related_states(lake, kind, reports, {one.sha256 for one in reports.values()})
    plan = ledger.plan(landed, known, reports)
    found = Planned(known=plan.known)
    for delivery in plan.deliveries:
        name = delivery.landed.file
        if delivery.status == ledger.DUPLICATE:
            found.duplicate.append(name)
        elif delivery.status == ledger.QUARANTINED:
            found.quarantined[name] = f"{delivery.report.rule}: {delivery.report.reason}"
        else:
            (found.changed if delivery.replaces else found.new).append(name)
    loading = [d for d in plan.deliveries if d.status == ledger.LOADED]
    look(found, [(d.landed, d.report) for d in loading])
    return found


Files = Sequence[tuple[LandedFile, FileReport]]


def _inspect(
    lake: Lake,
    landing: str,
    kind: str,
    stage: Stage,
    settings: Settings,
    files: Sequence[LandedFile],
) -> tuple[dict[str, FileReport], Callable[[Planned, Files], None]]:
    """Return the reports of the files, and what looks into those that would be read."""
    if kind == "photos":

        def photos(found: Planned, loading: Files) -> None:
            for file, _ in loading:
                _look_at_photo(found, landing, file, stage, settings)

        return hash_files(lake, landing, files), photos
    source: Any = readings if kind == "readings" else error_lists
    layout = source.layout(stage, settings)
    reports = inspect_files(lake, landing, files, layout)
    for file, report in reports.items():
        source.check_file(stage, file, report)

    def texts(found: Planned, loading: Files) -> None:
        def typed(batch: pa.RecordBatch, reports: Any) -> pa.RecordBatch:
            return source.typed_rows(batch, reports, stage)

        for one in loading:
            rows = read_rows(lake, landing, [one], layout, typed, source.row_schema(stage))
            _look_at_rows(found, one[0].file, rows)

    return reports, texts


def _look_at_rows(found: Planned, file: str, rows: Any) -> None:
    table: pa.Table = rows if isinstance(rows, pa.Table) else rows.toArrow()
    held_back = filter_held_back(table)
    found.rows += table.num_rows
    found.rules.update(held_back["rule"].to_pylist())
    for row in held_back.slice(0, SHOWN).to_pylist():
        if len(found.reasons) < SHOWN:
            found.reasons.append(f"{file}, line {row['line']}: {row['reason']}")


def _look_at_photo(
    found: Planned, landing: str, file: LandedFile, stage: Stage, settings: Settings
) -> None:
    try:
        with open_url(landing, file.url) as stream:
            read_photo(stream.read(settings.max_photo_bytes + 1), stage, settings)
    except (OSError, PhotoError) as error:
        found.quarantined[file.file] = f"{getattr(error, 'rule', 'unreadable')}: {error}"


def _show(found: dict[str, Planned], looks: Looks) -> None:
    console = Console()
    grid = Grid(title="What a run would do", title_justify="left")
    grid.add_column("files", no_wrap=True)
    columns = ("new", "changed", "duplicate", "known", "bad", "rows", "bad rows")
    for name in columns:
        grid.add_column(name, justify="right")
    for kind, one in found.items():
        files = (one.new, one.changed, one.duplicate)
        counts = [*map(len, files), one.known, len(one.quarantined), one.rows, one.rules.total()]
        grid.add_row(kind, *(f"{count:,}" for count in counts))
    console.print(grid)
    for one in found.values():
        for file, why in list(one.quarantined.items())[:SHOWN]:
            console.print(escape(f"quarantined: {file}: {why}"))
        for reason in one.reasons:
            console.print(escape(f"quarantined: {reason}"))
    for name in looks.unmatched()[:SHOWN]:
        console.print(escape(f"unmatched: {name}"))
    for name in looks.unreadable()[:SHOWN]:
        console.print(escape(f"cannot be listed: {name}/"))
