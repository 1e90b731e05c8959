"""Uploads: streams files to the disk within limits, and remembers who owns each."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

FIELD_BYTES = 10_000
"""Longest text field and longest name of a file, in bytes."""
PARTS = 10
"""A request may have this many times `max_files` parts, because each file gets an answer."""
KEPT_SECONDS = 3_600
TOO_LARGE, TOO_MANY = "too_large", "too_many"


class TooMuchError(Exception):
    """The request is larger than all its files together may be."""


class MalformedError(Exception):
    """The request's body does not match its header."""


@dataclass
class Received:
    """One received file. If it has a `fault`, nothing of it was stored."""

    name: str
    path: Path
    user_name: str
    fault: str = ""
    size: int = 0
    at: float = field(default_factory=time.monotonic)


class Uploads:
    """The uploaded files in one folder, each under a name that nobody can guess.

    Apps may share the folder: each has a subfolder, and a lock as long as it lives.
    """

    def __init__(self, folder: Path, max_bytes: int, max_files: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        name = secrets.token_hex(8)
        self._living = FileLock(folder / f"{name}.lock")
        with FileLock(folder / ".starting.lock"):
            self._living.acquire()
            _remove_left(folder)
        self.folder = folder.resolve() / name
        self.folder.mkdir()
        self.max_bytes, self.max_files = max_bytes, max_files
        self._known: OrderedDict[str, Received] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def most_bytes(self) -> int:
        """Bytes of the largest request: all files at their limit, and the text around them."""
        return self.max_files * self.max_bytes + (1 << 20)

    async def receive(
        self, request: Request, user_name: str
    ) -> tuple[list[Received], dict[str, str]]:
        """Receive a multipart request.

        A file beyond the limits is read but not stored, and its `fault` says why.

        Returns:
            The files in the order of the request, and the text fields by name.

        Raises:
            TooMuchError: The request is larger than all its files together may be.
            MalformedError: The request is not whole multipart/form-data.
        """
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise MalformedError("send the files as multipart/form-data")
        form = _Form(self, user_name)
        parser = MultipartParser(options[b"boundary"], form.callbacks())  # type: ignore[arg-type]
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size > self.most_bytes:
                    raise TooMuchError
                parser.write(chunk)
            parser.finalize()
            if not form.ended:
                raise MalformedError("the request was cut: its end is missing")
        except BaseException as error:  # Also when the connection breaks.
            form.close()
            for one in form.files:
                self.drop(one)
            if isinstance(error, ValueError | RuntimeError):  # python_multipart's are ValueErrors.
                raise MalformedError(str(error)) from None
            raise
        form.close()
        self._remember(form.files)
        return form.files, form.texts

    def place(self, name: str) -> Path:
        """Return a new path for the next file."""
        safe = "".join(c if c.isalnum() or c in ".-_" else "_" for c in name)
        return self.folder / f"{secrets.token_hex(16)}-{safe[-80:]}"

    def owned(self, path: str, user_name: str) -> Received | None:
        """Return the uploaded file of this path; None if this user did not upload it."""
        with self._lock:
            found = self._known.get(str(Path(path)))
        return found if found and found.user_name == user_name else None

    def is_known(self, path: str) -> bool:
        """Return whether any user uploaded this path."""
        with self._lock:
            return str(Path(path)) in self._known

    def drop(self, one: Received) -> None:
        """Delete an uploaded file after use."""
        with self._lock:
            self._known.pop(str(one.path), None)
        _remove(one)

    def _remember(self, files: list[Received]) -> None:
        """Remember these files, and remove old ones that nobody inspected."""
        old = []
        with self._lock:
            self._known.update({str(one.path): one for one in files})
            limit = time.monotonic() - KEPT_SECONDS
            while self._known and next(iter(self._known.values())).at < limit:
                old.append(self._known.popitem(last=False)[1])
        for one in old:
            _remove(one)


def _remove(one: Received) -> None:
    with suppress(OSError):  # The next start removes what is left.
        one.path.unlink()


def _remove_left(folder: Path) -> None:
    """Remove uploads of apps that have ended, but not those of a living app."""
    for left in [one for one in folder.iterdir() if one.is_dir()]:
        lock = FileLock(folder / f"{left.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        shutil.rmtree(left, ignore_errors=True)
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


class _Form:
    """Collects the parts of one request as the parser reaches them."""

    def __init__(self, uploads: Uploads, user_name: str) -> None:
        self.files: list[Received] = []
        self.texts: dict[str, str] = {}
        self.ended = False
        self._uploads, self._user_name = uploads, user_name
        self._header = self._value = b""
        self._disposition = b""
        self._file: Received | None = None
        self._stream: IO[bytes] | None = None
        self._field, self._text, self._parts = "", b"", 0

    def callbacks(self) -> dict[str, Callable[..., Any]]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._all,
        }

    def _all(self) -> None:
        self.ended = True

    def close(self) -> None:
        if self._stream:
            self._stream.close()

    def _begin(self) -> None:
        self._disposition = self._header = self._value = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header + data[start:end])[:FIELD_BYTES]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value = (self._value + data[start:end])[:FIELD_BYTES]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        self._parts += 1
        if self._parts > PARTS * self._uploads.max_files:
            raise TooMuchError
        _, options = parse_options_header(self._disposition)
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        self._text, self._file = b"", None
        if b"filename" in options:
            name = options[b"filename"].decode("utf-8", "replace")
            self._file = Received(name, self._uploads.place(name), self._user_name)
            self.files.append(self._file)
            if len(self.files) > self._uploads.max_files:
                self._file.fault = TOO_MANY
                self._file.path.touch()
            else:
                self._stream = self._file.path.open("wb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is None:
            self._text = (self._text + data[start:end])[:FIELD_BYTES]
        elif not self._file.fault:
            self._file.size += end - start
            assert self._stream is not None
            if self._file.size > self._uploads.max_bytes:
                self._file.fault = TOO_LARGE
                self._stream.truncate(0)
            else:
                self._stream.write(data[start:end])

    def _end(self) -> None:
        if self._stream:
            self._stream.close()
            self._stream = None
        if self._file is None and self._field:
            self.texts[self._field] = self._text.decode("utf-8", "replace")
