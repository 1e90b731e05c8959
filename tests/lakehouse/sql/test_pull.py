"""What the app wrote to SQL comes to the lake by the sync, each row once."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from lakehouse.sql.database import Database
from lakehouse.tables import COLLECTED
from lakehouse.tables.agreed_labels import AGREED_LABELS
from lakehouse.tables.corrections import CORRECTIONS
from lakehouse.tables.inspections import INSPECTIONS
from serving.access.sessions import User
from serving.records.inspections import Inspection, Records
from serving.records.outbox import Outbox
from serving.records.review import Review
from serving.tables import metadata
from tests.conftest import Chain

MOMENT = datetime(2026, 11, 25, 15, 30, 0, 123456)
ONE = Inspection(
    "chromate", "a" * 32, MOMENT, "kim", "부품 1.png", "5" * 64, 10, date(2021, 9, 6), "17", 3,
    "chromate-photos", "6" * 64, "good", 0.25, 0.3, 0.7, "heat", False,
)  # fmt: skip


def test_the_sql_tables_have_the_columns_of_the_lakes() -> None:
    for table in COLLECTED:
        own = metadata.tables[table.name].columns.keys()
        assert own == ["stage", *table.names]


@pytest.fixture
def records(chain: Chain, sql_url: str, tmp_path: Path) -> Iterator[Records]:
    chain.options["sql_url"] = sql_url
    outbox = Outbox(tmp_path / "outbox.db")
    (chain.landing / "a.txt").write_text("The landing zone is not empty.")
    chain.work("sync")
    yield Records(Database(sql_url), outbox)
    outbox.close()


def test_the_apps_rows_come_to_the_lake_once(chain: Chain, records: Records) -> None:
    records.save(ONE)
    records.save(replace(ONE, stage="other", inspection_id="b" * 32))
    review = Review(records.database, "chromate")
    for n, name in enumerate(("ann", "ben")):
        review.correct(User(n, name, "reviewer"), ONE, "bad", "seen it")
    chain("sync")
    lake = chain.lake()
    (row,) = lake.rows(INSPECTIONS)
    expected = asdict(ONE) | {"inspected_at": MOMENT.replace(tzinfo=UTC)}
    del expected["stage"]
    assert row == expected
    assert {c["user_name"] for c in lake.rows(CORRECTIONS)} == {"ann", "ben"}
    (label,) = lake.rows(AGREED_LABELS)
    assert (label["label"], label["sha256"]) == ("bad", ONE.sha256)
    versions = [lake.version(table) for table in COLLECTED]
    chain("sync")
    assert [lake.version(table) for table in COLLECTED] == versions
    earlier = replace(ONE, inspection_id="0" * 32, inspected_at=MOMENT.replace(year=2025))
    records.save(earlier)  # It had waited for SQL.
    chain("sync")
    assert len(lake.rows(INSPECTIONS)) == 2
