"""Lots to SQL: the lake's sync, and the database's own bulk load of the same table."""

import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import NoReturn

import inputs
import pyarrow as pa
import sqlalchemy as sa
from case import STAGE, Case, Suite, do, platelake, script
from deltalake import DeltaTable

from tests.mariadb import MariaDB, running_mariadb

COUNT, OF_DAY = 100_000, 100
CHANGED = 100
"""One lot of so many is changed."""


def cases(suite: Suite) -> Iterator[Case]:
    """All lots, then those that changed; none where MariaDB is not installed."""
    if not shutil.which("mariadbd", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"):
        print("MariaDB is not installed, so SQL is not measured", file=sys.stderr)
        return
    first, changed = suite.folder / "sync-first", suite.folder / "sync-changed"

    @cache
    def server() -> MariaDB:
        make_lots(first)
        shutil.copytree(first, changed)
        make_lots(changed, changed=True)
        return suite.stack.enter_context(running_mariadb())

    def side(name: str, lake: Path, increment: bool, folder: Path) -> list[str]:
        url = server().url(f"bench_{folder.name}")
        command = platelake(lake, "sync")
        if name == "plain":
            after = DeltaTable(str(first / STAGE / "lots")).version() if increment else -1
            command = script("peer_sync", lake / STAGE / "lots", url, after)
        return ["env", f"PLATELAKE_SQL_URL={url}", *command]

    def before(increment: bool, folder: Path) -> None:
        server().execute(f"DROP DATABASE IF EXISTS bench_{folder.name}")
        server().execute(f"CREATE DATABASE bench_{folder.name} CHARACTER SET utf8mb4")
        if increment:
            do(side(folder.name, first, False, folder))

    def check(folders: dict[str, Path]) -> None:
        rows = {name: digest(server().url(f"bench_{name}")) for name in folders}
        assert rows["lake"] == rows["plain"] and rows["lake"][0] == COUNT, rows

    for name, lake, increment in (
        (f"SQL sync of {COUNT:,} lots", first, False),
        (f"SQL sync of 1 % of {COUNT:,} lots", changed, True),
    ):
        yield Case(
            name,
            {one: partial(side, one, lake, increment) for one in ("lake", "plain")},
            prepare=server,
            before=partial(before, increment),
            check=check,
            work=COUNT // CHANGED if increment else COUNT,
            unit="lots",
        )


def digest(url: str) -> tuple[object, ...]:
    """What a table of lots adds up to, whatever the order of its rows."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    columns = "day, lot, readings, started_at, ended_at, label"
    query = f"SELECT count(*), sum(crc32(concat_ws('|', {columns}))) FROM lots"
    with engine.connect() as connection:
        return tuple(connection.execute(sa.text(query)).one())


def make_lots(folder: Path, changed: bool = False) -> None:
    """The lots of a lake; once they are changed, one of so many has a reading more."""
    from lakehouse.delta.lake import Lake
    from lakehouse.tables.lots import LOTS

    days = [inputs.FIRST_DAY + timedelta(number // OF_DAY) for number in range(COUNT)]
    starts = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in days]
    columns = {
        "day": days,
        "lot": [str(number % OF_DAY) for number in range(COUNT)],
        "readings": [60 + (changed and number % CHANGED == 0) for number in range(COUNT)],
        "started_at": starts,
        "ended_at": [start + timedelta(minutes=5) for start in starts],
        "label": ["failed" if number % 7 == 0 else "good" for number in range(COUNT)],
    }
    lake = Lake(str(folder), STAGE, _no_spark)
    lake.upsert(LOTS, pa.table(columns, LOTS.arrow_schema()))


def _no_spark() -> NoReturn:
    raise AssertionError("the table is written without Spark")
