"""A MariaDB server for tests, in a temporary folder, and databases in it.

`from tests.mariadb import mariadb_server, mariadb_url, sql_url` in a conftest makes the fixtures
known. A test that asks for `sql_url` runs twice: on SQLite and on MariaDB.
"""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import pytest
import sqlalchemy as sa

START_SECONDS = 60
SMALL = (
    "--skip-log-bin",
    "--skip-name-resolve",
    "--performance-schema=OFF",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-lock-wait-timeout=2",
)

_numbers = count()


class MariaDB:
    """A running server and the user, with a password of its own, who may do everything."""

    def __init__(self, port: int, password: str, log: Path) -> None:
        """Tell where the server listens on the loopback address, and where it logs."""
        self.port, self.password, self.log = port, password, log
        self.command: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with the data that it had; it answers when this returns."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log)
        _wait(self, self._process)

    def stop(self) -> None:
        """Stop it."""
        if self._process:
            _stop(self._process)

    def execute(self, statement: str) -> None:
        """Run one statement; SQLAlchemy's errors go through."""
        engine = sa.create_engine(self.url(""), poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of a database."""
        return f"mysql+pymysql://tester:{self.password}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """A fresh database's SQLAlchemy URL; it is dropped at the end."""
        name = f"test_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name}")


@contextmanager
def running_mariadb() -> Iterator[MariaDB]:
    """A server of our own; it stops and its files go at the end."""
    with TemporaryDirectory(prefix="mariadb-") as name:
        folder = Path(name)
        user = ["--user=root"] if os.geteuid() == 0 else []
        _install(folder / "data", user)
        server = MariaDB(_free_port(), secrets.token_urlsafe(16), folder / "server.log")
        # Run before the first connection is let in, so nobody needs an administrator's password.
        (folder / "init.sql").write_text(
            f"CREATE USER IF NOT EXISTS tester@'%' IDENTIFIED BY '{server.password}';\n"
            "GRANT ALL ON *.* TO tester@'%';\n"
        )
        server.command = [
            _program("mariadbd"),
            "--no-defaults",
            *user,
            f"--datadir={folder / 'data'}",
            f"--socket={folder / 'socket'}",
            f"--pid-file={folder / 'pid'}",
            f"--init-file={folder / 'init.sql'}",
            "--bind-address=127.0.0.1",
            f"--port={server.port}",
            *SMALL,
        ]
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _install(data: Path, user: list[str]) -> None:
    command = [
        _program("mariadb-install-db"),
        "--no-defaults",
        *user,
        f"--datadir={data}",
        "--auth-root-authentication-method=socket",
        "--skip-test-db",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"mariadb-install-db: {done.stdout}{done.stderr}")


def _program(name: str) -> str:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    found = shutil.which(name, path=path)
    if found is None:
        _missing()
    return found


def _missing() -> NoReturn:
    sentence = "MariaDB is not installed; apt-get install mariadb-server"
    if os.environ.get("REQUIRE_ALL_TESTS") == "1":
        pytest.fail(sentence)
    pytest.skip(sentence)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait(server: MariaDB, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    said: object = None
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return server.execute("SELECT 1")
        except sa.exc.OperationalError as error:
            said = error
        time.sleep(0.05)
    raise RuntimeError(f"mariadbd does not answer: {said}\n{server.log.read_text()[-3000:]}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDB]:
    """One server for all tests; skipped, or failed with REQUIRE_ALL_TESTS=1, without MariaDB."""
    with running_mariadb() as server:
        yield server


@pytest.fixture
def mariadb_url(mariadb_server: MariaDB) -> Iterator[str]:
    """The URL of a fresh database on a real server."""
    with mariadb_server.database() as url:
        yield url


@pytest.fixture(params=["sqlite", "mariadb"])
def sql_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a fresh database, of each kind in turn."""
    if request.param == "mariadb":
        url: str = request.getfixturevalue("mariadb_url")
        return url
    return f"sqlite:///{tmp_path / 'sql' / 'summaries.db'}"
