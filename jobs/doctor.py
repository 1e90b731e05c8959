"""`platelake doctor`: what this installation is made of, and what of it does not work.

A line each: `ok` or `WRONG`, what, and its value or what is wrong and what to do. It starts no
Spark, makes and migrates nothing, and leaves nothing behind. No line holds a password.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import typer

from jobs.options import LakeOption, SqlUrl
from lakehouse.errors import PlatelakeError
from lakehouse.spark.installed import (
    SUMS,
    archive_fits,
    archive_of,
    jar_faults,
    listed,
    spark_java,
)
from lakehouse.spark.java import Java
from lakehouse.urls import without_password

if TYPE_CHECKING:
    from lakehouse.settings import Settings

VENV = Path(sys.prefix)
REPAIR = "Remove .venv/.made-from and run `make env`"

LOW_BYTES = 1_000_000_000
WAIT_SECONDS = 5

Check = Callable[[], str]


class InstallationError(PlatelakeError):
    """A part of the installation is missing or is another one; `fault` says which."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"{fault}. {REPAIR}")
        self.fault = fault


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, and its value, or where it is not `well` what to do."""

    what: str
    value: str
    well: bool

    def __str__(self) -> str:
        """As it is printed."""
        mark = "ok" if self.well else "WRONG"
        return f"{mark:6}{self.what:14}{self.value}"


def doctor(lake: LakeOption = None, sql_url: SqlUrl = None) -> None:
    """What this installation is made of, and what of it does not work; exit code 1 if any."""
    wrong = 0
    for finding in findings(lake, sql_url):
        print(finding, flush=True)
        wrong += not finding.well
    if wrong:
        raise typer.Exit(1)


def findings(lake: str | None, sql_url: str | None) -> Iterator[Finding]:
    """Look at one thing after the other; what fails is a finding like any other."""
    yield look("Python", python)
    yield look("Java", lambda: said(spark_java(VENV)))
    yield look("Spark", partial(package, "pyspark"))
    yield look("Delta", partial(package, "delta-spark"))
    yield look("Delta's jars", jars)
    yield look("class archive", class_archive)
    try:
        from lakehouse.settings import load_settings

        settings = load_settings(lake=lake, sql_url=sql_url)
    except Exception as error:
        yield Finding("settings", words(error), False)
        return
    checks = {"lake": lake_writable, "disk": disk, "SQL": sql, "MLflow": mlflow}
    for what, check in checks.items():
        yield look(what, partial(check, settings))


def look(what: str, check: Check) -> Finding:
    """What the check says, or why it failed."""
    try:
        return Finding(what, check(), True)
    except Exception as error:
        return Finding(what, words(error), False)


def words(error: Exception) -> str:
    """An error on one line. Of one that nobody foresaw no text is shown that may be secret."""
    if isinstance(error, PlatelakeError):
        return without_password(" ".join(str(error).split()))
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return f"it cannot be told, because of {type(error).__name__}; please report it"


def python() -> str:
    """This Python, if it is one that pyproject.toml allows."""
    from packaging.specifiers import SpecifierSet

    version = "{}.{}.{}".format(*sys.version_info)
    allowed = metadata.metadata("platelake")["Requires-Python"]
    if not SpecifierSet(allowed).contains(version):
        raise PlatelakeError(
            f"platelake needs Python {allowed}; this is {version}. Name another: make env "
            "PYTHON=/path/to/python"
        )
    return f"{version} ({sys.executable})"


def said(java: Java) -> str:
    """A Java in a few words."""
    return f"{java.build.removeprefix('version ')} ({java.home})"


def package(name: str) -> str:
    """The package's version, if it is one that pyproject.toml allows."""
    from packaging.requirements import Requirement

    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        raise InstallationError(f"{name} is not installed") from None
    for wanted in map(Requirement, metadata.requires("platelake") or []):
        if wanted.name == name and not wanted.specifier.contains(version):
            raise InstallationError(f"{version} is not {name}{wanted.specifier}")
    return version


def jars_folder() -> Path:
    """Spark's jars; nothing of it is imported."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise InstallationError("pyspark is not installed")
    return Path(spec.origin).parent / "jars"


def jars() -> str:
    """How many jars are as conf/jars.sha256 lists them."""
    if faults := jar_faults(jars_folder()):
        raise InstallationError(f"{'; '.join(faults)} (conf/jars.sha256)")
    return f"{len(listed())} as {SUMS.name} lists them"


def class_archive() -> str:
    """The archive of Spark's classes, if it was made from this Java and these jars."""
    archive, _ = archive_of(VENV)
    if not archive.is_file():
        raise InstallationError(f"{archive} is missing, so Spark starts slower")
    if not archive_fits(VENV, spark_java(VENV), jars_folder()):
        raise InstallationError(
            f"{archive} was made from another Java or other jars, so Spark starts slower"
        )
    return str(archive)


def lake_writable(settings: "Settings") -> str:
    """The lake, if it and the app's folder can be written."""
    lake = settings.lake.removeprefix("file://")
    if settings.app_folder:
        writable(Path(settings.app_folder).resolve(), "Correct PLATELAKE_APP_FOLDER")
    if lake.startswith("hdfs://"):
        return hdfs_writable(lake)
    if "://" in lake:
        return f"{without_password(lake)}, not looked at: only folders and hdfs:// are"
    return writable(Path(lake).resolve())


BY_LAKE = "Name another by --lake, or give this user the right to write there"


def writable(folder: Path, remedy: str = BY_LAKE) -> str:
    """The folder, if it and what the lake has in it can be written, or if it can be made."""
    try:
        there = nearest(folder)
        if not there.is_dir():
            raise NotADirectoryError(20, os.strerror(20), str(there))
        with tempfile.TemporaryFile(dir=there):
            pass
        for pattern in ("*", "*/*", "*/*/_delta_log") if there == folder else ():
            for inner in folder.glob(pattern):
                if inner.is_dir() and not os.access(inner, os.W_OK | os.X_OK):
                    raise PermissionError(13, os.strerror(13), str(inner))
    except OSError as error:
        place = error.filename or folder
        raise PlatelakeError(f"{place} cannot be written: {error.strerror}. {remedy}") from None
    return str(folder) if there == folder else f"{folder}, which the first run makes"


def nearest(folder: Path) -> Path:
    """The folder, or the one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def hdfs_writable(lake: str) -> str:
    """The lake's URL, if a folder can be made there, which goes again at once."""
    from lakehouse.landing.remote import connect

    file_system, root = connect(lake, "the lake")
    probe = f"{root.rstrip('/')}/.platelake-doctor-{os.getpid()}"
    made = not file_system.exists(root)
    try:
        file_system.makedirs(probe)
        file_system.rmdir(probe)
        if made:
            file_system.rmdir(root)
    except Exception as error:
        line = str(error).strip().partition("\n")[0] or type(error).__name__
        raise PlatelakeError(f"{lake} cannot be written: {line}") from None
    return lake


def disk(settings: "Settings") -> str:
    """What is free where the lake and Spark's own files lie."""
    lake = settings.lake.removeprefix("file://")
    places = [] if "://" in lake else [nearest(Path(lake).resolve())]
    return room([*places, Path(tempfile.gettempdir())], LOW_BYTES)


def room(folders: list[Path], needed: int) -> str:
    """What is free in each of the folders, if it is enough."""
    free = {folder: shutil.disk_usage(folder).free for folder in folders}
    text = ", ".join(f"{room / 1e9:.1f} GB free in {folder}" for folder, room in free.items())
    if min(free.values()) < needed:
        raise PlatelakeError(f"{text}; less than {needed / 1e9:.0f} GB does not do. Make room")
    return text


def sql(settings: "Settings") -> str:
    """The summaries' database, if it answers."""
    return database(settings.sql_address())


def database(url: str) -> str:
    """The database, if it answers; a SQLite file that is not there yet, if it can be made."""
    from lakehouse.sql.database import reach, sqlite_file

    file = sqlite_file(url)
    if file:
        writable(file.parent)
        if not file.exists():
            return f"SQLite file {file}, made when it is first needed"
    return reach(url, WAIT_SECONDS)


def mlflow(settings: "Settings") -> str:
    """The tracking server, if it answers. MLflow itself would take seconds to import."""
    import httpx

    uri = settings.mlflow_address()
    scheme = uri.partition(":")[0]
    if scheme in ("sqlite", "mysql+pymysql"):
        return database(uri)
    if scheme not in ("http", "https"):
        return f"{scheme}, not looked at: only http:// and SQLite files are"
    remedy = "Start it, or correct PLATELAKE_MLFLOW_URI"
    try:
        parts = urlsplit(uri)
        place = f"{scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
        answer = httpx.get(f"{uri.rstrip('/')}/health", timeout=WAIT_SECONDS)
    except (ValueError, httpx.InvalidURL):
        raise PlatelakeError("mlflow_uri is not an address such as http://HOST:5000") from None
    except httpx.HTTPError as error:
        line = str(error) or type(error).__name__
        raise PlatelakeError(f"{place} does not answer: {line}. {remedy}") from None
    if answer.status_code != httpx.codes.OK:
        raise PlatelakeError(f"{place} answers {answer.status_code} at /health. {remedy}")
    return place
