"""File systems of other machines: hosts that are checked, names kept as they are, clear errors.

sftp goes by sshfs and hdfs by hdfs-native, both through fsspec. What they do otherwise is put
right here, so that a path is never read as a URL and nothing is ever overwritten by a move.
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
    "known_hosts": (),  # asyncssh's: those of the user. sshfs itself would trust any host.
    "connect_timeout": CONNECT_SECONDS,
    "login_timeout": 30,
    "keepalive_interval": 15,  # A cut line is noticed after three of these.
    "sftp_client_kwargs": {"path_encoding": "utf-8", "path_errors": "surrogateescape"},
}


def connect(url: str, what: str = "the landing directory") -> tuple[Any, str]:
    """The file system of that URL and the path there; connected anew where it was lost.

    Raises UsageError for a URL with a password, which logs and other users would see, and
    PlatelakeError where the machine cannot be reached or is not the one that is known.
    """
    if has_password(url):
        raise UsageError(f"a password does not belong into the URL of {what}; {KEYS}")
    try:
        if found := SFTP_URL.fullmatch(url):
            return _sftp(*found.groups())
        if found := HDFS_URL.fullmatch(url):
            return _hdfs(*found.groups())
        file_system, root = fsspec.core.url_to_fs(url)
    except misc.HostKeyNotVerifiable as error:
        raise PlatelakeError(
            f"{what} {url} cannot be reached: {error}; compare the host's key with "
            "the machine's own, then put it into ~/.ssh/known_hosts of the user who runs this"
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
    if host and port:  # hdfs-native would try for minutes.
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    return Hdfs(host, int(port) if port else None), (path or "/").rstrip("/") or "/"


@contextlib.contextmanager
def plain_errors(place: str) -> Iterator[None]:
    """Errors of ssh as Python's own of the same meaning; a lost connection ends the run."""
    try:
        yield
    except LOST as error:
        raise PlatelakeError(
            f"the connection to {place} was lost: {_words(error)}; run again, what is stored stays"
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
    """A machine reached by ssh."""

    moves_to_new = True
    """A move never overwrites."""

    def __init__(self, host: str, **options: Any) -> None:
        self.host = host
        super().__init__(host, **options)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        """Paths here are true paths, whatever characters they hold."""
        return path.rstrip("/") or "/"

    _info = _plainly(SSHFileSystem._info)
    _ls = _plainly(SSHFileSystem._ls)
    _makedirs = _plainly(SSHFileSystem._makedirs)
    _mkdir = _plainly(SSHFileSystem._mkdir)
    _rm_file = _plainly(SSHFileSystem._rm_file)
    _rmdir = _plainly(SSHFileSystem._rmdir)
    rmdir = sync_wrapper(_rmdir)  # fsspec's own does nothing, and says nothing.

    async def _mv(self, path1: str, path2: str, **options: Any) -> None:
        """As move_new: sshfs would overwrite, or copy and then delete even what it had not copied.

        OpenSSH links and unlinks, so a file that is there already is never overwritten.
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
    """A file there, opened."""

    def read(self, *args: Any) -> bytes:
        """Bytes of it."""
        with plain_errors(self.fs.host):
            content: bytes = super().read(*args)
            return content

    def write(self, *args: Any) -> int:
        """Write bytes."""
        with plain_errors(self.fs.host):
            return int(super().write(*args))

    def close(self) -> None:
        """Close it; where the connection is lost, it is closed, and only a writer must know."""
        try:
            with plain_errors(self.fs.host):
                super().close()
        except PlatelakeError:
            self._closed = True
            if self.writable():
                raise


def _in_a_line(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method with errors of one line, all of them OSError, without Java's stack."""

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
    """HDFS."""

    moves_to_new = True

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        """Paths here are true paths: hdfs-native would cut a name at its ? or #."""
        return path

    info = _in_a_line(HdfsFileSystem.info)
    ls = _in_a_line(HdfsFileSystem.ls)
    mv = _in_a_line(HdfsFileSystem.mv)
    makedirs = _in_a_line(HdfsFileSystem.makedirs)
    rm_file = _in_a_line(HdfsFileSystem.rm_file)
    rmdir = _in_a_line(HdfsFileSystem.rmdir)
    _open = _in_a_line(HdfsFileSystem._open)

    def is_closed(self, path: str) -> bool:
        """Whether nobody writes the file any more; its time of modification stays.

        HDFS lets another append only then. The size of a file that is being written stands still
        for a whole block.
        """
        modified = self.info(path)["modification_time"]
        try:
            self.client.append(path).close()
        except (OSError, RuntimeError):
            return False
        self.client.set_times(path, modified, modified)
        return True
