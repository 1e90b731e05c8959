"""A real sshd on the loopback address, with a host key, a user key and a known_hosts of its own.

`from tests.sshd import plant_host, ssh_server` in a conftest makes the fixtures known.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import pytest

from lakehouse.landing.remote import Sftp

START_SECONDS = 20


class Sshd:
    """A running server, and the home of a user whom it lets in."""

    def __init__(self, folder: Path) -> None:
        """Keys and settings in that folder."""
        self.folder, self.port = folder, free_port()
        self.home = folder / "home"
        (self.home / ".ssh").mkdir(parents=True, mode=0o700)
        make_key(folder / "host_key")
        make_key(self.home / ".ssh" / "id_ed25519")
        shutil.copy(self.home / ".ssh" / "id_ed25519.pub", folder / "authorized_keys")
        (folder / "authorized_keys").chmod(0o600)
        self.trust(folder / "host_key.pub")
        (folder / "sshd_config").write_text(
            f"Port {self.port}\n"
            "ListenAddress 127.0.0.1\n"
            f"HostKey {folder / 'host_key'}\n"
            f"AuthorizedKeysFile {folder / 'authorized_keys'}\n"
            f"PidFile {folder / 'sshd.pid'}\n"
            "PasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\n"
            "UsePAM no\n"
            "StrictModes no\n"
            "PermitRootLogin prohibit-password\n"
            "MaxStartups 100\n"
            "MaxSessions 100\n"
            "Subsystem sftp internal-sftp\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def trust(self, host_key: Path) -> None:
        """Make that the only key that the user knows the host by."""
        kind, key, *_ = host_key.read_text().split()
        known = f"[127.0.0.1]:{self.port} {kind} {key}\n"
        (self.home / ".ssh" / "known_hosts").write_text(known)

    def url(self, path: Path | str) -> str:
        """The URL of a folder there."""
        return f"sftp://{getuser()}@127.0.0.1:{self.port}{path}"

    def start(self) -> None:
        """Start it; it answers when this returns."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd leaves its rights there.
        log = ["-E", str(self.folder / "sshd.log")]
        self._process = subprocess.Popen(
            [_program(), "-D", "-f", str(self.folder / "sshd_config"), *log],
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"sshd does not answer: {(self.folder / 'sshd.log').read_text()}")

    def stop(self) -> None:
        """Stop it, and cut the connections it has."""
        if self._process is None:
            return
        for child in _sessions(self._process.pid):
            child.kill()
        self._process.terminate()
        self._process.wait(20)
        self._process = None


class _Session:
    def __init__(self, pid: int) -> None:
        self.pid = pid

    def kill(self) -> None:
        for below in _sessions(self.pid):
            below.kill()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 9)


def _sessions(parent: int) -> list[_Session]:
    """The processes that this one has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(_Session(int(stat.parent.name)))
    return found


def make_key(file: Path) -> None:
    program = shutil.which("ssh-keygen") or _missing()
    subprocess.run([program, "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)


def _program() -> str:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    return shutil.which("sshd", path=path) or _missing()


def _missing() -> NoReturn:
    sentence = "sshd is not installed; apt-get install openssh-server"
    if os.environ.get("REQUIRE_ALL_TESTS") == "1":
        pytest.fail(sentence)
    pytest.skip(sentence)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def ssh_server() -> Iterator[Sshd]:
    """One server for all tests; skipped, or failed with REQUIRE_ALL_TESTS=1, without sshd."""
    _program()
    with TemporaryDirectory(prefix="sshd-") as name:
        server = Sshd(Path(name))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def plant_host(ssh_server: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """The server, and its user's home as this process's: keys and known hosts are found there."""
    monkeypatch.setenv("HOME", str(ssh_server.home))
    Sftp.clear_instance_cache()
    yield ssh_server
    ssh_server.trust(ssh_server.folder / "host_key.pub")
    Sftp.clear_instance_cache()
