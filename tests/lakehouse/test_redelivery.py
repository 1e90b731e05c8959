"""Files delivered again, under other names, changed and back: each row is there once."""

from datetime import date
from pathlib import Path

import pytest

from lakehouse.stage import Stage
from lakehouse.tables.files import FILES
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings
from tests.conftest import Chain
from tests.digest import digest, versions
from tests.plant import sensor_lines, sensor_name, write_sensor

DAY = date(2021, 9, 6)
INGEST = ("ingest_readings",)


def levels(chain: Chain, stage: Stage) -> list[float]:
    """The first pH of each stored lot."""
    rows = chain.lake().rows(readings(stage), "lot", "line", "ph")
    return sorted(row["ph"] for row in rows if row["line"] in (2, 5))


def states(chain: Chain) -> dict[str, str]:
    rows = sorted(chain.lake().rows(FILES), key=lambda row: row["event"])
    return {row["file"].removeprefix("sensor/"): row["status"] for row in rows}


def test_redelivery(chain: Chain, stage: Stage) -> None:
    """One story, since each step needs the one before."""
    file = write_sensor(chain.landing, DAY)
    chain(*INGEST)
    first, at_first = digest(chain.lake(), readings(stage)), versions(chain.lake(), stage)

    # Again: nothing new, no version.
    found = chain(*INGEST)
    assert found["files"] == dict(seen=0, loaded=0, duplicate=0, quarantined=0, known=1)
    assert versions(chain.lake(), stage) == at_first

    # Touched, with the same content: still nothing.
    file.touch()
    assert chain(*INGEST)["files"]["known"] == 1
    assert versions(chain.lake(), stage) == at_first

    # The same content under another name: a duplicate, said so; no row.
    copy = chain.landing / "sensor" / f"copy-{file.name}"
    copy.write_bytes(file.read_bytes())
    assert chain(*INGEST)["files"]["duplicate"] == 1
    assert digest(chain.lake(), readings(stage)) == first
    (event,) = [row for row in chain.lake().rows(FILES) if row["status"] == "duplicate"]
    assert event["duplicate_of"] == f"sensor/{file.name}"

    # Other content under the first name: its rows are replaced in one version, and the copy,
    # which has the first content, takes over. Its keys are the same, so it is held back now.
    before = chain.lake().version(readings(stage))
    write_sensor(chain.landing, DAY, sensor_lines(level=5.0))
    chain(*INGEST)
    assert chain.lake().version(readings(stage)) == before + 1
    assert states(chain) == {file.name: "loaded", copy.name: "loaded"}
    held_back = chain.lake().rows(QUARANTINE)
    total = len(chain.lake().rows(readings(stage))) + len(held_back)
    assert (total, {row["rule"] for row in held_back}) == (12, {"duplicate_key"})

    # The history keeps both: the old version can be read.
    old = chain.lake().read(readings(stage), before).select("ph").collect()
    assert min(row["ph"] for row in old) == 2.0

    # Back to the first content.
    write_sensor(chain.landing, DAY)
    copy.unlink()
    chain(*INGEST)
    assert levels(chain, stage) == [2.0, 2.0]


def test_the_same_key_from_another_file_is_held_back(chain: Chain, stage: Stage) -> None:
    write_sensor(chain.landing, DAY)
    chain(*INGEST)
    extra = [*sensor_lines(), "7,3,오후 5:00:00.0,2.0,40,16"]
    other = write_sensor(chain.landing, DAY, extra)
    other.rename(other.with_name("later-" + sensor_name(DAY)))
    write_sensor(chain.landing, DAY)
    found = chain(*INGEST)
    assert (found["readings"], found["quarantined"]) == (7, 6)
    rules = {row["rule"] for row in chain.lake().rows(QUARANTINE)}
    assert rules == {"duplicate_key"}


@pytest.mark.parametrize("name", ["it's here", "a `b` \\ c", "열 처리 '오후'", "%20;DROP", "-- x"])
def test_file_names_are_data(tmp_path: Path, chain: Chain, stage: Stage, name: str) -> None:
    write_sensor(chain.landing, DAY).rename(chain.landing / "sensor" / f"{name} {sensor_name(DAY)}")
    found = chain(*INGEST)
    assert (found["readings"], found["files"]["loaded"]) == (6, 1)
    assert chain(*INGEST)["files"]["known"] == 1
