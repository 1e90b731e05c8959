"""Files delivered again, under other names, changed and back: each row is there once."""

import os
import time
from datetime import date
from pathlib import Path

import pytest

from jobs.runner import do_jobs
from lakehouse.stage import Stage
from lakehouse.tables.files import FILES
from lakehouse.tables.lots import LOTS
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings
from tests.conftest import Chain
from tests.digest import digest, versions
from tests.plant import sensor_lines, sensor_name, write_errors, write_sensor

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
    # which has the first content, takes over. What was corrected is held back.
    before = chain.lake().version(readings(stage))
    write_sensor(chain.landing, DAY, sensor_lines(level=5.0))
    chain(*INGEST)
    assert chain.lake().version(readings(stage)) == before + 1
    assert states(chain) == {file.name: "loaded", copy.name: "loaded"}
    held_back = chain.lake().rows(QUARANTINE)
    total = len(chain.lake().rows(readings(stage))) + len(held_back)
    assert (total, {row["rule"] for row in held_back}) == (12, {"superseded"})
    assert {row["file"] for row in held_back} == {f"sensor/{copy.name}"}
    assert levels(chain, stage) == [5.0, 5.0]

    # The history keeps both: the old version can be read.
    old = chain.lake().load(readings(stage), before)
    assert min(old["ph"].to_pylist()) == 2.0

    # A second correction, and all read again: still the correction.
    write_sensor(chain.landing, DAY, sensor_lines(level=6.0))
    chain(*INGEST)
    again = chain.work("ingest_error_lists")
    again.again = {"readings": frozenset({f"sensor/{file.name}", f"sensor/{copy.name}"})}
    do_jobs(INGEST, again)
    assert levels(chain, stage) == [6.0, 6.0]
    assert {row["rule"] for row in chain.lake().rows(QUARANTINE)} == {"superseded"}

    # Back to the first content: the first name holds it again, though the copy is gone.
    write_sensor(chain.landing, DAY)
    copy.unlink()
    chain(*INGEST)
    assert levels(chain, stage) == [2.0, 2.0]
    assert states(chain) == {file.name: "loaded", copy.name: "duplicate"}
    assert chain.lake().rows(QUARANTINE) == []


def failed(chain: Chain) -> set[str]:
    return {row["lot"] for row in chain.lake().rows(LOTS) if row["label"] == "failed"}


LISTS = ("ingest_readings", "ingest_error_lists", "label")
LONG_AGO, AT_ONCE = -3600, 3600
"""Seconds from now to a file's time stamp: one that a run believes, one that it never does."""


def stamp(file: Path, seconds: int) -> None:
    os.utime(file, (time.time() + seconds,) * 2)


@pytest.mark.parametrize("modified", [LONG_AGO, AT_ONCE])
@pytest.mark.parametrize("when", ["before", "with the correction"])
def test_a_superseded_error_list_does_not_come_back_through_its_copy(
    chain: Chain, when: str, modified: int
) -> None:
    """Its days that the correction does not hold stay judged: it may be a list put aside.

    How soon a run follows a change of the files does not matter.
    """
    for day in (6, 7):
        write_sensor(chain.landing, date(2021, 9, day), sensor_lines(lots=(1, 2, 3), level=day))
    original = write_errors(chain.landing, {"2021-09-06": ["1"], "2021-09-07": ["3"]})
    stamp(original, modified)
    copy = chain.landing / "Error Lot list backup.csv"
    if when == "with the correction":
        chain(*LISTS)
    copy.write_bytes(original.read_bytes())
    stamp(copy, modified)
    if when == "before":
        chain(*LISTS)
    assert when != "before" or failed(chain) == {"1", "3"}
    write_errors(chain.landing, {"2021-09-06": ["2"]})
    for _ in range(2):
        chain(*LISTS)
        assert failed(chain) == {"2", "3"}
        held_back = [(row["file"], row["rule"]) for row in chain.lake().rows(QUARANTINE)]
        assert held_back == [(copy.name, "superseded")]

    # The second correction holds the other day too: the copy has none left.
    write_errors(chain.landing, {"2021-09-06": ["2"], "2021-09-07": ["1"]})
    chain(*LISTS)
    assert failed(chain) == {"1", "2"}

    # The corrected list is taken back: the copy is all there is.
    write_errors(chain.landing, {})
    chain(*LISTS)
    assert failed(chain) == {"1", "3"}
    assert [row["rule"] for row in chain.lake().rows(QUARANTINE)] == ["header_only"]


def test_a_list_put_aside_before_the_next_is_begun_counts(chain: Chain) -> None:
    for day in (6, 7):
        write_sensor(chain.landing, date(2021, 9, day), sensor_lines(lots=(1, 2, 3), level=day))
    write_errors(chain.landing, {"2021-09-06": ["1"]}).rename(
        chain.landing / "Error Lot list old.csv"
    )
    chain(*LISTS)
    write_errors(chain.landing, {"2021-09-06": ["1"]})
    chain(*LISTS)
    write_errors(chain.landing, {"2021-09-07": ["2"]})
    found = chain(*LISTS)
    assert failed(chain) == {"1", "2"}
    assert (found["lots_unknown"], found["quarantined"]) == (0, 0)


def test_a_delivery_that_cannot_be_read_removes_nothing(chain: Chain, stage: Stage) -> None:
    """A link that leads nowhere for a moment; a copy beside it does not take over meanwhile.

    Another has never been readable: it is held back, and comes in when it can be read.
    """
    never = chain.landing / "sensor" / sensor_name(date(2021, 9, 7))
    never.parent.mkdir()
    never.symlink_to("/nowhere")
    lines = [*sensor_lines(), "7,L-7,오후 5:00:00.0,2.0,40,16"]
    file = write_sensor(chain.landing, DAY, lines)
    copy = chain.landing / "sensor" / f"copy-{file.name}"
    copy.write_bytes(file.read_bytes())
    chain("ingest_readings")
    holder = file if states(chain)[file.name] == "loaded" else copy
    content, before = holder.read_bytes(), digest(chain.lake(), readings(stage))
    holder.unlink()
    holder.symlink_to("/nowhere")
    for _ in range(2):
        found = chain(*INGEST)
        assert (found["readings"], found["quarantined"]) == (6, 3)
        assert digest(chain.lake(), readings(stage)) == before
    entries = {row["line"]: row for row in chain.lake().rows(QUARANTINE)}
    assert {line: entry["rule"] for line, entry in entries.items()} == {8: "lot", 0: "unreadable"}
    assert entries[0]["reason"] == "cannot be read: No such file or directory"
    assert found["files"] == dict(seen=0, loaded=0, duplicate=0, quarantined=0, known=3)

    holder.unlink()
    holder.write_bytes(content)
    never.unlink()
    chain(*INGEST)
    assert digest(chain.lake(), readings(stage)) == before
    held_back = [row["rule"] for row in chain.lake().rows(QUARANTINE)]
    assert sorted(held_back) == ["lot", "unreadable"]
    never.write_bytes(content)
    chain(*INGEST)
    assert [row["rule"] for row in chain.lake().rows(QUARANTINE)] == ["lot", "lot"]
    assert sorted(states(chain).values()) == ["duplicate", "loaded", "loaded"]  # Of two days.


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


@pytest.mark.parametrize(
    "name",
    [
        "it's here",
        "a `b` \\ c",
        "열 처리 '오후'",
        "%20;DROP",
        "-- x",
        "a\nb",
        '"',
        "..",
        "..a..\\'",
    ],
)
def test_file_names_are_data(tmp_path: Path, chain: Chain, stage: Stage, name: str) -> None:
    write_sensor(chain.landing, DAY).rename(chain.landing / "sensor" / f"{name} {sensor_name(DAY)}")
    found = chain(*INGEST)
    assert (found["readings"], found["files"]["loaded"]) == (6, 1)
    assert chain(*INGEST)["files"]["known"] == 1
