"""The outbox: an inspection is on the disk before anybody is told of it, and comes to SQL once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from lakehouse.sql.database import Database, SqlError
from serving.access.sessions import User
from serving.records.inspections import Inspection, Inspections, Search
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
def inspections(tmp_path: Path, outbox: Outbox) -> Inspections:
    database = Database(f"sqlite:///{tmp_path / 'sql' / 'app.db'}")
    return Inspections(database, outbox, "chromate", ZoneInfo("Asia/Seoul"))


def found(inspections: Inspections) -> list[Inspection]:
    return inspections.search(Search(), KIM)[0]


def test_an_inspection_waits_on_the_disk_while_sql_is_away(
    inspections: Inspections, tmp_path: Path
) -> None:
    file, away = tmp_path / "sql" / "app.db", tmp_path / "sql" / "away.db"
    inspections.database.engine.dispose()
    file.rename(away)
    file.mkdir()  # What cannot be opened.
    assert inspections.save(ONE) is False
    assert inspections.find(ONE.inspection_id) == ONE
    with pytest.raises(SqlError):
        inspections.deliver()
    restarted = Outbox(tmp_path / "app" / "outbox.db")
    assert [(key, name) for key, name, _ in restarted.waiting()] == [("1f", table.name)]
    restarted.close()

    file.rmdir()
    away.rename(file)
    assert (inspections.deliver(), inspections.deliver()) == (1, 0)
    assert inspections.outbox.count() == 0
    assert found(inspections) == [ONE]


def test_an_inspection_that_sql_has_does_not_wait(inspections: Inspections) -> None:
    assert inspections.save(ONE) is True
    assert inspections.outbox.count() == 0
    inspections.outbox.put("1f", table.name, vars(ONE))  # Its sender did not hear of it.
    assert inspections.deliver() == 1
    assert found(inspections) == [ONE]


def test_a_row_that_sql_refuses_waits_and_holds_no_other_back(inspections: Inspections) -> None:
    poison = vars(replace(ONE, inspection_id="poison")) | {"user_name": None}
    inspections.outbox.put("poison", table.name, poison)
    inspections.outbox.put("1f", table.name, vars(ONE))
    assert inspections.deliver() == 1
    assert [key for key, _, _ in inspections.outbox.waiting()] == ["poison"]
    assert found(inspections) == [ONE]
