"""The copies of the summaries in SQL, on SQLite and on a real MariaDB."""

import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from datetime import UTC, date, datetime, timedelta, timezone
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import mysql
from sqlalchemy.schema import CreateTable

import serving.tables
from lakehouse.errors import PlatelakeError, QualityGateError, SettingError
from lakehouse.sql.database import (
    MIGRATIONS,
    Database,
    SqlError,
    _use_wal,
    is_transient,
    newest_revision,
)
from lakehouse.sql.schema import sql_table, state_table
from lakehouse.sql.summaries import Mirrored, MirrorState, SummaryStore
from lakehouse.table import Column, Table
from lakehouse.tables import MIRRORED
from lakehouse.tables.lots import LOTS
from lakehouse.tables.runs import RUNS
from tests.mariadb import MariaDB

Rows = list[dict[str, object]]

KINDS = Table(
    name="kinds",
    meaning="A column of every type that is mirrored",
    columns=(
        Column("day", "date", ""),
        Column("name", "string", ""),
        Column("text", "string", ""),
        Column("big", "bigint", ""),
        Column("small", "int", ""),
        Column("number", "double", ""),
        Column("at", "timestamp", ""),
        Column("yes", "boolean", ""),
    ),
    key=("day", "name"),
    mirrored=True,
)
DAY = date(2024, 2, 29)
AUDIT = {"at": datetime(2024, 2, 29), "user_name": "kim", "action": "test"}


@pytest.fixture
def store(sql_url: str) -> Iterator[SummaryStore]:
    """A store in a fresh database."""
    opened = SummaryStore(sql_url)
    yield opened
    opened.close()


def lots(*numbers: int, readings: int = 1) -> Rows:
    """Rows of `lots`, in the order of their key for numbers below 10,000."""
    return [
        {
            "day": DAY,
            "lot": f"L{number:04}",
            "readings": readings,
            "started_at": datetime(2024, 2, 29, 1, 2, 3, number),
            "ended_at": None,
            "label": "good",
        }
        for number in numbers
    ]


def batches(table: Table, rows: Rows | Iterator[dict[str, object]]) -> Iterator[pa.RecordBatch]:
    """The rows as Arrow, those of an iterator some at a time; times without a zone are in UTC."""
    left, count = iter(rows), max(len(rows), 1) if isinstance(rows, list) else 500
    while some := list(islice(left, count)):
        yield from table.arrow(some).to_batches()


def sync(
    store: SummaryStore,
    upserts: Rows | Iterator[dict[str, object]],
    *,
    version: int,
    expected: int,
    deletes: Rows | None = None,
    whole: bool = False,
    source: str = "lake-1",
    stage: str = "plate",
) -> Mirrored:
    """Mirror `lots`."""
    return store.mirror(
        stage,
        LOTS,
        source_id=source,
        version=version,
        upserts=batches(LOTS, upserts),
        deletes=deletes or [],
        whole=whole,
        expected_rows=expected,
    )


def everything(store: SummaryStore) -> list[tuple[object, ...]]:
    """Every row of `lots` and of the state, with all their columns."""
    metadata = sa.MetaData()
    with store.engine.connect() as connection:
        return [
            tuple(row)
            for table in (sql_table(LOTS, metadata), state_table(metadata))
            for row in connection.execute(sa.select(table).order_by(*table.primary_key))
        ]


def test_schema_equals_the_declarations(store: SummaryStore) -> None:
    metadata = sa.MetaData()
    state_table(metadata)
    for table in MIRRORED:
        sql_table(table, metadata)
    for own in serving.tables.metadata.sorted_tables:
        own.to_metadata(metadata)
    assert {"lots", "variable_days", "picture_days", "runs"} <= set(metadata.tables)
    options = {"version_table": "platelake_version", "compare_type": True}
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == newest_revision()
        for name, declared in metadata.tables.items():  # What compare_metadata does not look at.
            found = sa.inspect(connection).get_pk_constraint(name)["constrained_columns"]
            assert found == [column.name for column in declared.primary_key]


def test_the_newest_revision_is_that_of_alembic() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_heads() == [newest_revision()]


def test_a_database_of_today_is_opened_without_alembic(sql_url: str) -> None:
    code = (
        "import sys; from lakehouse.sql.database import Database; "
        "Database(sys.stdin.readline().strip()); print('alembic' in sys.modules)"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code], input=sql_url, capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["True", "False"]


def test_an_older_schema_is_brought_up_to_date(store: SummaryStore, sql_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with store.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "r0003")
    SummaryStore(sql_url).close()
    found = sa.inspect(store.engine).get_columns("inspections")
    assert "reason" in {column["name"] for column in found}


def test_every_type_comes_back(store: SummaryStore) -> None:
    sql_table(KINDS, sa.MetaData()).create(store.engine)
    late = datetime(2024, 2, 29, 23, 59, 59, 999_999)
    odd = "100 % %s 'q' \"d\" \\ \\' \n\r\t:x \x1a\0"
    rows: Rows = [
        dict(zip(KINDS.names, values, strict=True))
        for values in (
            (DAY, "", "", 0, 0, 0.0, datetime(1970, 1, 1), False),
            (DAY, "A", None, None, None, None, None, None),
            (DAY, "a", "x" * 20_000, 2**63 - 1, 2**31 - 1, 1.7976931348623157e308, late, True),
            (
                DAY,
                "a ",
                odd,
                -(2**63),
                -(2**31),
                5e-324,
                late,
                True,
            ),
            (DAY, "á", "á", 1, 1, 0.1 + 0.2, late, True),
            (DAY, "온도 센서 🔥", "불량", 1, 1, -2.2250738585072014e-308, late, True),
            (date(9999, 12, 31), "가" * 255, None, 1, 1, 1 / 3, late, True),
        )
    ]
    done = store.mirror(
        "plate",
        KINDS,
        source_id="k",
        version=0,
        upserts=batches(KINDS, reversed(rows)),
        deletes=[],
        whole=False,
        expected_rows=7,
    )
    assert done == Mirrored(written=7, deleted=0, rows=7, stale=False)
    assert store.rows("plate", KINDS) == rows
    assert store.count("plate", KINDS) == 7


def test_a_text_too_long_for_mysql_is_refused_not_cut(
    mariadb_server: MariaDB, mariadb_url: str
) -> None:
    mariadb_server.execute("SET GLOBAL sql_mode = ''")  # A server that would cut it.
    try:
        store = SummaryStore(mariadb_url)
        with pytest.raises(SqlError, match=r"SQL database test_\d+ at .*too long.*label"):
            sync(store, [lots(1)[0] | {"label": "x" * 65_536}], version=0, expected=1)
        store.close()
    finally:
        mariadb_server.execute("SET GLOBAL sql_mode = DEFAULT")


def test_strings_are_exact_in_mysql_too() -> None:
    """MySQL's own names for what MariaDB calls otherwise; no server of it runs here."""
    made = str(CreateTable(sql_table(LOTS, sa.MetaData())).compile(dialect=mysql.dialect()))
    assert "stage VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NOT NULL" in made
    assert "label TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin" in made
    assert "started_at DATETIME(6)" in made


def test_a_time_with_a_zone_is_kept_in_utc(store: SummaryStore) -> None:
    seoul = datetime(2024, 3, 1, 8, 0, 0, 1, tzinfo=timezone(timedelta(hours=9)))
    sync(store, [lots(1)[0] | {"started_at": seoul}], version=0, expected=1)
    assert store.rows("plate", LOTS)[0]["started_at"] == datetime(2024, 2, 29, 23, 0, 0, 1)


def test_upsert_and_delete_change_the_given_rows_only(store: SummaryStore) -> None:
    assert store.state("plate", LOTS) is None
    sync(store, lots(*range(5)), version=3, expected=5)
    sync(store, lots(1, 2), version=3, expected=2, stage="other")
    done = sync(store, lots(1, 7, readings=9), deletes=lots(2, 8), version=5, expected=5)
    assert done == Mirrored(written=2, deleted=1, rows=5, stale=False)
    assert store.rows("plate", LOTS) == [
        *lots(0),
        *lots(1, readings=9),
        *lots(3, 4),
        *lots(7, readings=9),
    ]
    assert store.rows("other", LOTS) == lots(1, 2)
    assert store.state("plate", LOTS) == MirrorState("lake-1", 5, 5)
    versions = {row[2]: row[-1] for row in everything(store) if row[0] == "plate" and len(row) == 8}
    assert versions == {"L0000": 3, "L0001": 5, "L0003": 3, "L0004": 3, "L0007": 5}


@pytest.mark.parametrize("version", [3, 4])
def test_whole_leaves_what_is_given(store: SummaryStore, version: int) -> None:
    sync(store, lots(*range(1_200)), version=3, expected=1_200)
    sync(store, lots(1), version=3, expected=1, stage="other")
    kept = lots(*range(100, 800), readings=2) + lots(2_000)
    done = sync(store, iter(kept), version=version, expected=701, whole=True)
    assert done == Mirrored(written=701, deleted=500, rows=701, stale=False)
    assert store.rows("plate", LOTS) == kept
    assert store.rows("other", LOTS) == lots(1)


def test_the_same_again_changes_no_row(store: SummaryStore) -> None:
    for _ in range(2):
        done = sync(store, lots(1, 2), version=3, expected=2)
        assert done == Mirrored(written=2, deleted=0, rows=2, stale=False)
        assert store.rows("plate", LOTS) == lots(1, 2)


@pytest.mark.parametrize("whole", [False, True])
def test_an_older_sync_changes_nothing(store: SummaryStore, whole: bool) -> None:
    sync(store, lots(1, 2), version=5, expected=2)
    before = everything(store)
    late = sync(store, lots(1, 3, readings=9), deletes=lots(2), version=4, expected=2, whole=whole)
    assert late == Mirrored(written=0, deleted=0, rows=2, stale=True)
    assert everything(store) == before


def test_another_lake_is_taken_as_a_whole_only(store: SummaryStore) -> None:
    sync(store, lots(1, 2), version=5, expected=2)
    before = everything(store)
    with pytest.raises(PlatelakeError, match=r"lots of stage plate.*lake-1.*lake-2.*--whole"):
        sync(store, lots(3), version=6, expected=3, source="lake-2")
    assert everything(store) == before
    sync(store, lots(3), version=0, expected=1, source="lake-2", whole=True)
    assert store.rows("plate", LOTS) == lots(3)
    assert store.state("plate", LOTS) == MirrorState("lake-2", 0, 1)


def test_a_sync_that_breaks_off_leaves_all_as_it_was(store: SummaryStore) -> None:
    sync(store, lots(*range(1_000)), version=5, expected=1_000)
    before = everything(store)

    def breaking() -> Iterator[dict[str, object]]:
        yield from lots(*range(700), readings=9)
        raise ZeroDivisionError

    for whole in (False, True):
        with pytest.raises(ZeroDivisionError):
            sync(
                store,
                breaking(),
                deletes=lots(999),
                version=6,
                expected=999,
                whole=whole,
            )
        assert everything(store) == before


def test_a_first_sync_that_breaks_off_leaves_nothing(store: SummaryStore) -> None:
    with pytest.raises(QualityGateError):
        sync(store, lots(1), version=6, expected=2)
    assert everything(store) == []
    assert store.state("plate", LOTS) is None


def test_counts_that_differ_stop_the_sync(store: SummaryStore) -> None:
    sync(store, lots(1, 2), version=5, expected=2)
    before = everything(store)
    with pytest.raises(
        QualityGateError, match=r"lots of stage plate: .* 7 rows.* 3;.*sync --whole"
    ):
        sync(store, lots(3), version=6, expected=7)
    assert everything(store) == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "x" * 256}, "name is x{256}, longer than the 255"),
        ({"number": float("nan")}, "number is nan"),
        ({"number": float("-inf")}, "number is -inf"),
    ],
)
def test_what_sql_cannot_hold_is_refused(
    store: SummaryStore, changed: dict[str, object], said: str
) -> None:
    sql_table(KINDS, sa.MetaData()).create(store.engine)
    row: dict[str, object] = dict.fromkeys(KINDS.names) | {"day": DAY, "name": "x" * 255}
    for rows in ([row], [row, row | changed]):
        with nullcontext() if len(rows) == 1 else pytest.raises(QualityGateError, match=said):
            store.mirror(
                "plate",
                KINDS,
                source_id="k",
                version=0,
                upserts=batches(KINDS, rows),
                deletes=[],
                whole=False,
                expected_rows=1,
            )


def test_a_key_is_never_null(store: SummaryStore) -> None:
    with pytest.raises(SqlError, match=r"(?i)null"):
        sync(store, [*lots(1), lots(2)[0] | {"lot": None}], version=0, expected=2)
    assert everything(store) == []


def test_two_thousand_rows_are_few_statements(store: SummaryStore) -> None:
    seen: list[tuple[str, bool]] = []

    @sa.event.listens_for(store.engine, "before_cursor_execute")
    def _listen(
        _connection: object,
        _cursor: object,
        statement: str,
        _values: object,
        _context: object,
        many: bool,
    ) -> None:
        seen.append((" ".join(statement.split()[:3]).replace("`", ""), many))

    before = inserts(store)
    sync(store, lots(*range(2_000)), version=0, expected=2_000)
    assert [head for head, _ in seen].count("INSERT INTO lots") == 1 and len(seen) < 15
    assert inserts(store) - before < 10
    seen.clear()
    sync(store, [], deletes=lots(*range(2_000)), version=1, expected=0)
    assert [head for head, _ in seen].count("DELETE FROM lots") == 4
    assert len(seen) < 15


def inserts(store: SummaryStore) -> int:
    """Statements of that kind that a server of MySQL has taken; SQLite has none."""
    if store.engine.dialect.name == "sqlite":
        return 0
    with store.engine.connect() as connection:
        found = connection.execute(sa.text("SHOW GLOBAL STATUS LIKE 'Com_insert'")).one()
    return int(found[1])


def test_a_wide_table_stays_below_the_limit_of_values(store: SummaryStore) -> None:
    columns = [Column(f"c{number}", "bigint", "") for number in range(150)]
    wide = Table("wide", "", (Column("name", "string", ""), *columns), ("name",))
    sql_table(wide, sa.MetaData()).create(store.engine)
    with sqlite3.connect(":memory:") as connection:  # Some builds of SQLite allow more.
        if connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) > 32_766:
            _limit_variables(store.engine)
    rows: Rows = [{"name": f"{row:03}"} | dict.fromkeys(wide.names[1:], row) for row in range(500)]
    store.mirror(
        "plate",
        wide,
        source_id="w",
        version=0,
        upserts=batches(wide, rows),
        deletes=[],
        whole=False,
        expected_rows=500,
    )
    assert store.rows("plate", wide) == rows


def _limit_variables(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert isinstance(raw, sqlite3.Connection)
            raw.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)


def test_five_thousand_rows_take_seconds(store: SummaryStore) -> None:
    start = time.monotonic()
    sync(store, lots(*range(5_000)), version=0, expected=5_000)
    sync(store, lots(*range(5_000), readings=2), version=1, expected=5_000)
    sync(store, lots(*range(2_500)), version=2, expected=2_500, whole=True)
    sync(store, [], deletes=lots(*range(2_500)), version=3, expected=0)
    assert time.monotonic() - start < 30


@pytest.mark.heavy
def test_old_and_new_at_once_end_with_the_new(sql_url: str) -> None:
    """Twenty rounds: two threads bring versions 10 and 11 of overlapping rows; 11 stays."""
    random_ = random.Random(20240229)
    stores = [SummaryStore(sql_url) for _ in range(2)]
    for round_ in range(20):
        stage = f"stage_{round_}"
        base = random_.sample(range(1_000), 600)
        if round_ % 2:  # Else both are the first.
            sync(stores[0], lots(*base), version=9, expected=600, stage=stage)
        # Each is right on its own: the old drops 100 rows, the new 200 and brings 50 more.
        new = [*base[200:], *range(1_000, 1_050)]
        delays = [random_.random() * 0.03 for _ in range(2)]
        orders = [base[100:], new]
        jobs: list[Callable[[], object]] = []
        for which in range(2):
            rows, gone = lots(*orders[which], readings=10 + which), lots(*base[: 100 + 100 * which])
            random_.shuffle(rows)
            arguments = (stores[which], rows, gone, 10 + which, stage, delays[which])
            jobs.append(partial(_late_sync, *arguments))
        failures = _at_once(jobs)
        assert failures == []
        assert stores[0].state(stage, LOTS) == MirrorState("lake-1", 11, 450)
        assert stores[0].rows(stage, LOTS) == lots(*sorted(new), readings=11)
    for store in stores:
        store.close()


def _late_sync(
    store: SummaryStore, rows: Rows, gone: Rows, version: int, stage: str, delay: float
) -> None:
    time.sleep(delay)
    while True:
        try:
            sync(store, rows, deletes=gone, version=version, expected=len(rows), stage=stage)
            return
        except SqlError as error:
            if not is_transient(error):
                raise


def _at_once(jobs: list[Callable[[], object]]) -> list[BaseException]:
    """Run all in threads that begin together; what they failed with."""
    barrier = threading.Barrier(len(jobs))
    failures: list[BaseException] = []

    def run(job: Callable[[], object]) -> None:
        barrier.wait()
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_a_fresh_database_opened_by_threads_at_once(sql_url: str) -> None:
    assert _at_once([lambda: SummaryStore(sql_url).close()] * 6) == []


def test_different_databases_opened_by_threads_at_once(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path / str(number)}.db" for number in range(6)]
    assert _at_once([partial(SummaryStore, url) for url in urls]) == []


def test_a_fresh_database_opened_by_processes_at_once(sql_url: str) -> None:
    code = (
        "import sys; from lakehouse.sql.summaries import SummaryStore; print('ready', flush=True); "
        "SummaryStore(sys.stdin.readline().strip())"
    )
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(sql_url.encode() + b"\n")
        process.stdin.flush()
    said = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said


def test_stages_do_not_wait_for_each_other(mariadb_url: str) -> None:
    store = SummaryStore(mariadb_url)
    for stage in ("a", "b", "c"):
        sync(store, lots(*range(20)), version=0, expected=20, stage=stage)

    def within() -> Iterator[dict[str, object]]:
        """Sync the neighbours while b's sync is at work."""
        yield from lots(*range(10, 30))
        for stage in ("a", "c"):
            sync(store, lots(*range(40)), version=1, expected=40, stage=stage, whole=True)

    sync(store, within(), version=1, expected=20, stage="b", whole=True)
    assert [store.count(stage, LOTS) for stage in "abc"] == [40, 20, 40]
    store.close()


def test_a_lost_connection_is_transient(mariadb_server: MariaDB, mariadb_url: str) -> None:
    store = SummaryStore(mariadb_url)
    threads: list[int] = []

    @sa.event.listens_for(store.engine, "checkout")
    def _listen(connection: Any, _record: object, _proxy: object) -> None:
        threads.append(connection.thread_id())

    def killing() -> Iterator[dict[str, object]]:
        yield from lots(*range(500))
        mariadb_server.execute(f"KILL {threads[-1]}")
        time.sleep(0.2)
        yield from lots(*range(500, 1_000))

    with pytest.raises(SqlError) as caught:
        sync(store, killing(), version=0, expected=1_000)
    assert is_transient(caught.value)
    assert sync(store, lots(1), version=0, expected=1).written == 1  # The pool has recovered.
    mariadb_server.execute(f"KILL {threads[-1]}")  # An idle one is not missed at all.
    assert [store.count("plate", LOTS) for _ in range(3)] == [1, 1, 1]
    store.close()


def test_a_held_lock_is_transient(sql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.sql.database.WAIT_SECONDS", 1)
    holder, waiter = SummaryStore(sql_url), SummaryStore(sql_url)

    def holding() -> Iterator[dict[str, object]]:
        yield from lots(1)
        with pytest.raises(SqlError) as caught:
            sync(waiter, lots(2), version=2, expected=1)
        assert is_transient(caught.value)

    sync(holder, holding(), version=1, expected=1)
    assert holder.rows("plate", LOTS) == lots(1)
    holder.close()
    waiter.close()


def test_other_errors_are_not_transient() -> None:
    assert not is_transient(ValueError())
    assert not is_transient(SqlError("said without a cause"))
    assert not is_transient(None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda url: url.set(port=1),
            r"SQL database test_\d+ at 127\.0\.0\.1:1: Can't connect .*PLATELAKE_SQL_URL",
        ),
        (
            lambda url: url.set(host="no-such-host.invalid"),
            r"at no-such-host\.invalid:\d+: Can't connect .*PLATELAKE_SQL_URL",
        ),
        (
            lambda url: url.set(password="wrong-secret"),
            r"SQL database test_\d+ at 127\.0\.0\.1:\d+: Access denied .*PLATELAKE_SQL_URL",
        ),
        (
            lambda url: url.set(database="nowhere"),
            r"SQL database nowhere at .*: Unknown database .*PLATELAKE_SQL_URL",
        ),
    ],
)
def test_a_database_that_refuses_is_named(
    mariadb_url: str, change: Callable[[sa.URL], sa.URL], said: str
) -> None:
    address = sa.make_url(mariadb_url)
    wrong = change(address)
    with pytest.raises(SqlError, match=said) as caught:
        SummaryStore(wrong.render_as_string(hide_password=False))
    assert not is_transient(caught.value)
    _assert_no_password(caught.value, str(address.password), str(wrong.password))


def test_a_database_that_goes_away_is_named(mariadb_server: MariaDB, mariadb_url: str) -> None:
    store = SummaryStore(mariadb_url)
    address = sa.make_url(mariadb_url)
    mariadb_server.execute(f"DROP TABLE {address.database}.lots")
    with pytest.raises(
        SqlError, match=r"SQL database test_\d+ at .*lots.* doesn't exist"
    ) as caught:
        store.count("plate", LOTS)
    _assert_no_password(caught.value, str(address.password))
    store.close()


def _assert_no_password(error: BaseException | None, *passwords: str) -> None:
    while error is not None:
        assert not any(password in str(error) for password in passwords)
        error = error.__cause__ if error.__suppress_context__ else error.__context__


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@h/d",
        "mysql://u:secret@h/d",
        "u:secret@h",
        "mysql+pymysql://u:secret@h",
        "mysql+pymysql://u:p@secret@h/d",
        "mysql+pymysql://u:p@h/secret@h/d",
    ],
)
def test_an_address_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(SettingError, match="sql_url") as caught:
        SummaryStore(url)
    _assert_no_password(caught.value, "secret")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SqlError, match=r"SQLite file .*summaries\.db: its folder cannot be made"):
        SummaryStore(f"sqlite:///{tmp_path / 'file' / 'summaries.db'}")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "summaries.db"
    file.write_text("no database" * 1_000)
    with pytest.raises(SqlError, match=r"SQLite file .*summaries\.db: file is not a database"):
        SummaryStore(f"sqlite:///{file}")


def test_a_schema_of_the_future_is_refused(store: SummaryStore, sql_url: str) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE platelake_version SET version_num = 'r9999'")
    with pytest.raises(SqlError, match=r"schema that this platelake does not know.*r9999"):
        SummaryStore(sql_url)


def test_the_state_tells_when_in_utc(store: SummaryStore) -> None:
    before = datetime.now(UTC).replace(tzinfo=None)
    sync(store, lots(1), version=0, expected=1)
    at = everything(store)[-1][-1]
    assert isinstance(at, datetime)
    assert before <= at <= datetime.now(UTC).replace(tzinfo=None)


def test_a_run_is_mirrored(store: SummaryStore) -> None:
    row: dict[str, object] = dict.fromkeys(RUNS.names, 1)
    row |= {"run_id": "r", "jobs": "", "reconciled": True}
    row |= {"started_at": datetime(2024, 1, 1), "ended_at": datetime(2024, 1, 2)}
    store.mirror(
        "plate",
        RUNS,
        source_id="r",
        version=0,
        upserts=batches(RUNS, [row]),
        deletes=[],
        whole=False,
        expected_rows=1,
    )
    assert store.rows("plate", RUNS) == [row]


def test_a_reader_of_a_sqlite_file_holds_no_writer_back(tmp_path: Path) -> None:
    file = tmp_path / "summaries.db"
    database = Database(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as reader:
        assert reader.execute("BEGIN").execute("SELECT count(*) FROM runs").fetchone() == (0,)
        start = time.monotonic()
        with database.transaction(write=True) as connection:
            connection.execute(serving.tables.audit.insert(), AUDIT)
        assert time.monotonic() - start < 30
        assert reader.execute("SELECT count(*) FROM audit").fetchone() == (0,)
        reader.commit()
        assert reader.execute("SELECT count(*) FROM audit").fetchone() == (1,)


def test_a_sqlite_file_in_use_changes_its_mode_later(tmp_path: Path) -> None:
    file = tmp_path / "summaries.db"
    with closing(sqlite3.connect(file)) as reader, closing(sqlite3.connect(file)) as other:
        reader.execute("CREATE TABLE one (n)")
        reader.execute("BEGIN").execute("SELECT * FROM one").fetchall()
        start = time.monotonic()
        _use_wal(other, None)
        assert time.monotonic() - start < 30
        assert other.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        reader.rollback()
        _use_wal(other, None)
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
