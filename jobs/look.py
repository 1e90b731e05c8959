"""Look at a file or folder of a plant: guess its stage file, and show what would be stored."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.guess.folder import Found, Texts, look_at
from lakehouse.guess.preview import Preview, preview
from lakehouse.guess.stage_file import guessed_stage, stage_name, stage_text
from lakehouse.settings import Settings, load_settings
from lakehouse.stage import Stage

REASONS = 5
"""How many quarantined rows are shown."""


def look(path: Path, write: Path | None, rows: int) -> None:
    """Print the guessed stage file and the first rows as they would be stored.

    Writes nothing but the stage file, if `write` names one that is not there yet.
    """
    if write and write.exists():
        raise UsageError(f"{write} is there already; name another file by --write")
    found = look_at(path)
    name = stage_name(write or path)
    text = stage_text(found, name)
    console = Console()
    console.print(escape(text), highlight=False, soft_wrap=True)
    stage, settings = guessed_stage(text, name), load_settings()
    for kind in ("readings", "error_lists"):
        for texts in found.of(kind)[:1]:
            _show(console, kind, found, texts.files[0], stage, settings, rows)
    for file, why in list(found.unread.items())[:REASONS]:
        console.print(escape(f"not read: {file}: {why}"))
    for kind in ("readings", "error_lists"):
        for texts in found.of(kind)[1:]:
            _show_other(console, kind, found, texts, settings, rows)
    for texts in found.of("other"):
        console.print(escape(f"not in the stage file: {_described(found, texts)}"))
    if write:
        write.parent.mkdir(parents=True, exist_ok=True)
        write.write_text(text, "utf-8")
        console.print(
            escape(f"written: {write}. Try it: platelake plan --stage-file {write} --landing DIR")
        )


def _show_other(
    console: Console, kind: str, found: Found, texts: Texts, settings: Settings, rows: int
) -> None:
    """Print another kind of such files by a stage of its own, since a stage has one of each."""
    console.print(
        escape(f"another kind, not in the stage file: {_described(found, texts)}"), soft_wrap=True
    )
    file = texts.files[0]
    own = f"platelake look {file} --write conf/stages/NAME.toml"
    own = f"with sheet = {texts.table.sheet!r}" if texts.table.sheet else own
    console.print(escape(f"a stage of its own: {own}"), soft_wrap=True)
    try:
        stage = guessed_stage(stage_text(Found(found.root, [texts]), "stage"), "stage")
    except PlatelakeError as error:
        console.print(escape(str(error)))
        return
    _show(console, kind, found, file, stage, settings, rows)


def _described(found: Found, texts: Texts) -> str:
    """Return globs, number of files, and columns."""
    names = ", ".join(texts.table.names)
    count = len(texts.files)
    sheet = f", sheet {texts.table.sheet}," * bool(texts.table.sheet)
    files = f"{count} file{'s' * (count > 1)}{sheet}"
    return f"{', '.join(texts.globs)}: {files} with the columns {names}"


def _show(
    console: Console,
    kind: str,
    found: Found,
    file: Path,
    stage: Stage,
    settings: Settings,
    rows: int,
) -> None:
    """Print the first rows of a file as they would be stored, and what would be quarantined."""
    name = file.relative_to(found.root).as_posix()
    seen = preview(kind, file, name, stage, settings)
    if seen.report.rule:
        console.print(escape(f"{name}: quarantined: {seen.report.rule}: {seen.report.reason}"))
        return
    total = seen.stored.num_rows + seen.held_back.num_rows
    grid = Grid(
        title=f"{name}: {seen.stored.num_rows:,} of {total:,} rows would be stored",
        title_justify="left",
    )
    for column in seen.columns:
        grid.add_column(column)
    for cells in seen.first(rows):
        grid.add_row(*map(escape, cells))
    console.print(grid)
    _reasons(console, seen)


def _reasons(console: Console, seen: Preview) -> None:
    if seen.report.note:
        console.print(escape(seen.report.note))
    for rule, count in seen.reasons.most_common():
        console.print(f"quarantined: {count:,} rows by {rule}")
    for row in seen.held_back.slice(0, REASONS).to_pylist():
        console.print(escape(f"line {row['line']}: {row['reason']}"))
