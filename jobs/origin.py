"""Where a verdict comes from, on the command line: the same steps as in the app."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

import pyarrow.compute as pc
from rich.console import Console
from rich.text import Text

from jobs.context import RunContext
from jobs.options import Options
from jobs.runner import begin
from jobs.train import open_registry
from lakehouse.errors import UsageError
from lakehouse.sql.database import Database, SqlError
from lakehouse.tables.inspections import INSPECTIONS
from serving.origin import (
    Sources,
    Step,
    find_inspection,
    of_inspection,
    of_lot,
    of_photo,
    said_of,
)
from serving.texts import texts

LOT = re.compile(r"(\d{4}-\d\d-\d\d)/(.+)")
SHA256 = re.compile(r"[0-9a-f]{64}")


def explain_verdict(options: Options, asked: str, as_json: bool) -> None:
    """Print where a verdict comes from, as sections of text or as one JSON line.

    Args:
        options: Stage, lake and the app's database.
        asked: The id of an inspection, DAY/LOT, or the SHA-256 of a photo.
        as_json: Whether to print JSON.

    Raises:
        UsageError: The app's database has no such inspection, or the day is none.
    """
    context = begin(options, lake_must_exist=True)
    sources = Sources(context.lake, context.stage, open_registry(context))
    steps = _steps(context, sources, asked)
    if as_json:
        print(json.dumps({"asked": asked, "steps": [step.as_json for step in steps]}))
    else:
        _show(steps)


def _steps(context: RunContext, sources: Sources, asked: str) -> list[Step]:
    if lot := LOT.fullmatch(asked):
        day = _day(lot[1])
        what = {"day": day, "lot": lot[2]}
        return [*of_lot(sources, day, lot[2]), *_said(context, what)]
    if SHA256.fullmatch(asked):
        return [*of_photo(sources, asked), *_said(context, {"sha256": asked})]
    one = _find(context, asked)
    if one is None:
        raise UsageError(
            f"there is no inspection {asked!r} of stage {context.stage.name}; give the id in the "
            "link of an inspection, DAY/LOT such as 2021-09-06/17, or the SHA-256 of a photo"
        )
    people = _said(context, {"sha256": one["sha256"]})
    return [*of_inspection(sources, one), *people]


def _find(context: RunContext, inspection_id: str) -> Mapping[str, Any] | None:
    """The inspection in the app's database, or its copy in the lake while that is away."""
    try:
        with _database(context) as database:
            return find_inspection(database, context.stage, inspection_id)
    except SqlError:
        own = pc.field("inspection_id") == inspection_id
        found = context.lake.load(INSPECTIONS, where=own).to_pylist()
        return found[0] if found else None


def _said(context: RunContext, what: dict[str, object]) -> list[Step]:
    """What people did and said; one step that says so while the app's database is away."""
    try:
        with _database(context) as database:
            return said_of(database, context.stage, what)
    except SqlError:
        return [Step("inspections", [], "sql_away")]


@contextmanager
def _database(context: RunContext) -> Iterator[Database]:
    """Open the app's database for a moment; raises SqlError while it is away."""
    database = Database(context.settings.sql_address())
    try:
        yield database
    finally:
        database.engine.dispose()


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text} is no day; give DAY/LOT, such as 2021-09-06/17") from None


def _show(steps: list[Step]) -> None:
    """Print each step as a heading and its rows, in the words of the app."""
    t, console = texts("en"), Console(soft_wrap=True, highlight=False)
    for step in steps:
        console.print(Text(t(f"origin_step.{step.name}"), style="bold"))
        if step.missing:
            console.print(Text(f"  {t(f'origin_missing.{step.missing}')}"))
        for row in step.first:
            told = [
                f"{t(f'origin_column.{name}')}: {_said_value(value)}"
                for name, value in row.items()
                if f"origin_column.{name}" in t.sentences
            ]
            console.print(Text("  " + "\n  ".join(told) + "\n"))
        if step.more:
            console.print(Text(f"  {t('origin.more', count=step.more)}"))


def _said_value(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
