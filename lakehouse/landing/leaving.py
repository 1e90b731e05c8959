"""Move files out of the landing zone one at a time, so that a crash at any point loses none.

A file is first moved to a folder of this run, so that nobody can open it by its name any more.
There it is read a last time, and only then archived or removed. A file that is not as expected is
put back. A move never overwrites: a file keeps its name.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import posixpath
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote_from_bytes

import structlog
from fsspec.implementations.local import LocalFileSystem

from lakehouse.errors import UsageError
from lakehouse.landing.files import LandedFile
from lakehouse.landing.walk import Walk, modified, real_path
from lakehouse.landing.zone import (
    ARCHIVE_FOLDER,
    LEAVING_FOLDER,
    landing_root,
    open_url,
    true_path,
)

NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""Errors of a file system without hard links."""


def is_archive(landing: str) -> bool:
    """Return whether the landing directory is an archive itself; no file is moved out of one."""
    return ARCHIVE_FOLDER in landing_root(landing)[1].split("/")


def check_movable(landing: str) -> None:
    """Raise UsageError if files cannot be moved without overwriting others."""
    if not _is_movable(landing_root(landing)[0]):
        raise UsageError(
            f"after_ingest: files of {landing} can only be kept; files in a folder, at sftp:// and "
            "at hdfs:// can be archived or removed"
        )


def _is_movable(file_system: Any) -> bool:
    return isinstance(file_system, LocalFileSystem) or hasattr(file_system, "moves_to_new")


class Leaving:
    """Moves files out of a landing zone, for one run of one stage."""

    def __init__(self, landing: str, stage: str, run_id: str) -> None:
        self._landing = landing
        self._files, self._root = landing_root(landing)
        self._all = posixpath.join(self._root, LEAVING_FOLDER, stage)
        self._own = posixpath.join(self._all, run_id)
        self._archive = posixpath.join(self._root, ARCHIVE_FOLDER)
        self._real_root = real_path(self._files, self._root)

    def put_back_left(self) -> int:
        """Put back the files that killed runs had moved; return how many they had left."""
        if not _is_movable(self._files):
            return 0
        left = [entry.path for entry in Walk(self._files, self._all)]
        for staged in left:
            relative = staged[len(self._all) + 1 :].partition("/")[2]
            self._put_back(staged, relative)
        self._remove_empty(self._all)
        return len(left)

    def take(self, files: Iterable[LandedFile], hashes: dict[str, str], archive: bool) -> int:
        """Archive or remove the files that still have the expected content; return how many."""
        gone, stay = [], 0
        for file in files:
            relative = true_path(file.url)[len(self._root.rstrip("/")) + 1 :]
            staged = posixpath.join(self._own, relative)
            if self._left(file, relative, staged, hashes[file.file], archive):
                gone.append(file)
            else:
                stay += 1
        self._remove_empty(self._all)
        structlog.get_logger().info(
            "archived" if archive else "removed",
            files=len(gone),
            bytes=sum(file.size for file in gone),
            stay=stay,
        )
        return len(gone)

    def _left(
        self, file: LandedFile, relative: str, staged: str, sha256: str, archive: bool
    ) -> bool:
        """Move one file out; return whether it is gone."""
        source = posixpath.join(self._root, relative)
        if real_path(self._files, source) != posixpath.join(self._real_root, relative):
            return False  # A link, or below one: its target is not in the landing zone.
        try:
            self._move(source, staged)
        except OSError as error:
            _stays(file.file, error)
            return False
        try:
            if not self._is(staged, file, sha256):
                raise OSError(errno.EBUSY, "it has changed since it was read")
            if archive:
                self._into_archive(staged, relative, sha256)
            else:
                self._files.rm_file(staged)
        except OSError as error:
            _stays(file.file, error)
            self._put_back(staged, relative)
            return False
        return True

    def _is(self, path: str, file: LandedFile, sha256: str) -> bool:
        """Return whether the file has that size, time and content, and nobody writes it."""

        def unchanged() -> bool:
            info = self._files.info(path)
            return bool(info["size"] == file.size and modified(info) == file.modified_at)

        is_closed = getattr(self._files, "is_closed", lambda _: True)
        return unchanged() and self._hash(path) == sha256 and is_closed(path) and unchanged()

    def _hash(self, path: str) -> str:
        with open_url(self._landing, quote_from_bytes(os.fsencode(path))) as stream:
            digest = hashlib.sha256()
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
            return digest.hexdigest()

    def _into_archive(self, staged: str, relative: str, sha256: str) -> None:
        """Archive it under its own name; move an earlier file of that name and other content."""
        target = posixpath.join(self._archive, relative)
        if not self._files.exists(target):
            self._move(staged, target)
        elif self._hash(target) == sha256:
            self._files.rm_file(staged)
        else:
            self._put_aside(target, relative)
            self._move(staged, target)

    def _put_aside(self, path: str, relative: str) -> None:
        """Move it into the archive's own archive, which a backfill from the archive skips."""
        aside = posixpath.join(self._archive, ARCHIVE_FOLDER, relative)
        number = 1
        while self._files.exists(f"{aside}.{number}"):
            number += 1
        self._move(path, f"{aside}.{number}")

    def _put_back(self, staged: str, relative: str) -> None:
        """Move it back; if the plant has delivered that name again meanwhile, put it aside."""
        source = posixpath.join(self._root, relative)
        try:
            if not self._files.exists(source):
                self._move(staged, source)
            elif self._hash(staged) == self._hash(source):
                self._files.rm_file(staged)
            else:
                self._put_aside(staged, relative)
                structlog.get_logger().warning("delivered again, so put aside", file=relative)
        except OSError as error:
            structlog.get_logger().warning("cannot be put back", file=relative, why=str(error))

    def _move(self, source: str, target: str) -> None:
        self._files.makedirs(posixpath.dirname(target), exist_ok=True)
        move_to_new(self._files, source, target)

    def _remove_empty(self, folder: str) -> None:
        """Remove our folder and the folders below it, as far as they are empty."""
        with contextlib.suppress(OSError):
            for info in self._files.ls(folder, detail=True):
                if info["type"] == "directory":
                    self._remove_empty(info["name"].rstrip("/"))
            self._files.rmdir(folder)


def move_to_new(file_system: Any, source: str, target: str) -> None:
    """Move a file to an unused name; raises FileExistsError if the name exists."""
    if not isinstance(file_system, LocalFileSystem):
        try:
            file_system.mv(source, target)
        except OSError:
            if file_system.exists(target) and file_system.exists(source):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
            raise
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        os.rename(source, target)  # noqa: PTH104
        return
    os.unlink(source)  # noqa: PTH108


def _stays(file: str, error: OSError) -> None:
    structlog.get_logger().warning("stays in the landing zone", file=file, why=str(error))
