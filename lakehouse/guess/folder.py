"""Look at a file or at a plant's folder: which kinds of files there are, and what each means."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from lakehouse.errors import PlatelakeError
from lakehouse.files.text_form import FormatError
from lakehouse.guess.columns import GUESS, LIKELY, Columns, guess_columns
from lakehouse.guess.photos import PhotoFolder, look_at_photos
from lakehouse.guess.text import Table, guess_tables
from lakehouse.landing.matching import NOISE, PACKED

PHOTOS = (
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".bmp",
    ".gif",
    ".webp",
    ".heic",
    ".heif",
    ".avif",
)
LOOKED_AT = 20
"""Files of one folder and ending that are opened."""
FREE = ("missing", "ignore", "thousands")
"""Keys that files of one kind may need or not, by what stands in them."""
IN_NAME = (
    (r"\d{4}-\d{2}-\d{2}", "%Y-%m-%d"),
    (r"\d{4}\.\d{2}\.\d{2}", "%Y.%m.%d"),
    (r"\d{4}_\d{2}_\d{2}", "%Y_%m_%d"),
    (r"\d{8}", "%Y%m%d"),
    (r"\d{2}-\d{2}-\d{4}", "%d-%m-%Y"),
    (r"\d{2}\.\d{2}\.\d{4}", "%d.%m.%Y"),
)
"""Dates in the names of files, and their form."""


class NothingError(PlatelakeError):
    """No file can be read. `unread` maps each file that was opened to the reason."""

    def __init__(self, path: Path, unread: dict[str, str]) -> None:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(unread.items())[:5])
        super().__init__(f"{path} holds no table and no photo; {reasons or 'it is empty'}")
        self.unread = unread


@dataclass
class Texts:
    """Text files with the same columns; the first is the example."""

    files: list[Path]
    table: Table
    columns: Columns
    globs: list[str] = field(default_factory=list)
    forms: set[tuple[int, int]] = field(default_factory=set)
    """How many lines stand above and below the headers of the files."""


@dataclass
class Found:
    """What lies there: text files by form, folders of photos, and what cannot be read."""

    root: Path
    texts: list[Texts] = field(default_factory=list)
    photos: list[PhotoFolder] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)

    def of(self, kind: str) -> list[Texts]:
        """Return the text files of that kind, the largest first."""
        some = [one for one in self.texts if one.columns.kind == kind]
        size = {id(one): sum(file.stat().st_size for file in one.files) for one in some}
        return sorted(some, key=lambda one: (-size[id(one)], -len(one.table.rows)))


def look_at(path: Path) -> Found:
    """Look at a file, or at the files of a folder.

    Raises PlatelakeError if it is not there, NothingError if it holds nothing that can be read.
    """
    if not path.exists():
        raise PlatelakeError(f"{path} is not there; give a file, or a folder of a plant's files")
    found = Found(path if path.is_dir() else path.parent)
    groups: dict[tuple[Path, str], list[Path]] = {}
    photos: dict[Path, list[Path]] = {}
    for file in [path] if path.is_file() else _files(path):
        ending = Path(PACKED.sub("", file.name)).suffix.lower()
        groups.setdefault((file.parent, ending), []).append(file)
    for (folder, ending), files in sorted(groups.items()):
        if ending in PHOTOS:
            photos.setdefault(folder, []).extend(files)
        else:
            _add_texts(found, files)
    found.photos = [look_at_photos(found.root, *one) for one in photos.items()]
    _merge_forms(found)
    for texts in found.texts:
        texts.globs = sorted({_glob(found, texts, folder) for folder in _folders(texts)})
        _date_of_name(texts)
    if not found.texts and not found.photos:
        raise NothingError(path, found.unread)
    return found


def _files(folder: Path) -> list[Path]:
    found = []
    for parent, _, names in os.walk(folder):
        found += [Path(parent, name) for name in sorted(names) if not NOISE.fullmatch(name)]
    return found


def _add_texts(found: Found, files: Sequence[Path]) -> None:
    """Group the files by the names of their columns."""
    for file in files[:LOOKED_AT]:
        name = str(file.relative_to(found.root))
        try:
            with file.open("rb") as stream:
                tables = guess_tables(stream)
        except (OSError, FormatError) as error:
            found.unread[name] = str(error)
            continue
        if not tables:
            found.unread[name] = "no table with a header and rows"
        for table in tables:
            _add_table(found, file, table)
    if len(files) > LOOKED_AT and found.texts:
        found.texts[-1].files += files[LOOKED_AT:]


def _add_table(found: Found, file: Path, table: Table) -> None:
    alike = next((one for one in found.texts if one.table.is_like(table)), None)
    texts = alike or Texts([], table, guess_columns(table))
    texts.files.append(file)
    texts.forms.add((table.header, table.units))
    if alike is None:
        found.texts.append(texts)


def _merge_forms(found: Found) -> None:
    """Join sensor files that differ only in columns that some lack: those are optional."""
    for wide in sorted(found.of("readings"), key=lambda one: -len(one.columns.variables)):
        for other in [one for one in found.of("readings") if one is not wide]:
            if wide not in found.texts or not _is_part(other, wide):
                continue
            there = {variable.value["column"] for variable in other.columns.variables}
            for variable in wide.columns.variables:
                if variable.value["column"] not in there:
                    variable.value["optional"] = True
            wide.files += other.files
            wide.forms |= other.forms
            found.texts.remove(other)


def _is_part(other: Texts, wide: Texts) -> bool:
    """Return whether both have the same meaning, but for variables that the other lacks."""
    means = [
        {guess.key: guess.value for guess in one.columns.guesses if guess.key not in FREE}
        for one in (other, wide)
    ]
    mine, all_ = (
        {variable.value["column"] for variable in one.columns.variables} for one in (other, wide)
    )
    same_text = other.table.delimiter == wide.table.delimiter
    same_text &= other.table.sheet == wide.table.sheet
    has_header = other.table.header >= 0 and wide.table.header >= 0
    return means[0] == means[1] and mine <= all_ and same_text and has_header


def _folders(texts: Texts) -> set[Path]:
    return {file.parent for file in texts.files}


def _glob(found: Found, texts: Texts, folder: Path) -> str:
    """Return a glob of these files in a folder: all if no others end so, else their common name."""
    mine = [file for file in texts.files if file.parent == folder]
    ending = Path(PACKED.sub("", mine[0].name)).suffix
    name = folder.relative_to(found.root).as_posix()
    below = "" if name == "." else f"{name}/"
    others = [
        file
        for one in found.texts
        if one is not texts
        for file in one.files
        if file not in mine
        and file.parent == folder
        and PACKED.sub("", file.name).lower().endswith(ending.lower())
    ]
    if not others:
        return f"{below}*{ending}"
    stems = sorted(PACKED.sub("", file.name).removesuffix(ending) for file in mine)
    alike = zip(stems[0], stems[-1], strict=False)
    common = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], alike))
    return f"{below}{common.rstrip('0123456789-_. ') or common}*{ending}"


def _date_of_name(texts: Texts) -> None:
    """Take the date from the files' names if no column has it."""
    keys = {guess.key for guess in texts.columns.guesses}
    if texts.columns.kind != "readings" or keys & {"date", "timestamp"}:
        return
    for pattern, form in IN_NAME:
        if all(re.search(pattern, file.name) for file in texts.files):
            said = {"file_name": f"({pattern})", "format": form}
            texts.columns.add("date", said, LIKELY, "no column has a date")
            return
    said = {"file_name": r"(\d{4}-\d{2}-\d{2})", "format": "%Y-%m-%d"}
    texts.columns.add("date", said, GUESS, "neither a column nor the file's name has a date")
