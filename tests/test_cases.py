"""Inputs of other plants that were once read wrong, each with its right outcome.

The files lie beside the checkout (`conftest.REAL`); where they do not, these tests are skipped.
Each case's stage file is used, with what the plant would add to it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.backfill import run_backfill
from jobs.context import Options, RunContext
from jobs.runner import CHAIN, run_jobs
from lakehouse.errors import LossError
from lakehouse.tables.error_lists import ERROR_LISTS
from lakehouse.tables.lots import LOTS
from lakehouse.tables.photos import PHOTOS
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings
from lakehouse.tables.unmatched_files import UNMATCHED_FILES
from tests.conftest import REAL

pytestmark = pytest.mark.heavy

CASES = REAL / "cases"
DAY = "2021-09-06"


class Case:
    """One case's landing zone, and the lake that runs make of it."""

    def __init__(self, name: str, folder: Path) -> None:
        if not CASES.is_dir():
            pytest.skip("the cases are not there: cases below ../shared/data")
        self.folder, self.stage = folder, folder / "stage.toml"
        self.landing = folder / "landing"
        shutil.copyfile(min((CASES / name).glob("stage*.toml")), self.stage)
        if (CASES / name / "landing").is_dir():
            shutil.copytree(CASES / name / "landing", self.landing)

    def say(self, section: str, *lines: str, drop: tuple[str, ...] = ()) -> None:
        """Add lines to a section of the stage file, and drop those of some keys."""
        text = self.stage.read_text("utf-8")
        head, mark, body = text.partition(f"[{section}]\n")
        own, more, rest = body.partition("\n[")
        for key in drop:
            own = re.sub(rf"(?m)^{key} *=.*\n?", "", own)
        self.stage.write_text(head + mark + "\n".join([*lines, own]) + more + rest, "utf-8")

    def run(self) -> RunContext:
        lake = str(self.folder / "lake")
        options = Options(stage_file=self.stage, landing=str(self.landing), lake=lake)
        self.context = run_jobs(CHAIN, options)
        return self.context

    def rows(self) -> list[dict[str, Any]]:
        """The readings, in the order of their lines."""
        stage = self.context.stage
        found = self.context.lake.rows(readings(stage))
        return sorted(found, key=lambda row: (row["file"], row["line"]))

    def labels(self, day: str = DAY) -> dict[str, str]:
        rows = self.context.lake.rows(LOTS)
        return {row["lot"]: row["label"] for row in rows if str(row["day"]) == day}

    def held(self) -> list[tuple[str, int, str]]:
        rows = self.context.lake.rows(QUARANTINE)
        return sorted((row["file"], row["line"], row["rule"]) for row in rows)


Make = Callable[[str], Case]


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("PLATELAKE_SETTLE_SECONDS", "0")
    monkeypatch.chdir(tmp_path)
    return lambda name: Case(name, tmp_path)


def test_01_merged_cells(case: Make) -> None:
    found = case("01-list-merged-cells")
    found.run()
    assert found.labels() == {"17": "failed"} | dict.fromkeys(("20", "23", "24"), "unknown")


def test_01_merged_cells_filled_down(case: Make) -> None:
    found = case("01-list-merged-cells")
    found.say("error_lists", "fill_down = true")
    found.run()
    assert found.labels() == {"17": "failed", "20": "failed", "23": "failed", "24": "good"}


def test_03_leading_zeros(case: Make) -> None:
    found = case("03-list-leading-zeros")
    found.run()
    assert found.labels() == {"0017": "unknown", "0018": "good", "0019": "good"}


def test_03_leading_zeros_that_do_not_count(case: Make) -> None:
    found = case("03-list-leading-zeros")
    text = found.stage.read_text("utf-8").replace('"[0-9]+"', '"0*([0-9]+)"')
    found.stage.write_text(text, "utf-8")
    found.run()
    assert found.labels() == {"17": "failed", "18": "good", "19": "good"}


def test_07_a_header_in_another_order(case: Make) -> None:
    found = case("07-csv-header-changes-mid-file")
    found.run()
    assert (
        max(row["ph"] for row in found.rows()) < 8 < min(row["temperature"] for row in found.rows())
    )
    assert len(found.rows()) == 8 or [rule for _, _, rule in found.held()] != []


def rows_of(*specs: tuple[str, int, int, int]) -> str:
    lines = ["Date,Time,Lot,pH,Temp"]
    for day, first, last, lot in specs:
        hours = range(first, last)
        lines += [
            f"{day},{h:02d}:{m:02d}:00,{lot},7.{h % 10},4{h % 10}" for h in hours for m in (0, 30)
        ]
    return "\n".join(lines) + "\n"


def test_08_a_log_that_is_renamed_and_begun_anew(case: Make) -> None:
    found = case("08-csv-log-rotated")
    (found.landing / "sensor").mkdir(parents=True)
    (found.landing / "Error Lot list.csv").write_text("Index,Date,LoT\n0,2021-09-07,103\n")
    log, days = found.landing / "sensor" / "log.csv", ["2021-09-06", "2021-09-07", "2021-09-08"]
    expected: set[str] = set()
    for at, (day, lot) in enumerate(zip(days, (101, 103, 105), strict=True)):
        if log.exists():
            log.rename(log.with_name(f"log-{at}.csv"))
        after = str(date.fromisoformat(day) + timedelta(1))
        log.write_text(rows_of((day, 6, 24, lot), (after, 0, 6, lot + 1)))
        expected |= {str(lot), str(lot + 1)}
        found.run()
        assert {row["lot"] for row in found.rows()} == expected
        assert found.held() == []


def test_09_two_lines_with_the_same_lots(case: Make) -> None:
    found = case("09-two-lines-same-lot")
    found.run()
    assert {row["file"] for row in found.rows()} == {"line-1/sensor/a.csv"}
    held = found.context.lake.rows(QUARANTINE)
    assert {row["rule"] for row in held} == {"mixed_lot"} and len(held) == 12
    assert all("line-1/sensor/a.csv" in row["reason"] for row in held)
    assert all(row["file"] == "line-2/sensor/a.csv" for row in held)


def test_09_lines_that_the_path_names(case: Make) -> None:
    found = case("09-two-lines-same-lot")
    found.say("readings", "line = { file_name = '^line-([0-9]+)/' }")
    found.run()
    assert found.held() == []
    assert {row["lot"] for row in found.rows()} == {
        f"{line}:{lot}" for line in "12" for lot in "123"
    }
    labels = found.labels()
    # The list names no line: either lot 2 may be meant.
    assert {labels["1:2"], labels["2:2"]} == {"unknown"}
    assert {label for lot, label in labels.items() if not lot.endswith(":2")} == {"good"}


def counts(found: Case) -> tuple[int, int]:
    return len(found.rows()), found.context.lake.count(LOTS)


@pytest.mark.parametrize("remedy", ["--allow-loss", "optional"])
def test_11_a_sensor_that_is_added(tmp_path: Path, remedy: str, case: Make) -> None:
    folder = CASES / "11-new-sensor-then-backfill"
    found = case("11-new-sensor-then-backfill")
    late = found.landing / "sensor" / "2021-09-08.csv"
    late.rename(tmp_path / late.name)
    found.run()
    before = counts(found)
    (tmp_path / late.name).rename(late)
    shutil.copyfile(folder / "stage2.toml", found.stage)
    found.run()
    whole = counts(found)
    assert whole > before
    days = (date(2021, 9, 6), date(2021, 9, 7))
    options = replace(found.context.options, first_day=days[0], last_day=days[1])
    with pytest.raises(LossError, match="would take 72 rows and values out of readings"):
        run_backfill(options)
    assert counts(found) == whole
    if remedy == "optional":
        text = found.stage.read_text("utf-8")
        found.stage.write_text(
            text.replace('name = "flow"', 'name = "flow"\noptional = true'), "utf-8"
        )
        run_backfill(options)
        assert counts(found) == whole
        assert {row["flow"] for row in found.rows() if row["day"] in days} == {None}
    else:
        run_backfill(replace(options, allow_loss=True))
        assert counts(found) == (whole[0] - 24, whole[1] - 6)


def test_14_capitals_and_gzip(case: Make) -> None:
    found = case("14-csv-upper-case-name")
    assert found.run().unmatched == 0
    assert {str(row["day"]) for row in found.rows()} == {DAY, "2021-09-07", "2021-09-08"}


def test_14_files_that_no_glob_names(case: Make) -> None:
    found = case("14-csv-upper-case-name")
    text = found.stage.read_text("utf-8")
    found.stage.write_text(f"case_sensitive = true\n{text}", "utf-8")
    assert found.run().unmatched == 1
    passed_over = [row["file"] for row in found.context.lake.rows(UNMATCHED_FILES)]
    assert passed_over == ["sensor/LOG002.CSV"]


def test_16_date_and_time_in_one_column(case: Make) -> None:
    found = case("16-one-timestamp-column")
    found.say("readings", "timestamp = { column = 'Timestamp' }", drop=("time", "clock", "date"))
    found.run()
    seoul = [
        f"{row['measured_at'].astimezone(found.context.stage.zone):%H:%M:%S}"
        for row in found.rows()
    ]
    assert seoul == ["08:00:00", "08:00:01", "17:00:00", "17:00:01"]


def test_17_decimal_commas(case: Make) -> None:
    found = case("17-decimal-comma")
    found.run()
    assert [row["pressure"] for row in found.rows()] == [951]  # But not 1.04 for 1.040.
    assert [rule for _, _, rule in found.held()] == ["number"] * 3


def test_17_decimal_commas_that_the_stage_names(case: Make) -> None:
    found = case("17-decimal-comma")
    found.say("readings", "decimal = ','", "thousands = '.'")
    found.run()
    assert [row["pressure"] for row in found.rows()] == [950.5, 1040.5, 1040, 951]


def test_18_lines_above_and_below_the_header(case: Make) -> None:
    found = case("18-logger-preamble-and-units")
    found.say("readings", "find_header = true", "ignore_lines = ['^[^0-9]*$']")
    found.run()
    assert len(found.rows()) == 12 and found.held() == []


def test_19_readings_of_one_second(case: Make) -> None:
    found = case("19-same-second")
    found.say("readings", "sequence = true")
    found.run()
    assert len(found.rows()) == 16 and found.held() == []


def test_20_words_for_missing_values(case: Make) -> None:
    found = case("20-missing-value")
    found.say("readings", "missing = ['', '-', '---', 'N/A', '#DIV/0!', 'NaN']")
    found.run()
    assert [row["temperature"] for row in found.rows()] == [40, 41, 42, *[None] * 6]
    assert None not in [row["ph"] for row in found.rows()]


@pytest.mark.parametrize(
    ("name", "count"),
    [("22-utf-16", 6), ("25-unneeded-column-twice", 1), ("27-header-case-and-spaces", 7)],
)
def test_files_that_are_read_as_they_are(case: Make, name: str, count: int) -> None:
    found = case(name)
    found.run()
    assert len(found.rows()) == count and found.held() == []


def test_28_the_midnight_at_the_end_of_a_day(case: Make) -> None:
    found = case("28-time-24-00")
    found.run()
    moment = found.rows()[1]["measured_at"]
    assert moment == datetime.fromisoformat("2021-09-07T00:00:00+09:00")


def test_30_lists_as_people_keep_them(case: Make) -> None:
    found = case("30-list-forms-without-an-option")
    found.say("error_lists", "separator = ','", "unlisted_days = 'good'")
    found.run()
    assert found.labels() == {"17": "failed", "20": "failed", "23": "good"}
    assert found.labels("2021-09-07") == {"17": "failed", "20": "good"}
    assert found.labels("2021-09-08") == {"17": "good", "20": "good"}
    assert found.context.lake.count(ERROR_LISTS) == 2


def test_32_noise_among_the_photos(case: Make) -> None:
    found = case("32-thumbs-db")
    context = found.run()
    assert (found.held(), context.unmatched) == ([], 0)


def test_04_ten_bits_in_sixteen(case: Make) -> None:
    found = case("04-photo-10-bits-in-16")
    found.run()
    assert {rule for _, _, rule in found.held()} == {"nearly_black"}


def test_04_ten_bits_that_the_stage_names(case: Make) -> None:
    found = case("04-photo-10-bits-in-16")
    found.say("photos", "bits = 10")
    found.run()
    assert found.held() == []
    assert len({row["pixel_sha256"] for row in found.context.lake.rows(PHOTOS)}) == 6


def test_06_jpegs_with_a_hole(case: Make) -> None:
    found = case("06-photo-jpeg-with-a-hole")
    found.run()
    assert [rule for _, _, rule in found.held()] == ["broken_image", "broken_image"]


def test_33_a_heic_that_cannot_be_decoded_is_called_one(case: Make) -> None:
    found = case("33-heic")
    found.run()
    (entry,) = found.context.lake.rows(QUARANTINE)
    assert "HEIC" in entry["reason"]
