"""The landing zone: which files of a stage lie there."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import fsspec

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.stage import UNLABELLED, Stage

KINDS = ("readings", "error_lists", "photos")


@dataclass(frozen=True)
class LandedFile:
    """A file of the landing zone.

    `file` is its path below the landing directory as text, which is how the lake knows it.
    `url` opens it: the true path, percent-encoded, since a name may not be text at all.
    """

    kind: str
    file: str
    url: str
    size: int
    modified_at: datetime
    label: str | None = None


def list_landing(landing: str, stage: Stage, kind: str) -> list[LandedFile]:
    """The files of that kind below `landing` (a folder or URL), by name.

    Raises PlatelakeError if the landing zone is missing, unreadable or holds nothing at all,
    and UsageError if the stage file gives one photo two labels.
    """
    patterns = [(label, _regex(glob)) for label, glob in _globs(stage, kind)]
    landed = []
    for path, info in _walk(landing).items():
        relative = info["relative"]
        labels = {label for label, pattern in patterns if pattern.fullmatch(relative)}
        if len(labels) > 1:
            raise UsageError(
                f"stage {stage.name}: {display(relative)} is matched by the globs of "
                f"{' and '.join(sorted(str(label) for label in labels))}; make them disjoint"
            )
        if labels:
            landed.append(
                LandedFile(
                    kind=kind,
                    file=display(relative),
                    url=quote_from_bytes(os.fsencode(path)),
                    size=info["size"],
                    modified_at=_modified(info),
                    label=labels.pop(),
                )
            )
    return sorted(landed, key=lambda file: file.file)


def open_url(landing: str, url: str) -> Any:
    """The file of that `LandedFile.url`, opened for reading bytes."""
    return _file_system(landing).open(os.fsdecode(unquote_to_bytes(url)), "rb")


def display(path: str) -> str:
    """The path as text: UTF-8, else cp949 (archives made in Korea), else with escapes."""
    raw = os.fsencode(path)
    for encoding in ("utf-8", "cp949"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "backslashreplace")


def _globs(stage: Stage, kind: str) -> list[tuple[str | None, str]]:
    if kind == "readings":
        return [(None, glob) for glob in stage.readings.files]
    if kind == "error_lists":
        return [(None, glob) for glob in stage.error_lists.files]
    if stage.photos is None:
        return []
    labels = {**stage.photos.labels, UNLABELLED: stage.photos.unlabelled}
    return [(label, glob) for label, globs in labels.items() for glob in globs]


def _regex(glob: str) -> re.Pattern[str]:
    """Of a glob: * and ? within one folder, ** any number of folders; all else is itself."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    return re.compile("".join(parts.get(p, re.escape(p)) for p in pieces), re.DOTALL)


def _file_system(landing: str) -> Any:
    return fsspec.core.url_to_fs(landing)[0]


def _walk(landing: str) -> dict[str, dict[str, Any]]:
    file_system, root = fsspec.core.url_to_fs(landing)
    remedy = "give the folder where the plant drops its files by --landing"
    if not file_system.exists(root):
        raise PlatelakeError(f"the landing directory {landing} does not exist; {remedy}")
    if not file_system.isdir(root):
        raise PlatelakeError(f"the landing directory {landing} is a file; {remedy}")
    unreadable: list[OSError] = []
    found: dict[str, dict[str, Any]] = {}
    for _, _, files in file_system.walk(root, detail=True, on_error=unreadable.append):
        for info in files.values():
            path = info["name"]
            found[path] = {**info, "relative": path[len(root.rstrip("/")) + 1 :]}
    if unreadable:
        raise PlatelakeError(
            f"the landing directory {landing} cannot be read: {unreadable[0]}; "
            "grant this user the right to read it"
        )
    if not found:
        raise PlatelakeError(f"the landing directory {landing} is empty; {remedy}")
    return found


def _modified(info: dict[str, Any]) -> datetime:
    moment = info.get("mtime", info.get("modificationTime", 0))
    if isinstance(moment, datetime):
        return moment.astimezone(UTC)
    return datetime.fromtimestamp(float(moment), UTC)
