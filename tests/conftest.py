"""One Spark session for all tests, small plants made by hand, and real data where it is there."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import settings
from pyspark.sql import SparkSession
from xdist.scheduler import LoadScopeScheduling

from jobs.cli.main import leave
from jobs.context import RunContext
from jobs.options import Options
from jobs.report import report
from jobs.runner import CHAIN, begin, do_jobs
from lakehouse.delta.lake import Lake
from lakehouse.spark.session import open_session
from lakehouse.stage import Stage, load_stage
from tests.mariadb import mariadb_server, mariadb_url, sql_url
from tests.sshd import plant_host, ssh_server

__all__ = ["mariadb_server", "mariadb_url", "plant_host", "sql_url", "ssh_server"]

settings.register_profile("tests", deadline=None)  # A busy machine is no fault of an example.
settings.load_profile("tests")

REAL = Path(__file__).parent.parent.parent / "shared" / "data"

BY_SPARK = {"PLATELAKE_HERE_BYTES": "0", "PLATELAKE_HERE_ROWS": "0"}
"""Spark computes what is otherwise too little for it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kill-points", type=int, help="moments at which a run is killed")
    parser.addoption(
        "--readings", type=int, default=500_000, help="that Spark's workers read on the stack"
    )
    parser.addoption("--stack", action="store_true", help="run the tests of the real stack")
    parser.addoption("--screenshots", default="", help="folder for what the app's pages look like")


LONGEST = (
    *("tests/serving/", "tests/test_crash.py", "tests/test_chain.py", "tests/ml/"),
    *("tests/test_previous_version.py", "tests/test_tutorials.py"),
    *("tests/lakehouse/ingest/test_redelivery.py", "tests/lakehouse/ingest/test_clear.py"),
)
"""What takes longest is begun first, so that of two processes none is left alone for long."""


HEAVY = {"spark", "mariadb_server", "chromium"}
"""Fixtures that start a JVM, a database server or a browser."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file that is heavy as a whole is not even imported where heavy tests are left out."""
    left_out = config.option.markexpr == "not heavy" and collection_path.suffix == ".py"
    marked = left_out and "\npytestmark = pytest.mark.heavy\n" in collection_path.read_text()
    return True if marked else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
    for item in items:
        given = getattr(item, "callspec", None)
        server = given and any(isinstance(v, str) and v == "mariadb" for v in given.params.values())
        if server or HEAVY.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("heavy")


class SharedTogether(LoadScopeScheduling):
    """Of tests side by side, those that share what is costly to make stay in one process."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = "/".join(file.split("/")[:2])
        light = self.config.option.markexpr == "not heavy"  # They share what they import.
        together = ("serving", "ml") if light else ("serving",)
        return folder if folder.endswith(together) else file


SESSION = pytest.StashKey[pytest.Session]()


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[SESSION] = session


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedTogether:
    config.option.loadscopereorder = False  # By the number of tests, that is.
    return SharedTogether(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End as the command does, or a library's thread may abort a process that has passed."""
    if not hasattr(config, "workerinput") and (session := config.stash.get(SESSION, None)):
        leave(int(session.exitstatus))


def unavailable(reason: str) -> NoReturn:
    """Skip, saying what is missing; fail where nothing may be skipped."""
    if os.environ.get("REQUIRE_ALL_TESTS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def let_others_in(folder: Path) -> None:
    """Let every user of this machine reach the test's folder."""
    for one in (folder, *folder.parents):
        if one.stat().st_uid == os.getuid() and one != Path("/"):
            one.chmod(one.stat().st_mode | 0o755)


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session = open_session("tests")
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(scope="session", autouse=True)
def _no_waiting() -> Iterator[None]:
    """Files that a test has just written are taken at once; tests of growing files wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLATELAKE_SETTLE_SECONDS", "0")
        yield


@pytest.fixture(scope="session")
def stage() -> Stage:
    return load_stage("chromate")


@pytest.fixture
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """An empty lake; Spark is for heavy tests only."""

    def session() -> SparkSession:
        if not request.node.get_closest_marker("heavy"):
            pytest.fail("no Spark is needed")
        spark: SparkSession = request.getfixturevalue("spark")
        return spark

    return Lake(str(tmp_path / "lake"), "chromate", session)


@pytest.fixture(scope="session")
def chromate() -> Path:
    """The real chromate data: sensor files, error list, photos."""
    folder = REAL / "kamp" / "chromate"
    if not folder.is_dir():
        pytest.skip(f"the real data is not there: {folder.name} below ../shared/data")
    return folder


@dataclass
class Chain:
    """The main job on one landing zone and lake, as often as a test wants."""

    landing: Path
    lake_folder: Path
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, *names: str, **options: Any) -> dict[str, Any]:
        """Run these jobs (all by default); the report, with the run's counts."""
        return report(self.work(*names, **options))

    def work(self, *names: str, **options: Any) -> RunContext:
        """Run these jobs; what they leave."""
        given = {"stage": "chromate", **self.options, **options}
        work = begin(Options(landing=str(self.landing), lake=str(self.lake_folder), **given))
        do_jobs(names or CHAIN, work)
        return work

    def lake(self) -> Lake:
        """The lake as it is now."""
        return Lake(str(self.lake_folder), "chromate", lambda: open_session("tests"))


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    landing = tmp_path / "landing"
    landing.mkdir()
    return Chain(landing, tmp_path / "lake")


@pytest.fixture(scope="module")
def module_chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    folder = tmp_path_factory.mktemp("module")
    (folder / "landing").mkdir()
    return Chain(folder / "landing", folder / "lake")
