"""The landing zone: which files of a stage are there."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fsspec.implementations.local import LocalFileSystem

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.landing.files import LANDED, LandedFile, LandedFiles
from lakehouse.landing.matching import APP_FOLDER, kinds_of, match
from lakehouse.landing.walk import Entry, Walk
from lakehouse.stage import Stage

ARCHIVE_FOLDER = "platelake-archived"
"""Below the landing directory: files that the lake holds, if `after_ingest` is `archive`."""
LEAVING_FOLDER = "platelake-leaving"
"""Below the landing directory: a file while it is read for the last time."""
REMEDY = "give the folder of the plant's files with --landing"
LISTED = pa.schema([field for field in LANDED if field.name != "label"])
AT_ONCE = 50_000
"""Files that are put in columns together."""


class Sorted(NamedTuple):
    """The files of each kind, and those that no glob names; both by name."""

    landed: dict[str, LandedFiles]
    unmatched: list[str]


@dataclass(frozen=True)
class Listing:
    """What lay in the landing zone at one look.

    `rows` has the columns `LISTED`, by name. `unreadable` are the folders, below the landing
    directory, that this user may not list.
    """

    rows: pa.Table
    unreadable: tuple[str, ...] = ()

    def sort(self, stage: Stage) -> Sorted:
        """Sort the files by the stage's globs.

        Raises UsageError if the stage file gives one photo two labels.
        """
        names = self.rows["file"]
        matches = match(stage, names)
        landed = {
            kind: LandedFiles(kind, self.rows.append_column("label", labels).filter(are_these))
            for kind, (are_these, labels) in matches.kinds.items()
        }
        ours = pc.starts_with(names, f"{APP_FOLDER}/")
        return Sorted(landed, names.filter(pc.and_not(matches.unmatched, ours)).to_pylist())

    def masks(self, stage: Stage) -> dict[str, str]:
        """Return the url of each mask of the stage's photos, by its path, sorted."""
        found = self.rows.filter(match(stage, self.rows["file"]).defects)
        return dict(zip(found["file"].to_pylist(), found["url"].to_pylist(), strict=True))

    def is_hidden(self, file: str) -> bool:
        """Return whether the file may be there, in a folder that cannot be listed."""
        return any(file.startswith(f"{folder}/") for folder in self.unreadable)


def look(landing: str) -> Listing:
    """List all files below `landing`, a folder or URL.

    Raises PlatelakeError if the landing zone is missing, unreadable or holds nothing at all.
    """
    if not landing:
        raise PlatelakeError(f"no landing directory is given; {REMEDY}")
    file_system, root = landing_root(landing)
    file_system.invalidate_cache()
    walk = Walk(file_system, root, (ARCHIVE_FOLDER, LEAVING_FOLDER))
    start = len(root.rstrip("/")) + 1
    try:
        if file_system.info(root)["type"] != "directory":
            raise PlatelakeError(f"the landing directory {landing} is a file; {REMEDY}")
        rows = _as_rows(walk, root.rstrip("/"))
    except FileNotFoundError:
        raise PlatelakeError(f"the landing directory {landing} does not exist; {REMEDY}") from None
    except OSError as error:
        raise PlatelakeError(
            f"the landing directory {landing} cannot be read: {error}; "
            "give this user the right to read it"
        ) from None
    if not rows.num_rows and not walk.has_skipped and not walk.unreadable:
        raise PlatelakeError(f"the landing directory {landing} is empty; {REMEDY}")
    return Listing(rows, tuple(display(path[start:]) for path in walk.unreadable))


def list_landing(landing: str, stage: Stage, kind: str) -> list[LandedFile]:
    """List the files of one kind in the landing zone.

    Args:
        landing: A folder, or a URL of sftp or hdfs.
        stage: The stage, whose globs name the files.
        kind: One of `KINDS`.

    Returns:
        The files, sorted by name. Archived files are not listed.

    Raises:
        PlatelakeError: The landing zone is missing, unreadable or holds nothing at all.
        UsageError: The stage file gives one photo two labels.

    Example:
        >>> import tempfile
        >>> from lakehouse.stage import load_stage
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "sensor/kemp-abh-sensor-2021.11.01.csv")
        ...     path.parent.mkdir()
        ...     _ = path.write_text("Lot,Time,pH,Temp,Voltage")
        ...     landed = list_landing(folder, load_stage("chromate"), "readings")
        >>> [(file.file, file.size) for file in landed]
        [('sensor/kemp-abh-sensor-2021.11.01.csv', 24)]
    """
    return list(look(landing).sort(stage).landed[kind])


def label_of(stage: Stage, file: str) -> str | None:
    """Return the label of a photo at this path below the landing directory; None: not a photo."""
    try:
        return (kinds_of(stage, file) or {}).get("photos")
    except UsageError:
        return None


def open_url(landing: str, url: str) -> Any:
    """Open the file of that `LandedFile.url` for reading bytes."""
    if "://" not in landing:
        return Path(true_path(url)).open("rb")
    return landing_root(landing)[0].open(true_path(url), "rb")


def true_path(url: str) -> str:
    """Return the path of a `LandedFile.url`, as its file system names it."""
    return os.fsdecode(unquote_to_bytes(url))


def display(path: str) -> str:
    """Return the path as text: each name in UTF-8, else cp949 (Korean archives), else escaped."""
    return "/".join(_text(name) for name in os.fsencode(path).split(b"/"))


def _text(name: bytes) -> str:
    for encoding in ("utf-8", "cp949"):
        try:
            return name.decode(encoding)
        except UnicodeDecodeError:
            continue
    return name.decode("utf-8", "backslashreplace")


def _as_rows(found: Iterable[Entry], root: str) -> pa.Table:
    """Return the files below the root as rows `LISTED`, by name.

    If names of different bytes give one text, only the UTF-8 one keeps it.
    """
    tables, odd = [LISTED.empty_table()], list[tuple[bytes, Entry]]()
    start = len(root) + 1
    left = iter(found)
    while some := list(islice(left, AT_ONCE)):
        relative = [os.fsencode(entry.path[start:]) for entry in some]
        try:
            names = pa.array(relative, pa.binary()).cast(pa.string())
        except pa.ArrowInvalid:  # Some name is not UTF-8.
            valid = [_is_utf8(name) for name in relative]
            pairs = list(zip(relative, some, strict=True))
            odd += [pair for pair, sound in zip(pairs, valid, strict=True) if not sound]
            pairs = [pair for pair, sound in zip(pairs, valid, strict=True) if sound]
            names = pa.array([name.decode() for name, _ in pairs], pa.string())
            some = [entry for _, entry in pairs]
        tables.append(_table(names, some, _urls(names, root)))
    rows = pa.concat_tables(tables)
    if odd:
        entries = [entry for _, entry in odd]
        urls = [quote_from_bytes(os.fsencode(entry.path)) for entry in entries]
        rows = pa.concat_tables([rows, _table(_odd_names(odd, rows["file"]), entries, urls)])
    return rows.sort_by("file")


def _table(names: pa.Array, found: Sequence[Entry], urls: Sequence[str] | pa.Array) -> pa.Table:
    times = np.array([entry.modified for entry in found], float)  # NaN where there is none.
    timed = ~np.isnan(times)
    fraction, whole = np.modf(np.where(timed, times, time.time()))
    moments = (whole * 1e6 + np.rint(fraction * 1e6)).astype("int64")
    sizes = [entry.size for entry in found]
    columns = (names, urls, sizes, pa.array(moments).cast(LISTED.field("modified_at").type), timed)
    return pa.table(dict(zip(LISTED.names, columns, strict=True)), LISTED)


def _urls(names: pa.Array, root: str) -> pa.Array:
    """Return the percent-encoded paths of names that are UTF-8."""
    quoted = quote_from_bytes(os.fsencode(root))
    if not pc.all(pc.match_substring_regex(names, r"\A[\w.~/-]*\z")).as_py():  # As RE2 reads \w.
        names = pa.array([quote(name) for name in names.to_pylist()], pa.string())
    return pc.binary_join_element_wise(quoted, names, "/")


def _odd_names(odd: Sequence[tuple[bytes, Entry]], others: pa.ChunkedArray) -> pa.Array:
    """Return a text for each name that is not UTF-8; none of them is another file's name."""
    texts = [display(os.fsdecode(name)) for name, _ in odd]
    times = Counter(texts)
    taken = set(others.filter(pc.is_in(others, pa.array(times, pa.string()))).to_pylist())
    return pa.array(
        [
            name.decode("utf-8", "backslashreplace") if times[text] > 1 or text in taken else text
            for (name, _), text in zip(odd, texts, strict=True)
        ],
        pa.string(),
    )


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def landing_root(landing: str) -> tuple[Any, str]:
    """Return the landing zone's file system and its path there; a folder is not read as a URL."""
    if "://" not in landing:
        return LocalFileSystem(), os.path.realpath(Path(landing).expanduser())
    # Imported late: most landing zones are folders, and the ssh libraries take time to load.
    from lakehouse.landing.remote import connect

    return connect(landing)
