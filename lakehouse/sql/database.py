"""One SQL database, SQLite or MySQL: address, transactions, schema, readable errors."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from lakehouse.errors import PlatelakeError, SettingError

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "platelake_version"
WAIT_SECONDS = 60  # For a SQLite file or a schema that another process is changing.

TRANSIENT = {1205, 1213, 2006, 2013}  # Lock wait timeout, deadlock, lost connection.
REFUSED = {1044, 1045, 1049, 1698, 2003}  # No access, no such database, no server.

_migrating = threading.Lock()  # Alembic's environment is one for the whole process.


class SqlError(PlatelakeError):
    """The database failed; `is_transient` tells whether a retry may work."""


def is_transient(error: BaseException | None) -> bool:
    """Return whether a retry may work: lost connection, deadlock, or another holder of the lock."""
    if isinstance(error, SqlError):
        error = error.__cause__
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        return error.orig.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
    return _code(error) in TRANSIENT


class Database:
    """An opened database whose schema is up to date.

    Every failure raises SqlError with the address, but never the password.
    """

    def __init__(self, url: str) -> None:
        """Open the database at that SQLAlchemy URL; make the SQLite file if there is none.

        Raises SettingError for a URL that is neither `sqlite:///` nor `mysql+pymysql://`.
        """
        address = _address(url)
        self.place = _place(address)
        if address.drivername == "sqlite":
            self.engine = _sqlite_engine(address, WAIT_SECONDS)
            sa.event.listen(self.engine, "connect", _use_wal)
        else:
            self.engine = _mysql_engine(address)
        self._bring_to_head()

    @contextmanager
    def transaction(self, write: bool = False, alone: str = "") -> Iterator[Connection]:
        """Run all or nothing; `write` keeps out other writers of a SQLite file from the start.

        On MySQL, transactions with the same `alone` run one after the other. SQLite's writers do
        so anyway.
        """
        try:
            with (
                self.engine.connect().execution_options(write=write) as connection,
                self._lock(connection, alone),
                connection.begin(),
            ):
                yield connection
        except DBAPIError as error:
            raise _sql_error(self.place, error) from error

    def _bring_to_head(self) -> None:
        if self._revision() == newest_revision():
            return
        # Imported late: a fifth of the imports of a job that has little to do.
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        try:
            with _migrating, self.transaction(write=True, alone="schema") as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except CommandError as error:
            raise SqlError(
                f"{self.place} has a schema that this platelake does not know ({error}): "
                "use the newer platelake that made it, or an empty database"
            ) from error

    def _revision(self) -> str | None:
        """Return the revision of the schema; None in a new database."""
        version = sa.table(VERSION_TABLE, sa.column("version_num"))
        with self.transaction() as connection:
            if not sa.inspect(connection).has_table(VERSION_TABLE):
                return None
            return connection.scalars(sa.select(version.c.version_num)).one_or_none()

    @contextmanager
    def _lock(self, connection: Connection, name: str) -> Iterator[None]:
        """Hold the server's lock of that name, which its transactions know nothing of."""
        if not name or self.engine.dialect.name == "sqlite":
            yield
            return
        # The name is valid for the whole server and has at most 64 characters.
        lock = sa.func.concat(f"platelake {name} ", sa.func.md5(sa.func.database()))
        held = connection.scalar(sa.select(sa.func.get_lock(lock, WAIT_SECONDS)))
        connection.rollback()
        if not held:
            raise SqlError(
                f"{self.place}: another process has held the lock {name!r} for {WAIT_SECONDS} s; "
                "try again"
            )
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.release_lock(lock)))


def newest_revision() -> str:
    """Return the revision that the schema has after all migrations; each file starts with its."""
    return max(file.name for file in (MIGRATIONS / "versions").glob("r*.py")).partition("_")[0]


def sqlite_file(url: str) -> Path | None:
    """Return the SQLite file of that URL; None if it names a server."""
    address = _address(url)
    return Path(address.database or "").resolve() if address.drivername == "sqlite" else None


def reach(url: str, seconds: int) -> str:
    """Return the database's address after it has answered; nothing in it is made or changed.

    Raises SettingError like `Database`, and SqlError if it does not answer in that time.
    """
    address = _address(url)
    if address.drivername == "sqlite":
        engine = _sqlite_engine(address, seconds)
        if not os.access(address.database or "", os.W_OK):
            raise SqlError(f"{_place(address)} cannot be written by this user")
    else:
        engine = _mysql_engine(address, connect_timeout=seconds)
    try:
        with engine.connect() as connection:
            sa.inspect(connection).get_table_names()
    except DBAPIError as error:
        raise _sql_error(_place(address), error) from error
    finally:
        engine.dispose()
    return _place(address)


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):  # Its text may hold the password.
        raise SettingError("sql_url", "sql_url is not an SQLAlchemy URL") from None
    if address.drivername not in ("sqlite", "mysql+pymysql"):
        raise SettingError(
            "sql_url",
            f"sql_url: {address.drivername} is not known; give sqlite:///FILE or "
            "mysql+pymysql://USER:PASSWORD@HOST/DATABASE",
        )
    if address.drivername != "sqlite":
        if not address.database:
            raise SettingError("sql_url", "sql_url has no database name at its end")
        if "@" in f"{address.host}{address.database}":  # Part of a password, so do not show it.
            raise SettingError("sql_url", "sql_url: write @ in a password as %40")
    return address


def _mysql_engine(address: URL, **options: int) -> Engine:
    return sa.create_engine(
        address,
        hide_parameters=True,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",  # No gap locks: one stage does not block another.
        connect_args={"charset": "utf8mb4", "sql_mode": "STRICT_ALL_TABLES", **options},
    )


def _sqlite_engine(address: URL, seconds: int) -> Engine:
    if address.database:
        try:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SqlError(f"{_place(address)}: its folder cannot be made: {error}") from error
    engine = sa.create_engine(address, hide_parameters=True, connect_args={"timeout": seconds})

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _use_wal(connection: sqlite3.Connection, _: object) -> None:
    """Use WAL: a commit waits for the disk once; readers and writer do not wait for each other.

    The file keeps this mode. If another process is using the file, a later connection sets it.
    """
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
    finally:
        connection.execute(f"PRAGMA busy_timeout = {WAIT_SECONDS * 1_000}")


def _place(address: URL) -> str:
    if address.drivername == "sqlite":
        return f"SQLite file {address.database}"
    return f"SQL database {address.database} at {address.host}:{address.port or 3306}"


def _sql_error(place: str, error: DBAPIError) -> SqlError:
    hint = "; check PLATELAKE_SQL_URL" if _code(error) in REFUSED else ""
    return SqlError(f"{place}: {_said(error)}{hint}")


def _code(error: DBAPIError) -> object:
    return error.orig.args[0] if error.orig and error.orig.args else None


def _said(error: DBAPIError) -> object:
    return error.orig.args[-1] if error.orig and error.orig.args else error.orig
