"""What Spark computes of many rows is what this process computes of few."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse.delta import engine
from lakehouse.stage import Stage
from lakehouse.tables.doubted_days import DOUBTED_DAYS
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings
from tests.conftest import Chain
from tests.digest import differences, digests
from tests.plant import sensor_lines, write_errors, write_sensor

JOBS = (
    *("ingest_readings", "ingest_error_lists"),
    *("label", "features", "summarise"),
)


def first_delivery(landing: Path) -> None:
    """Sound files, and each kind of row that is held back."""
    for day in (6, 7, 8):
        write_sensor(landing, date(2021, 9, day), sensor_lines(level=day / 2))
    lines = sensor_lines(lots=(1, 2), level=6.0)
    bad = [lines[1] + ",more", *(lines[1].replace(lines[1].split(",")[at], "?") for at in range(5))]
    write_sensor(landing, date(2021, 9, 9), [*lines, *bad, lines[1]])
    write_errors(landing, {"2021-09-06": ["1"], "2021-09-07": [], "no date": ["2"]})


def second_delivery(landing: Path) -> None:
    """A copy of a file that is then corrected, a file with rows that are there, a new list."""
    [old] = landing.glob("sensor/*2021.09.07*")
    shutil.copy(old, landing / "sensor" / f"copy-{old.name}")
    write_sensor(landing, date(2021, 9, 7), sensor_lines(level=5.0))
    [other] = landing.glob("sensor/*2021.09.08*")
    text = other.read_text(encoding="utf-8")
    (landing / "sensor" / f"again-{other.name}").write_text(text + text.splitlines()[-1])
    write_errors(landing, {"2021-09-06": ["2"], "2021-09-7?": ["1"], "2021-09-08": ["1", "3"]})


def test_by_spark_the_tables_are_the_same(
    spark: SparkSession, chain: Chain, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_spark = Chain(chain.landing, chain.lake_folder.with_name("by-spark"))
    deliveries: tuple[Callable[[Path], None], ...] = (first_delivery, second_delivery)
    for deliver in deliveries:
        deliver(chain.landing)
        chain.work(*JOBS)
        with monkeypatch.context() as many:
            many.setenv("PLATELAKE_HERE_BYTES", "0")
            many.setenv("PLATELAKE_HERE_ROWS", "0")
            by_spark.work(*JOBS)
        one, other = chain.lake(), by_spark.lake()
        found, expected = digests(other, stage), digests(one, stage)
        names = [name for name in expected if found[name] != expected[name]]
        tables = {table.name: table for table in (QUARANTINE, DOUBTED_DAYS)}
        said = [differences(one, other, tables[name]) for name in names if name in tables]
        assert not names, said
    rules = {row["rule"] for row in chain.lake().rows(QUARANTINE)}
    assert {"torn_row", "lot", "time", "number", "duplicate_key", "superseded"} <= rules
    assert chain.lake().count(DOUBTED_DAYS)


def test_in_slices_the_tables_are_the_same(
    chain: Chain, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As much at a time as fits into memory: here one file, and one day."""
    sliced = Chain(chain.landing, chain.lake_folder.with_name("sliced"))
    for deliver in (first_delivery, second_delivery):
        deliver(chain.landing)
        chain.work(*JOBS)
        with monkeypatch.context() as little:
            little.setattr(engine, "BYTES_AT_ONCE", 1)
            little.setattr(engine, "ROWS_AT_ONCE", 1)
            sliced.work(*JOBS)
        assert digests(sliced.lake(), stage) == digests(chain.lake(), stage)
    versions = sliced.lake().version(readings(stage)), chain.lake().version(readings(stage))
    assert versions[0] > versions[1], "all files came in one commit"


def test_slices() -> None:
    assert engine.in_slices("", [], 3) == []
    assert engine.in_slices("abcde", [1, 2, 1, 9, 1], 3) == [["a", "b"], ["c"], ["d"], ["e"]]
