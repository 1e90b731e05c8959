"""Walk through the folders of a file system, one file after the other."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from fsspec.implementations.local import LocalFileSystem

TIMES = {
    "mtime": 1,
    "LastModified": 1,
    "last_modified": 1,
    "modificationTime": 1000,
    "modification_time": 1000,
}
"""Names that file systems use for the modification time, and its units per second."""
TYPES = {stat.S_IFDIR: "directory", stat.S_IFREG: "file"}


class Entry(NamedTuple):
    """What a folder holds: a directory, a file, or a `link` that leads nowhere.

    `path` is the true path. `size` is in bytes; `modified` is in seconds since 1970, None where the
    file system does not tell it. Type, size and time of a link are those of its target.
    """

    path: str
    type: str
    size: int
    modified: float | None
    is_link: bool = False


class Walk:
    """The files below a folder, without those in `skipped` folders.

    A linked folder is walked once, after the real ones. `unreadable` are the folders met so far
    that this user may not list; `has_skipped` tells whether a skipped one was met.

    Raises:
        PermissionError: This user may not list the first folder.
    """

    def __init__(self, file_system: Any, root: str, skipped: tuple[str, ...] = ()) -> None:
        self._file_system, self._root = file_system, root
        self._skipped = {f"{root.rstrip('/')}/{name}" for name in skipped}
        self.unreadable: list[str] = []
        self.has_skipped = False

    def __iter__(self) -> Iterator[Entry]:
        """Yield each file, in no order."""
        folders, links = [self._root], list[str]()
        walked = set()
        while folders or links:
            folder = folders.pop() if folders else links.pop(0)
            real = real_path(self._file_system, folder)
            if real in walked:
                continue
            walked.add(real)
            below, linked = list[str](), list[str]()
            try:
                for entry in entries(self._file_system, folder):
                    if entry.path in self._skipped:
                        self.has_skipped = True
                    elif entry.type == "directory":
                        (linked if entry.is_link else below).append(entry.path)
                    elif entry.type in ("file", "link"):
                        yield entry
            except PermissionError:
                if folder == self._root:
                    raise
                self.unreadable.append(folder)
            folders += sorted(below)
            links += sorted(linked)


def entries(file_system: Any, folder: str) -> Iterator[Entry]:
    """Yield what the folder holds; nothing if it has been removed."""
    try:
        if isinstance(file_system, LocalFileSystem):
            with os.scandir(folder) as found:
                yield from filter(None, map(_local_entry, found))
        else:
            for info in file_system.ls(folder, detail=True):
                yield _entry(file_system, info)
    except FileNotFoundError:  # Removed since its parent folder was listed.
        return


def _local_entry(found: os.DirEntry[str]) -> Entry | None:
    """Return the entry; None if it is gone."""
    is_link = found.is_symlink()
    try:
        about = found.stat()
        kind = TYPES.get(stat.S_IFMT(about.st_mode), "other")
    except OSError:
        if not is_link:
            return None
        about = found.stat(follow_symlinks=False)
        return Entry(found.path, "link", 0, about.st_mtime, True)
    return Entry(found.path, kind, about.st_size, about.st_mtime, is_link)


def _entry(file_system: Any, info: dict[str, Any]) -> Entry:
    path, is_link = info["name"], info.get("islink", info["type"] == "link")
    about = info
    if is_link:
        try:
            about = file_system.info(path)
        except OSError:  # Without a target, it is a file that cannot be read.
            about = {**info, "type": "link"}
    return Entry(path, about["type"], about["size"] or 0, _seconds(about), is_link)


def modified(info: dict[str, Any]) -> datetime | None:
    """Return the modification time in UTC; None if the file system does not give it."""
    seconds = _seconds(info)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _seconds(info: dict[str, Any]) -> float | None:
    for name, unit in TIMES.items():
        moment = info.get(name)
        if isinstance(moment, datetime):
            return moment.timestamp()
        if moment is not None:
            return float(moment) / unit
    return None


def real_path(file_system: Any, path: str) -> str:
    """Return the path without links; the path itself if the file system has none."""
    if isinstance(file_system, LocalFileSystem):
        return os.path.realpath(path)
    try:
        return str(file_system.real_path(path))
    except (AttributeError, FileNotFoundError):  # FileNotFoundError: removed meanwhile.
        return path
