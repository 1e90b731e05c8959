"""Compaction and vacuum: fewer files, the same rows, and nothing to do the second time."""

import os
import time
from datetime import date

import pytest

from lakehouse.tables.readings import readings
from tests.conftest import Chain
from tests.digest import digests, versions
from tests.plant import sensor_lines, write_errors, write_sensor

pytestmark = pytest.mark.heavy

DAYS = (date(2021, 9, 6), date(2021, 9, 7), date(2021, 9, 8))


def test_fewer_files_and_the_same_rows(chain: Chain) -> None:
    work = None
    for level, day in enumerate(DAYS, start=2):
        write_sensor(chain.landing, day, sensor_lines(level=level))
        write_errors(chain.landing, {f"{day}": ["1"]})
        work = chain.work()
    assert work is not None
    lake, stage, table = work.lake, work.stage, readings(work.stage)
    rows, files = digests(lake, stage), len(lake.file_sizes(table))
    folder = chain.lake_folder / "chromate" / table.name
    eight_days_ago = time.time() - 8 * 24 * 3600
    for name in ("left-by-a-crash.parquet", "being-written.parquet"):
        (folder / name).write_bytes(b"rows that no version names")
    os.utime(folder / "left-by-a-crash.parquet", (eight_days_ago, eight_days_ago))

    chain.work("maintain")

    assert files > 1
    assert len(lake.file_sizes(table)) == 1
    assert digests(lake, stage) == rows
    assert not (folder / "left-by-a-crash.parquet").exists()
    assert (folder / "being-written.parquet").exists()
    assert lake.count(table, version=1) > 0, "a version within the retention is gone"
    before = versions(lake, stage)
    chain.work("maintain")
    assert versions(lake, stage) == before

    chain.work()  # computed tables note the compacted versions of their sources, once
    assert digests(lake, stage) == rows
    before = versions(lake, stage)
    chain.work()
    assert versions(lake, stage) == before
