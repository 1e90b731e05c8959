"""The main job as a whole: a made plant of another stage, and the real one."""

import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import NoReturn

import pytest

import jobs.runner
from jobs.backfill import run_backfill
from jobs.options import Options
from jobs.quarantine import replay
from lakehouse.delta.lake import Lake
from lakehouse.sql.summaries import SummaryStore
from lakehouse.stage import load_stage
from lakehouse.table import Table
from lakehouse.tables import MIRRORED
from lakehouse.tables.label_report import LABEL_REPORT
from lakehouse.tables.lots import LOTS
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings
from lakehouse.tables.runs import RUNS
from lakehouse.tables.variable_days import VARIABLE_DAYS
from tests.conftest import REAL, Chain
from tests.digest import digests, versions
from tests.plant import sensor_lines, write_errors, write_photo, write_sensor

COUNTS = {
    "readings": 50_094,
    "lots": 726,
    "lots_failed": 9,
    "lots_good": 717,
    "lots_unknown": 0,
    "pictures": 46,
    "quarantined": 0,
}

OTHER_STAGE = """
title = "Electroplating"
time_zone = "Asia/Seoul"

[readings]
files = "*/electro*.csv"
delimiter = ";"
lot = "Process"
time = "Time"
clock = "24h"
date = { column = "Date", format = "%d.%m.%y" }

[[readings.variables]]
name = "current"
column = ["Current", "Ampere"]
unit = "A"
minimum = 0
maximum = 500

[error_lists]
files = "errors.csv"
date = "Date"
lots = ["LoT*"]
"""


def test_another_stage_is_another_file(tmp_path: Path, chain: Chain) -> None:
    """One file for all days with a Date column, Process as the lot, another delimiter and clock,
    twelve lot columns: configuration, not code."""
    file = tmp_path / "electroplating.toml"
    file.write_text(OTHER_STAGE)
    data = chain.landing / "data"
    data.mkdir()
    rows = [f"06.09.21;{9 + n}:00:00;{n % 2 + 1}.0;{100 + n}" for n in range(4)]
    rows += [f"7.9.21;0:0:{n};3;{100 + n},5".replace(",", ".") for n in range(3)]
    (data / "electro.csv").write_text("\n".join(["Date;Time;Process;Ampere", *rows]))
    twelve = ",".join(f"LoT{n}" for n in range(1, 13))
    (chain.landing / "errors.csv").write_text(
        f"Index,Date,{twelve}\n1,2021-09-06,,,,,,,,,,,,2.0\n2,2021-09-07{',' * 12}\n"
    )
    found = chain(stage=None, stage_file=file)
    stage = load_stage(None, file)
    lake = chain.work("summarise", stage=None, stage_file=file).lake
    lots = {(str(r["day"]), r["lot"]): r["label"] for r in lake.rows(LOTS)}
    assert (found["readings"], found["pictures"], found["quarantined"]) == (7, 0, 0)
    assert lots == {
        ("2021-09-06", "1"): "good",
        ("2021-09-06", "2"): "failed",
        ("2021-09-07", "3"): "good",
    }
    assert min(r["measured_at"] for r in lake.rows(readings(stage))).isoformat() == (
        "2021-09-06T00:00:00+00:00"
    )
    days = {str(r["day"]): (r["unit"], r["mean"]) for r in lake.rows(VARIABLE_DAYS)}
    assert days == {"2021-09-06": ("A", 101.5), "2021-09-07": ("A", 101.5)}


def test_sql_equals_the_lake(chain: Chain, sql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite and on MariaDB; a correction and a removal reach both."""
    monkeypatch.setenv("PLATELAKE_SQL_URL", sql_url)
    for day in (6, 7):
        write_sensor(chain.landing, date(2021, 9, day), sensor_lines(level=day / 2))
    write_errors(chain.landing, {"2021-09-06": ["1"]})
    write_photo(chain.landing, "good/a.png", 1)
    chain()
    write_errors(chain.landing, {"2021-09-06": ["2"], "2021-09-07": []})
    write_sensor(chain.landing, date(2021, 9, 7), sensor_lines(lots=(1,), level=5))
    found = chain()
    lake, store = chain.lake(), SummaryStore(sql_url)
    try:
        for table in MIRRORED:
            assert found["sql"][table.name] == mirrored(lake, store, table)
    finally:
        store.close()


def test_a_run_that_finds_nothing_new_starts_no_spark(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row of `runs` is written, and brought to SQL, by delta-rs."""
    write_sensor(chain.landing, date(2021, 9, 6))
    write_errors(chain.landing, {"2021-09-06": ["1"]})
    write_photo(chain.landing, "good/a.png", 1)
    chain()

    monkeypatch.setattr(jobs.runner, "session", no_spark)
    for runs in (2, 3):
        found = chain()
        assert found["files"] == dict(seen=0, loaded=0, duplicate=0, quarantined=0, known=3)
        assert found["sql"]["runs"] == runs == chain.lake().count(RUNS)
    rows = sorted(chain.lake().rows(RUNS), key=lambda row: row["started_at"])
    ids = [row["run_id"] for row in rows]
    assert ids[-1] == found["run"] and len(set(ids)) == 3


def test_a_lake_that_has_nothing_yet_starts_no_spark(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    (chain.landing / "notes.txt").touch()
    monkeypatch.setattr(jobs.runner, "session", no_spark)
    rows = chain()["sql"]
    assert rows.pop("runs") == 1 and not any(rows.values())


def no_spark() -> NoReturn:
    raise AssertionError("nothing is new")


def mirrored(lake: Lake, store: SummaryStore, table: Table) -> int:
    """The table's rows, which SQL has too, in every column."""
    mine = [{k: plain(v) for k, v in row.items()} for row in lake.rows(table)]
    theirs = store.rows("chromate", table)
    assert sorted(map(repr, mine)) == sorted(map(repr, theirs)), table.name
    return len(mine)


def plain(value: object) -> object:
    return value.replace(tzinfo=None) if hasattr(value, "tzinfo") else value  # type: ignore[attr-defined]


def test_replay_and_backfill(
    chain: Chain,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A rule too narrow is mended and replayed; a backfill changes no row."""
    conf = tmp_path / "conf"
    shutil.copytree(Path(__file__).parents[1] / "conf", conf)
    stage_file = conf / "stages" / "chromate.toml"
    right = stage_file.read_text()
    stage_file.write_text(right.replace("maximum = 14", "maximum = 2.015"))
    monkeypatch.setenv("PLATELAKE_CONF", str(conf))
    for day in (6, 7):
        write_sensor(chain.landing, date(2021, 9, day), sensor_lines(level=1 + day / 6))
    write_errors(chain.landing, {"2021-09-06": ["1"], "2021-09-07": []})
    found = chain()
    held = [row["quarantine_id"] for row in chain.lake().rows(QUARANTINE)]
    assert (found["readings"], len(held)) == (4, 8)
    stage_file.write_text(right)
    options = Options("chromate", None, str(chain.landing), str(chain.lake_folder))

    # A file that has come since has no part in a replay, of one file or of all.
    unrelated = write_sensor(chain.landing, date(2021, 9, 8), sensor_lines(lots=(9,)))
    capsys.readouterr()
    for only, counts in (["sensor/kemp-abh-sensor-2021.09.06.csv"], (8, 6)), ([], (6, 0)):
        replay(options, only)
        table = capsys.readouterr().out.splitlines()
        (line,) = [line for line in table if "quarantined" in line]
        assert re.findall(r"\d+", line) == [str(count) for count in counts]
        (line,) = [line for line in table if "readings" in line]
        assert re.findall(r"\d+", line) == [str(12 - count) for count in counts]
    unrelated.unlink()
    again = chain()
    assert (again["readings"], again["quarantined"], again["lots_failed"]) == (12, 0, 1)
    stage = load_stage("chromate")
    expected = digests(chain.lake(), stage)
    replay(options, [])  # nothing is held back: nothing happens
    assert digests(chain.lake(), stage) == expected

    for _ in range(2):
        days = Options(
            "chromate",
            None,
            str(chain.landing),
            str(chain.lake_folder),
            None,
            *([date(2021, 9, 6)] * 2),
        )
        work = run_backfill(days)
        assert (work.counts.seen, work.counts.rows_read) == (2, 8)  # that day's file, and the list
        assert digests(chain.lake(), stage) == expected


def test_a_backfill_reads_again_what_is_held_back(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day whose every row, and a list whose only row, broke a rule that is mended since."""
    conf = tmp_path / "conf"
    shutil.copytree(Path(__file__).parents[1] / "conf", conf)
    stage_file = conf / "stages" / "chromate.toml"
    right = stage_file.read_text()
    wrong = right.replace("maximum = 14", "maximum = 1").replace('date = ["0"', 'date = ["5"')
    stage_file.write_text(wrong)
    monkeypatch.setenv("PLATELAKE_CONF", str(conf))
    for day in (6, 7):
        write_sensor(chain.landing, date(2021, 9, day), sensor_lines(level=day))
    write_errors(chain.landing, {"2021-09-06": ["1"]})
    (chain.landing / "photos" / "good").mkdir(parents=True)
    (chain.landing / "photos" / "good" / "a.png").write_text("no picture")
    assert chain("ingest_readings", "ingest_error_lists", "ingest_photos")["readings"] == 0
    stage_file.write_text(right)
    days = [date(2021, 9, 6)] * 2
    where = ("chromate", None, str(chain.landing), str(chain.lake_folder))
    work = run_backfill(Options(*where, None, *days))
    assert work.again == {
        "readings": {"sensor/kemp-abh-sensor-2021.09.06.csv"},
        "error_lists": {"Error Lot list.csv"},
        "photos": {"photos/good/a.png"},
    }
    lots = {(str(row["day"]), row["lot"]): row["label"] for row in work.lake.rows(LOTS)}
    assert lots == {("2021-09-06", "1"): "failed", ("2021-09-06", "2"): "good"}


def test_the_real_plant(module_chain: Chain, chromate: Path, tmp_path: Path) -> None:
    """33 days of readings, their error list and 46 pictures; then once more; then the photos
    under the 1,084 names they were published under."""
    stage = load_stage("chromate")
    chain = Chain(chromate, module_chain.lake_folder)
    found = chain()
    assert {name: found[name] for name in COUNTS} == COUNTS
    assert found["picture_names"] == 46
    assert found["sql"] == {"runs": 1, "lots": 726, "variable_days": 99, "picture_days": 2}
    report = chain.lake().rows(LABEL_REPORT)
    assert len(report) == 33 and {row["coverage"] for row in report} == {1.0}
    before = versions(chain.lake(), stage)
    again = chain()
    assert {name: again[name] for name in COUNTS} == COUNTS
    assert again["files"] == dict(seen=0, loaded=0, duplicate=0, quarantined=0, known=80)
    assert versions(chain.lake(), stage) == before

    lay_out = REAL.parent / "bin" / "kamp-as-shipped"
    subprocess.run([sys.executable, str(lay_out), str(tmp_path / "shipped")], check=True)
    published = Chain(tmp_path / "shipped", chain.lake_folder)("ingest_photos", "summarise")
    assert (published["pictures"], published["picture_names"]) == (46, 1_084)
    assert published["readings"] == 50_094
