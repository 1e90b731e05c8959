"""File systems of other machines: checked hosts, unchanged file names, clear errors.

sftp uses sshfs and hdfs uses hdfs-native, both through fsspec. This module corrects them, so that
a path is never read as a URL and a move never overwrites.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import fsspec
from asyncssh import misc, sftp
from fsspec.asyn import sync_wrapper
from fsspec.exceptions import FSTimeoutError
from hdfs_native.fsspec import HdfsFileSystem
from sshfs import SSHFileSystem
from sshfs.file import SSHFile

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.urls import KEYS, has_password

SFTP_URL = re.compile(r"(?:sftp|ssh)://(?:([^@/:]*)@)?([^/:@\[\]]+|\[[^/@\]]+\])(?::(\d+))?(/.*)?")
HDFS_URL = re.compile(r"hdfs://([^/:@]+)?(?::(\d+))?(/.*)?")
LOST = (
    *(misc.DisconnectError, misc.ChannelOpenError, sftp.SFTPNoConnection, sftp.SFTPConnectionLost),
    *(ConnectionError, TimeoutError, FSTimeoutError),
)
GONE = (sftp.SFTPNoSuchFile, sftp.SFTPNoSuchPath)
CONNECT_SECONDS = 20
CONNECTION = {
    "known_hosts": (),  # For asyncssh: the user's known hosts. sshfs would trust any host.
    "connect_timeout": CONNECT_SECONDS,
    "login_timeout": 30,
    "keepalive_interval": 15,  # A lost connection is noticed after three of these.
    "sftp_client_kwargs": {"path_encoding": "utf-8", "path_errors": "surrogateescape"},
}


def connect(url: str, what: str = "the landing directory") -> tuple[Any, str]:
    """Return the file system of that URL and the path there; connect again if it was lost.

    Raises UsageError for a URL with a password, because logs and other users would show it, and
    PlatelakeError if the machine cannot be reached or does not have the known key.
    """
    if has_password(url):
        raise UsageError(f"the URL of {what} must not hold a password; {KEYS}")
    try:
        if found := SFTP_URL.fullmatch(url):
            return _sftp(*found.groups())
        if found := HDFS_URL.fullmatch(url):
            return _hdfs(*found.groups())
        file_system, root = fsspec.core.url_to_fs(url)
    except misc.HostKeyNotVerifiable as error:
        raise PlatelakeError(
            f"{what} {url} cannot be reached: {error}; compare the host's key with "
            "the machine's own, then add it to ~/.ssh/known_hosts of the user who runs this"
        ) from None
    except (misc.PermissionDenied, PermissionError) as error:
        raise PlatelakeError(
            f"{what} {url} cannot be reached, its host refuses: {error}; {KEYS}"
        ) from None
    except (*LOST, misc.Error, ValueError, ImportError, OSError) as error:
        raise PlatelakeError(f"{what} {url} cannot be reached: {_words(error)}") from None
    return file_system, root


def _sftp(user: str | None, host: str, port: str | None, path: str | None) -> tuple[Sftp, str]:
    about = {"username": user, "port": port and int(port)}
    named = {name: value for name, value in about.items() if value} | CONNECTION
    file_system = Sftp(host.strip("[]"), **named)
    if file_system.client.is_closed():
        Sftp.clear_instance_cache()
        file_system = Sftp(host.strip("[]"), **named)
    return file_system, (path or "/").rstrip("/") or "/"


def _hdfs(host: str | None, port: str | None, path: str | None) -> tuple[Hdfs, str]:
    if host and port:  # hdfs-native would keep trying for minutes.
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    return Hdfs(host, int(port) if port else None), (path or "/").rstrip("/") or "/"


@contextlib.contextmanager
def plain_errors(place: str) -> Iterator[None]:
    """Turn errors of ssh into Python's of the same meaning; a lost connection ends the run."""
    try:
        yield
    except LOST as error:
        raise PlatelakeError(
            f"the connection to {place} was lost: {_words(error)}; run again, stored data are safe"
        ) from None
    except GONE:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
    except sftp.SFTPPermissionDenied:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
    except sftp.SFTPError as error:
        raise OSError(errno.EIO, error.reason or "refused by the server") from None


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _plainly(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def with_plain_errors(self: Sftp, *args: Any, **options: Any) -> Any:
        with plain_errors(self.host):
            return await method(self, *args, **options)

    return with_plain_errors


class Sftp(SSHFileSystem):  # type: ignore[misc]
    """The file system of a machine that is reached by ssh."""

    moves_to_new = True
    """A move never overwrites."""

    def __init__(self, host: str, **options: Any) -> None:
        self.host = host
        super().__init__(host, **options)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        """Keep the path: it is a true path, whatever characters it holds."""
        return path.rstrip("/") or "/"

    _info = _plainly(SSHFileSystem._info)
    _ls = _plainly(SSHFileSystem._ls)
    _makedirs = _plainly(SSHFileSystem._makedirs)
    _mkdir = _plainly(SSHFileSystem._mkdir)
    _rm_file = _plainly(SSHFileSystem._rm_file)
    _rmdir = _plainly(SSHFileSystem._rmdir)
    rmdir = sync_wrapper(_rmdir)  # fsspec's rmdir silently does nothing.

    async def _mv(self, path1: str, path2: str, **options: Any) -> None:
        """Move without overwriting; sshfs would overwrite, or copy and delete even uncopied files.

        OpenSSH links and unlinks, so an existing file is never overwritten.
        """
        with plain_errors(self.host):
            async with self._pool.get() as channel:
                await channel.rename(path1, path2)

    async def _real(self, path: str) -> str:
        with plain_errors(self.host):
            async with self._pool.get() as channel:
                return str(await channel.realpath(path))

    real_path = sync_wrapper(_real)

    def _open(self, path: str, *args: Any, **options: Any) -> SftpFile:
        with plain_errors(self.host):
            return SftpFile(self, path, *args, **options)


class SftpFile(SSHFile):  # type: ignore[misc]
    """An opened file on a machine that is reached by ssh."""

    def read(self, *args: Any) -> bytes:
        """Read bytes."""
        with plain_errors(self.fs.host):
            content: bytes = super().read(*args)
            return content

    def write(self, *args: Any) -> int:
        """Write bytes."""
        with plain_errors(self.fs.host):
            return int(super().write(*args))

    def close(self) -> None:
        """Close the file; if the connection is lost it is closed, and only a writer raises."""
        try:
            with plain_errors(self.fs.host):
                super().close()
        except PlatelakeError:
            self._closed = True
            if self.writable():
                raise


def _in_a_line(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the method so that each error is an OSError of one line, without Java's stack."""

    @functools.wraps(method)
    def with_plain_errors(*args: Any, **options: Any) -> Any:
        try:
            return method(*args, **options)
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
        except (OSError, RuntimeError) as error:
            kind = type(error) if isinstance(error, OSError) else OSError
            said = re.split(r"\n|\\n", str(error))[0]
            raise kind(error.errno if isinstance(error, OSError) else errno.EIO, said) from None

    return with_plain_errors


class Hdfs(HdfsFileSystem):
    """The file system of HDFS."""

    moves_to_new = True

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        """Keep the path: it is a true path, but hdfs-native would cut a name at its ? or #."""
        return path

    info = _in_a_line(HdfsFileSystem.info)
    ls = _in_a_line(HdfsFileSystem.ls)
    mv = _in_a_line(HdfsFileSystem.mv)
    makedirs = _in_a_line(HdfsFileSystem.makedirs)
    rm_file = _in_a_line(HdfsFileSystem.rm_file)
    rmdir = _in_a_line(HdfsFileSystem.rmdir)
    _open = _in_a_line(HdfsFileSystem._open)

    def is_closed(self, path: str) -> bool:
        """Return whether nobody writes the file any more; keep its modification time.

        Only then does HDFS allow an append. The size does not tell, because while a file is being
        written it stays the same for a whole block.
        """
        modified = self.info(path)["modification_time"]
        try:
            self.client.append(path).close()
        except (OSError, RuntimeError):
            return False
        self.client.set_times(path, modified, modified)
        return True
