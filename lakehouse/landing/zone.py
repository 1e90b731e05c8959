"""The landing zone: which files of a stage are there."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from fsspec.implementations.local import LocalFileSystem

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.landing.matching import APP_FOLDER, KINDS, Matcher
from lakehouse.stage import Stage

ARCHIVE_FOLDER = "platelake-archived"
"""Below the landing directory: files that the lake holds, if `after_ingest` is `archive`."""
LEAVING_FOLDER = "platelake-leaving"
"""Below the landing directory: a file while it is read for the last time."""
REMEDY = "give the folder of the plant's files with --landing"
TIMES = {
    "mtime": 1,
    "LastModified": 1,
    "last_modified": 1,
    "modificationTime": 1000,
    "modification_time": 1000,
}
"""Names that file systems use for the modification time, and its units per second."""


@dataclass(frozen=True, slots=True)
class LandedFile:
    """A file of the landing zone.

    `file` is its path below the landing directory as text; this is its name in the lake. `url`
    opens it: the true path, percent-encoded, because a name may not be valid text. `size` is in
    bytes, `modified_at` in UTC.
    """

    kind: str
    file: str
    url: str
    size: int
    modified_at: datetime
    label: str | None = None
    timed: bool = True
    """Whether the file system gives the modification time; if not, `modified_at` is now."""


class Sorted(NamedTuple):
    """The files of each kind, and those that no glob names; both by name."""

    landed: dict[str, list[LandedFile]]
    unmatched: list[str]


@dataclass(frozen=True)
class Listing:
    """What lay in the landing zone at one look: by true path, what is known of each file.

    `unreadable` are the folders, below the landing directory, that this user may not list.
    """

    infos: dict[str, dict[str, Any]]
    names: dict[str, str]
    unreadable: tuple[str, ...] = ()

    def sort(self, stage: Stage) -> Sorted:
        """Sort the files by the stage's globs.

        Raises UsageError if the stage file gives one photo two labels.
        """
        matcher = Matcher(stage)
        landed: dict[str, list[LandedFile]] = {kind: [] for kind in KINDS}
        unmatched = []
        for path, info in sorted(self.infos.items(), key=lambda item: self.names[item[0]]):
            file = self.names[path]
            kinds = matcher.of(file)
            for kind, label in kinds.items():
                landed[kind].append(
                    LandedFile(
                        kind=kind,
                        file=file,
                        url=quote_from_bytes(os.fsencode(path)),
                        size=info["size"],
                        modified_at=modified(info) or datetime.now(UTC),
                        label=label,
                        timed=modified(info) is not None,
                    )
                )
            if not kinds and not matcher.is_ignored(file) and not _is_of_app(file):
                unmatched.append(file)
        return Sorted(landed, unmatched)

    def is_hidden(self, file: str) -> bool:
        """Return whether the file may be there, in a folder that cannot be listed."""
        return any(file.startswith(f"{folder}/") for folder in self.unreadable)


def look(landing: str) -> Listing:
    """List all files below `landing`, a folder or URL.

    Raises PlatelakeError if the landing zone is missing, unreadable or holds nothing at all.
    """
    found, unreadable = _walk(landing)
    names = _names({path: info["relative"] for path, info in found.items()})
    return Listing(found, names, tuple(map(display, unreadable)))


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
    return look(landing).sort(stage).landed[kind]


def label_of(stage: Stage, file: str) -> str | None:
    """Return the label of a photo at this path below the landing directory; None: not a photo."""
    try:
        return Matcher(stage).of(file).get("photos")
    except UsageError:
        return None


def _is_of_app(file: str) -> bool:
    return file.startswith(f"{APP_FOLDER}/")


def open_url(landing: str, url: str) -> Any:
    """Open the file of that `LandedFile.url` for reading bytes."""
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


def _names(relative: dict[str, str]) -> dict[str, str]:
    """Name each file; if names of different bytes give one text, only the UTF-8 one keeps it."""
    names = {path: display(name) for path, name in relative.items()}
    times = Counter(names.values())
    for path, name in names.items():
        if times[name] > 1:
            names[path] = os.fsencode(relative[path]).decode("utf-8", "backslashreplace")
    return names


def landing_root(landing: str) -> tuple[Any, str]:
    """Return the landing zone's file system and its path there; a folder is not read as a URL."""
    if "://" not in landing:
        return LocalFileSystem(), os.path.realpath(Path(landing).expanduser())
    # Imported late: most landing zones are folders, and the ssh libraries take time to load.
    from lakehouse.landing.remote import connect

    return connect(landing)


def real_path(file_system: Any, path: str) -> str:
    """Return the path without links; the path itself if the file system has none."""
    if isinstance(file_system, LocalFileSystem):
        return os.path.realpath(path)
    try:
        return str(file_system.real_path(path))
    except (AttributeError, FileNotFoundError):  # FileNotFoundError: removed meanwhile.
        return path


def _walk(landing: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the info of each file by its true path, and the folders that cannot be listed.

    `relative` in an info is the path below the root.
    """
    if not landing:
        raise PlatelakeError(f"no landing directory is given; {REMEDY}")
    file_system, root = landing_root(landing)
    file_system.invalidate_cache()
    try:
        if file_system.info(root)["type"] != "directory":
            raise PlatelakeError(f"the landing directory {landing} is a file; {REMEDY}")
        found, emptied, unreadable = files_below(file_system, root)
        if not found and not emptied and not unreadable:
            raise PlatelakeError(f"the landing directory {landing} is empty; {REMEDY}")
    except FileNotFoundError:
        raise PlatelakeError(f"the landing directory {landing} does not exist; {REMEDY}") from None
    except OSError as error:
        raise PlatelakeError(
            f"the landing directory {landing} cannot be read: {error}; "
            "give this user the right to read it"
        ) from None
    start = len(root.rstrip("/")) + 1
    for path, info in found.items():
        info["relative"] = path[start:]
    return found, [path[start:] for path in unreadable]


def files_below(file_system: Any, root: str) -> tuple[dict[str, dict[str, Any]], bool, list[str]]:
    """Return the files below the root, and whether it has a folder of archived or leaving files.

    Files in these folders are not listed. A linked folder is walked once, after the real ones. The
    third value are the folders that this user may not list.
    """
    taken_away = {f"{root.rstrip('/')}/{name}" for name in (ARCHIVE_FOLDER, LEAVING_FOLDER)}
    emptied = False
    found: dict[str, dict[str, Any]] = {}
    folders, links, unreadable = [root], list[str](), list[str]()
    walked = set()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        real = real_path(file_system, folder)
        if real in walked:
            continue
        walked.add(real)
        try:
            infos = _listed(file_system, folder)
        except PermissionError:
            if folder == root:
                raise
            unreadable.append(folder)
            continue
        for info in sorted(infos, key=itemgetter("name")):
            path, is_link = info["name"], info.get("islink", info["type"] == "link")
            about = _target(file_system, info) if is_link else info
            if path in taken_away:
                emptied = True
            elif about["type"] == "directory":
                (links if is_link else folders).append(path)
            elif about["type"] in ("file", "link"):
                found[path] = about
    return found, emptied, unreadable


def _listed(file_system: Any, folder: str) -> list[dict[str, Any]]:
    try:
        return list(file_system.ls(folder, detail=True))
    except FileNotFoundError:  # Removed since its parent folder was listed.
        return []


def _target(file_system: Any, link: dict[str, Any]) -> dict[str, Any]:
    """Return the info of a link's target; without a target, it is a file that cannot be read."""
    try:
        return dict(file_system.info(link["name"]))
    except OSError:
        return {**link, "type": "link"}


def modified(info: dict[str, Any]) -> datetime | None:
    """Return the modification time in UTC; None if the file system does not give it."""
    for name, unit in TIMES.items():
        moment = info.get(name)
        if isinstance(moment, datetime):
            return moment.astimezone(UTC)
        if moment is not None:
            return datetime.fromtimestamp(float(moment) / unit, UTC)
    return None
