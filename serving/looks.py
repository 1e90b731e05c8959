"""Looks: the files that an admin put in to see what a stage makes of them, and its text.

They live in this process, for an hour after the last visit. Nothing of them is kept anywhere else.
"""

from __future__ import annotations

import re
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from lakehouse.errors import UsageError
from lakehouse.guess.folder import Found, look_at
from lakehouse.guess.preview import Shown, show_file
from lakehouse.guess.stage_file import stage_name, stage_text
from lakehouse.settings import Settings, conf_directory
from lakehouse.stage import Stage, parse_stage
from lakehouse.stage_sections import NAME
from serving.verdicts.uploads import KEPT_SECONDS, Received, Uploads

MOST = 3
"""Looks that one user may have at once; a further one ends the oldest."""
SHOWN_BYTES = 64 << 20
"""Files are shown, in their order, up to so many bytes in all; the others are only named."""
NOT_SHOWN = "not_shown"


class TakenError(Exception):
    """A stage file of this name is there, or has changed since the user saw its `text`."""

    def __init__(self, text: str) -> None:
        super().__init__("a stage of this name is there")
        self.text, self.sha256 = text, _sha256(text)


@dataclass
class Look:
    """The files of one look in `root`, and the stage as it was guessed and then corrected.

    `faults` has a key of the texts below `fault` for each file that was not taken.
    """

    key: str
    user_name: str
    root: Path
    files: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    found: Found | None = None
    name: str = "stage"
    text: str = ""
    at: float = field(default_factory=time.monotonic)

    def guess(self) -> None:
        """Guess the stage; raises NothingError if no file can be read."""
        whole = self.root / self.files[0] if len(self.files) == 1 else self.root
        self.found = look_at(whole)
        self.name = "stage" if whole.name.endswith(self.key) else stage_name(whole)
        self.text = stage_text(self.found, self.name)

    def stage(self) -> Stage:
        """Return the stage of the text; raises UsageError with every fault of it."""
        return parse_stage(self.text, self.name)

    def shown(self, settings: Settings) -> list[Shown]:
        """Return what the stage makes of each file; raises UsageError as `stage` does."""
        stage, size, found = self.stage(), 0, list[Shown]()
        for name in self.files:
            path = self.root / name
            size += path.stat().st_size
            if size > SHOWN_BYTES and found:
                found.append(Shown(name, rule=NOT_SHOWN))
            else:
                found += show_file(path, name, stage, settings)
        return found


class Looks:
    """The looks of all users. Their files lie in the folder of the uploads."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._known: OrderedDict[str, Look] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, user_name: str, received: Sequence[Received]) -> Look:
        """Take these files over from the uploads, under their own names."""
        key = secrets.token_hex(16)
        folder = self._uploads.folder / f"look-{key}"
        folder.mkdir()
        look = Look(key, user_name, folder)
        for one in received:
            name = "/".join(_parts(one.name))
            fault = one.fault or _placed(one.path, folder / name)
            if fault:
                look.faults[name] = fault
            else:
                look.files.append(name)
            self._uploads.drop(one)
        _enter_folder(look)
        with self._lock:
            self._known[key] = look
            ended = self._ended(user_name)
        for old in ended:
            shutil.rmtree(self._uploads.folder / f"look-{old.key}", ignore_errors=True)
        return look

    def find(self, key: str) -> Look | None:
        """Return the look, which lives for another hour; None if it has ended."""
        with self._lock:
            look = self._known.get(key)
            if look:
                look.at = time.monotonic()
            return look

    def _ended(self, user_name: str) -> list[Look]:
        """Forget and return the looks that are too old, or too many of this user."""
        limit, looks = time.monotonic() - KEPT_SECONDS, list(self._known.values())
        mine = [look.key for look in looks if look.user_name == user_name]
        old = {*mine[:-MOST], *(look.key for look in looks if look.at < limit)}
        return [self._known.pop(key) for key in old]


def _parts(name: str) -> list[str]:
    """Return the folders and the name of an uploaded file, without a way out of its folder.

    >>> _parts("line-1/sensor/a.csv"), _parts("/../../etc/passwd"), _parts("")
    (['line-1', 'sensor', 'a.csv'], ['etc', 'passwd'], ['file'])
    """
    parts = [re.sub(r"[\x00-\x1f\x7f]", "_", part) for part in name.split("/")]
    return [part for part in parts if part not in ("", ".", "..")] or ["file"]


def _placed(path: Path, target: Path) -> str:
    """Move a file; return a key of the texts below `fault` if it cannot be."""
    if target.exists():
        return "same_name"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    except OSError:
        return "gone"
    return ""


def _enter_folder(look: Look) -> None:
    """If all files lie in one folder, which a browser sends with their names, start there."""
    tops = {name.partition("/")[0] for name in look.files}
    if len(tops) == 1 and all("/" in name for name in look.files):
        top = tops.pop()
        look.root /= top
        look.files = [name.removeprefix(f"{top}/") for name in look.files]


def stages_folder() -> Path:
    """Return the folder of the stage files, as `platelake run` reads it."""
    return conf_directory() / "stages"


def save_stage(name: str, text: str, audit: Callable[[bool], None], replaces: str = "") -> None:
    """Write a stage file into the stages' folder, whole or not at all.

    Args:
        name: The stage's name, and the file's.
        text: Its text.
        audit: Called just before, with whether it replaces a file. If it fails, nothing changes.
        replaces: Hash of the text that the user agreed to replace, if there is one.

    Raises:
        UsageError: The name or the text is not that of a stage.
        TakenError: A stage file of this name is there, with another text than `replaces`.
        OSError: It cannot be written.
    """
    if not re.fullmatch(NAME, name):
        raise UsageError(f"{name!r} cannot be the name of a stage: use a to z, digits and _")
    if parse_stage(text, name).name != name:
        raise UsageError(f"the text gives another name than {name}; leave out its line `name`")
    file = stages_folder() / f"{name}.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.parent / f".{name}.{secrets.token_hex(4)}.new"
    try:
        new.write_text(text, "utf-8", newline="\n")
        there = _text_of(file)
        if there is not None and _sha256(there) != replaces:
            raise TakenError(there)
        audit(there is not None)
        if there is not None:
            new.replace(file)
        else:
            file.hardlink_to(new)  # Fails if another one was written just now.
    except FileExistsError:
        raise TakenError(_text_of(file) or "") from None
    finally:
        with suppress(OSError):
            new.unlink()


def _text_of(file: Path) -> str | None:
    try:
        return file.read_text("utf-8-sig", "replace")
    except FileNotFoundError:
        return None


def _sha256(text: str) -> str:
    return sha256(text.encode("utf-8", "replace")).hexdigest()
