"""The outbox: an inspection is on the disk before anybody is told of it, and comes to SQL once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from lakehouse.sql.database import Database, SqlError
from serving.access.sessions import User
from serving.records.inspections import Inspection, Inspections, Records, Search
from serving.records.outbox import Outbox
from serving.tables import inspections as table

ONE = Inspection(
    stage="chromate",
    inspection_id="1f",
    inspected_at=datetime(2021, 9, 6, 7, 0, 1),
    user_name="kim",
    file_name="부품 1.png",
    sha256="a" * 64,
    size=7,
    day=date(2021, 9, 6),
    lot="3",
    model_version=1,
    model="chromate-photos",
    model_sha256="b" * 64,
    verdict="bad",
    probability=0.75,
    low=0.25,
    high=0.5,
    heat="aGVhdA==",
    sampled=False,
)
KIM = User(1, "kim", "operator")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    found = Outbox(tmp_path / "app" / "outbox.db")
    yield found
    found.close()


@pytest.fixture
def records(tmp_path: Path, outbox: Outbox) -> Records:
    return Records(Database(f"sqlite:///{tmp_path / 'sql' / 'app.db'}"), outbox)


def found(records: Records) -> list[Inspection]:
    stage = Inspections(records.database, "chromate", ZoneInfo("Asia/Seoul"))
    return stage.search(Search(), KIM)[0]


def test_an_inspection_waits_on_the_disk_while_sql_is_away(
    records: Records, tmp_path: Path
) -> None:
    file, away = tmp_path / "sql" / "app.db", tmp_path / "sql" / "away.db"
    records.database.engine.dispose()
    file.rename(away)
    file.mkdir()  # What cannot be opened.
    assert records.save(ONE) is False
    assert records.find(ONE.inspection_id) == ONE
    with pytest.raises(SqlError):
        records.deliver()
    restarted = Outbox(tmp_path / "app" / "outbox.db")
    assert [(key, name) for key, name, _ in restarted.waiting()] == [("1f", table.name)]
    restarted.close()

    file.rmdir()
    away.rename(file)
    assert (records.deliver(), records.deliver()) == (1, 0)
    assert records.outbox.count() == 0
    assert found(records) == [ONE]


def test_an_inspection_that_sql_has_does_not_wait(records: Records) -> None:
    assert records.save(ONE) is True
    assert records.outbox.count() == 0
    records.outbox.put("1f", table.name, vars(ONE))  # Its sender did not hear of it.
    assert records.deliver() == 1
    assert found(records) == [ONE]


def test_a_row_that_sql_refuses_waits_and_holds_no_other_back(records: Records) -> None:
    poison = vars(replace(ONE, inspection_id="poison")) | {"user_name": None}
    records.outbox.put("poison", table.name, poison)
    records.outbox.put("1f", table.name, vars(ONE))
    assert records.deliver() == 1
    assert [key for key, _, _ in records.outbox.waiting()] == ["poison"]
    assert found(records) == [ONE]
