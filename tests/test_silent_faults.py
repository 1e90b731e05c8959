"""Files of other plants that were once read wrong without a word, one test for each kind."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import label
from jobs.backfill import run_backfill
from jobs.context import RunContext
from jobs.options import Options
from jobs.runner import CHAIN, run_jobs
from lakehouse.errors import LossError, QualityGateError
from lakehouse.files.readings import read_file
from lakehouse.ingest.shares import much_quarantined
from lakehouse.settings import Settings
from lakehouse.stage import Stage, load_stage
from lakehouse.tables.lots import LOTS
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings
from lakehouse.tables.runs import RUNS
from tests.sheets import xlsx

pytestmark = pytest.mark.heavy

STAGE = """
title = "Any plant"
[readings]
files = "sensor/**"
lot = "Lot"
{readings}
[[readings.variables]]
name = "ph"
column = "pH"
unit = "pH"
minimum = -5000
maximum = 100000
[[readings.variables]]
name = "temp"
column = "Temp"
unit = "C"
minimum = -5000
maximum = 100000
[error_lists]
files = "list**"
date = "Date"
{lists}
"""
HEADER, FIRST = "Date,Time,Lot,pH,Temp\n", "2021-09-06,08:00:00,17,7.1,40\n"
LOTS_OF_DAY = HEADER + "".join(
    f"2021-09-06,{8 + at}:00:00,{lot},7,40\n" for at, lot in enumerate((17, 20, 23))
)
DATES = 'time = "Time"\ndate = { column = "Date" }'


class Plant:
    def __init__(self, folder: Path, readings: str = DATES, lists: str = 'lots = "LoT*"') -> None:
        self.folder, self.stage_file = folder, folder / "any_plant.toml"
        self.stage_file.write_text(STAGE.format(readings=readings, lists=lists), "utf-8")

    @property
    def stage(self) -> Stage:
        return load_stage(file=self.stage_file)

    def rows(self, content: bytes | str, name: str = "sensor/a.csv") -> list[dict[str, Any]]:
        data = content if isinstance(content, bytes) else content.encode()
        report, rows = read_file(io.BytesIO(data), name, self.stage, Settings())
        return [{"rule": report.rule}] if report.rule else rows.to_pylist()

    def run(self, files: Mapping[str, bytes | str]) -> RunContext:
        for name, content in files.items():
            file = self.folder / "in" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        landing, lake = str(self.folder / "in"), str(self.folder / "lake")
        options = Options(stage_file=self.stage_file, landing=landing, lake=lake)
        self.context = run_jobs(CHAIN, options)
        return self.context

    def labels(self, files: Mapping[str, bytes | str]) -> dict[str, str]:
        """The labels of the lots, by lot, and by day and lot where there are two days."""
        rows = self.run(files).lake.rows(LOTS)
        several = len({row["day"] for row in rows}) > 1
        return {
            f"{row['day'].day}: {row['lot']}" if several else row["lot"]: row["label"]
            for row in rows
        }

    def rules(self) -> list[str]:
        return sorted(row["rule"] for row in self.context.lake.rows(QUARANTINE))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATELAKE_SETTLE_SECONDS", "0")


def test_equal_lists_of_two_lines_are_no_copies(tmp_path: Path) -> None:
    line = 'line = { file_name = "line-([0-9])" }'
    plant = Plant(tmp_path, f"{DATES}\n{line}", f'lots = "LoT*"\n{line}')
    sensors = {f"sensor/line-{at}.csv": LOTS_OF_DAY + f"# {at}\n" for at in "12"}
    lists = {f"list/line-{at}.csv": "Date,LoT\n2021-09-06,20\n" for at in "12"}
    labels = plant.labels(sensors | lists)
    assert {labels["1:20"], labels["2:20"]} == {"failed"}


def test_equal_files_of_two_days_are_no_copies(tmp_path: Path) -> None:
    by_name = "time = 'Time'\ndate = { file_name = '([0-9-]{10})' }"
    text = "Time,Lot,pH,Temp\n08:00:00,17,7.1,40\n"
    days = {f"sensor/2021-09-0{day}.csv": text for day in (6, 7)}
    assert set(Plant(tmp_path, by_name).labels(days)) == {"6: 17", "7: 17"}


def test_a_list_that_is_renamed_for_the_next_shift(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    plant.run({"sensor/a.csv": LOTS_OF_DAY, "list.csv": "Date,LoT\n2021-09-06,17\n"})
    (tmp_path / "in/list.csv").rename(tmp_path / "in/list-1.csv")
    labels = plant.labels({"list.csv": "Date,LoT\n2021-09-06,20\n"})
    assert labels == {"17": "unknown", "20": "failed", "23": "unknown"}


NEXT = "".join(f"2021-09-07,0{8 + at}:00:00,{lot},7,40\n" for at, lot in enumerate((17, 20)))


@pytest.mark.parametrize("row", ["2021-09-07,20,23", "07.09.2021,20", "20"])
def test_the_last_row_of_a_list_that_cannot_be_read(tmp_path: Path, row: str) -> None:
    lists = {
        "list.csv": f"Date,LoT\n2021-09-06,17\n{row}\n",
        "list-b.csv": "Date,LoT\n2021-09-07,\n",
    }
    labels = Plant(tmp_path).labels({"sensor/a.csv": LOTS_OF_DAY + NEXT} | lists)
    assert {labels["7: 17"], labels["7: 20"]} == {"unknown"}


WRONG_LISTS = {
    "two sheets": xlsx(
        {"Aug": [["Date", "LoT"], ["2021-08-06", 1]], "Sep": [["Date", "LoT"], ["2021-09-06", 20]]}
    ),
    "a unit row that is a row": "Date,LoT\n2021-09-06,20\n",
    "a day of another century": "Date,LoT\n2021-09-05,\n2121-09-06,20\n",
}


@pytest.mark.parametrize("name", WRONG_LISTS)
def test_a_list_that_is_quarantined_leaves_no_lot_good(tmp_path: Path, name: str) -> None:
    skip = "skip_after_header = 1" if name.startswith("a unit") else ""
    plant = Plant(tmp_path, lists=f'lots = "LoT*"\nunlisted_days = "good"\n{skip}')
    ending = "xlsx" if name == "two sheets" else "csv"
    labels = plant.labels({"sensor/a.csv": LOTS_OF_DAY, f"list.{ending}": WRONG_LISTS[name]})
    assert labels == dict.fromkeys(("17", "20", "23"), "unknown")


@pytest.mark.parametrize("cell", [("error", "#N/A"), ("formula", "A1+3")])
def test_a_cell_of_excel_without_a_result(tmp_path: Path, cell: tuple[str, str]) -> None:
    book = xlsx({"S": [["Date", "LoT", "LoT2"], [("date", 44445), 17, cell]]})
    labels = Plant(tmp_path).labels({"sensor/a.csv": LOTS_OF_DAY, "list.xlsx": book})
    assert labels == {"17": "failed", "20": "unknown", "23": "unknown"}


@pytest.mark.parametrize("header", ["Date,LoT,,", "Date,LoT,LOT2,lot3"])
def test_lots_below_another_heading(tmp_path: Path, header: str) -> None:
    files = {"sensor/a.csv": LOTS_OF_DAY, "list.csv": f"{header}\n2021-09-06,17,20,23\n"}
    labels = Plant(tmp_path).labels(files)
    assert labels["17"] == "failed" and "good" not in labels.values()


def test_a_backfill_by_fewer_columns_of_lots_asks_first(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    plant.run({"sensor/a.csv": LOTS_OF_DAY, "list.csv": "Date,LoT,LoT2\n2021-09-06,17,20\n"})
    plant.stage_file.write_text(
        plant.stage_file.read_text().replace('"LoT*"', '"LoT"\nignore = "LoT2"')
    )
    day = date(2021, 9, 6)
    with pytest.raises(LossError, match="1 rows and values out of error_lists"):
        run_backfill(replace(plant.context.options, first_day=day, last_day=day))


def test_a_backfill_fills_a_variable_that_the_stage_gets_later(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    plant.run({"sensor/a.csv": LOTS_OF_DAY.replace("Temp", "Temp,Flow").replace(",40", ",40,5")})
    flow = "name = 'flow'\ncolumn = 'Flow'\nunit = 'l'\nminimum = 0\nmaximum = 9\noptional = true"
    text = plant.stage_file.read_text()
    plant.stage_file.write_text(
        text.replace("[error_lists]", f"[[readings.variables]]\n{flow}\n[error_lists]")
    )
    day = date(2021, 9, 6)
    run_backfill(replace(plant.context.options, first_day=day, last_day=day))
    stored = plant.context.lake.rows(readings(plant.stage))
    assert [row["flow"] for row in stored] == [5, 5, 5]


def test_lines_that_are_not_read_may_be_headers(tmp_path: Path) -> None:
    plant = Plant(tmp_path, f"{DATES}\nfind_header = true\nignore_lines = ['^[^0-9]*$']")
    text = HEADER + FIRST + "Date,Time,Lot,Temp,pH\n2021-09-06,08:00:01,17,40,7.2\n"
    assert [(row["ph"], row["temp"]) for row in plant.rows(text)] == [(7.1, 40), (7.2, 40)]


def test_a_header_with_numbers_in_its_names(tmp_path: Path) -> None:
    text = HEADER + FIRST + "Datum,Zeit,Los,Temp1,PH1\n2021-09-06,08:00:02,17,41,7.2\n"
    assert [row["rule"] for row in Plant(tmp_path).rows(text)] == [None] + ["second_header"] * 2


def test_a_number_that_means_missing(tmp_path: Path) -> None:
    plant = Plant(tmp_path, f"{DATES}\nmissing = ['-999']")
    (row,) = plant.rows(HEADER + "2021-09-06,08:00:00,17,-999,40\n")
    assert (row["ph"], row["temp"], row["rule"]) == (None, 40, None)


def parquet(**columns: Any) -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.table(columns), target)
    return target.getvalue()


def test_numbers_of_binary_files_have_no_notation(tmp_path: Path) -> None:
    comma = "decimal = ','\nthousands = '.'\ndelimiter = ';'"
    plant = Plant(tmp_path, f"{DATES}\n{comma}")
    cells = {
        "Date": ["2021-09-06"],
        "Time": ["08:00:00"],
        "Lot": ["17"],
        "pH": [7.125],
        "Temp": [40.0],
    }
    book = xlsx({"S": [list(cells), [("date", 44445), "08:00:00", 17, 7.125, 40]]})
    assert [plant.rows(file)[0]["ph"] for file in (parquet(**cells), book)] == [7.125, 7.125]


@pytest.mark.parametrize("other", ["1.040,5", "1,2E+03", "\u22127,1", "1.040.500"])
def test_a_number_that_two_notations_read(tmp_path: Path, other: str) -> None:
    text = (HEADER + FIRST).replace(",", ";").replace("7.1", other)
    text += "2021-09-06;08:00:01;17;1.040;40\n"
    plant = Plant(tmp_path, f"{DATES}\ndelimiter = ';'")
    assert [row["rule"] for row in plant.rows(text)] == ["number", "number"]
    marked = "sep=;\n" + text
    assert [row["rule"] for row in Plant(tmp_path).rows(marked)] == ["number", "number"]


def test_a_point_among_decimal_commas(tmp_path: Path) -> None:
    plant = Plant(tmp_path, f"{DATES}\ndelimiter = ';'\ndecimal = ','\nthousands = '.'")
    text = (HEADER + FIRST).replace(",", ";") + "2021-09-06;08:00:01;17;7.125;40\n"
    assert [row["rule"] for row in plant.rows(text)] == ["number", "number"]


def test_two_lines_that_make_equal_lots_in_turn(tmp_path: Path) -> None:
    def log(*lots: int) -> str:
        rows = [
            f"2021-09-06,{8 + at // 2}:{at % 2 * 50 + lots[0]}:00,{lots[at // 2]},7,40"
            for at in range(4)
        ]
        return HEADER + "\n".join(rows) + "\n"

    plant = Plant(tmp_path)
    plant.run({"sensor/line-1.csv": log(1, 2), "sensor/line-2.csv": log(2, 1)})
    assert plant.rules() == ["mixed_lot"] * 4


def nested() -> bytes:
    content = b"a,b\n"
    for _ in range(50):
        content = gzip.compress(content, 0)
    return content


def packed(kind: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", kind) as archive:
        archive.writestr("a.csv", HEADER + FIRST * 2000)
    content = bytearray(target.getvalue())
    content[60:68] = b"\xff" * 8
    return bytes(content)


FAR = pa.array([10**8], pa.int32()).cast(pa.date32())
DAMAGED = {
    "lzma": (packed(zipfile.ZIP_LZMA), "damaged"),
    "bzip2": (packed(zipfile.ZIP_BZIP2), "damaged"),
    "no sheet": (xlsx({}), "damaged"),
    "a far date": (parquet(Date=FAR, Time=["8:00"], Lot=["1"], pH=[7.0], Temp=[1.0]), "damaged"),
    "parquet": (parquet(Lot=["17"])[:-30] + b"\xff" * 30, "damaged"),
    "nested": (nested(), "archive"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_stops_no_other(tmp_path: Path, name: str) -> None:
    content, rule = DAMAGED[name]
    assert Plant(tmp_path).rows(content) == [{"rule": rule}]


def test_a_moment_before_the_first_year_is_quarantined(tmp_path: Path) -> None:
    plant = Plant(tmp_path, "timestamp = { column = 'Stamp' }")
    (row,) = plant.rows("Stamp,Lot,pH,Temp\n0001-01-01T00:00:00+09:00,17,7.1,40\n")
    assert row["rule"] == "time"


def test_midnight_in_excel_is_a_moment(tmp_path: Path) -> None:
    plant = Plant(tmp_path, "timestamp = { column = 'Stamp' }")
    (row,) = plant.rows(xlsx({"S": [["Stamp", "Lot", "pH", "Temp"], [("date", 44445), 17, 7, 40]]}))
    assert (row["rule"], str(row["day"])) == (None, "2021-09-06")


def test_days_without_a_list_are_labelled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = Plant(tmp_path, lists='lots = "LoT*"\nunlisted_days = "good"')
    files = {"sensor/a.csv": LOTS_OF_DAY}
    assert plant.labels(files) == dict.fromkeys(("17", "20", "23"), "good")
    computed: list[int] = []
    label_lots = label.label_lots

    def counted(readings: pa.Table, *others: Any, **options: Any) -> pa.Table:
        computed.append(readings.num_rows)
        return label_lots(readings, *others, **options)

    monkeypatch.setattr(label, "label_lots", counted)
    next_day = {"sensor/b.csv": HEADER + NEXT}
    assert plant.labels(next_day)["7: 20"] == "good"
    assert computed == [2]  # The day that is new.
    assert plant.labels({"list.csv": "Date;LoT\n"})["7: 20"] == "unknown"
    assert computed == [2, 5]  # A list that may mean any day.
    plant.labels({})
    assert computed == [2, 5]
    (tmp_path / "in/list.csv").unlink()
    assert plant.labels({"list.csv": "Date,LoT\n2021-09-07,20\n"})["6: 20"] == "good"
    assert computed == [2, 5, 5]


def test_rows_that_clashed_are_stored_when_the_other_file_is_corrected(tmp_path: Path) -> None:
    def log(lot: int, hour: int = 8) -> str:
        rows = [f"2021-09-06,{hour}:{at}0:00,{lot},7,40\n" for at in range(3)]
        return HEADER + "".join(rows)

    plant = Plant(tmp_path)
    plant.run({"sensor/b.csv": log(17)})
    plant.run({"sensor/a.csv": log(17) + "2021-09-06,09:00:00,20,7,40\n"})
    assert plant.rules() == ["duplicate_key"] * 3
    context = plant.run({"sensor/b.csv": log(18)})
    assert plant.rules() == []
    files = [row["file"] for row in context.lake.rows(readings(plant.stage)) if row["lot"] == "17"]
    assert files == ["sensor/a.csv"] * 3
    # The same lot again: what is stored stays.
    plant.run({"sensor/b.csv": log(17)})
    plant.run({"sensor/b.csv": log(17) + "2021-09-06,09:00:01,18,7,40\n"})
    files = [row["file"] for row in context.lake.rows(readings(plant.stage)) if row["lot"] == "17"]
    assert files == ["sensor/a.csv"] * 3 and plant.rules() == ["duplicate_key"] * 3


def test_lots_that_were_mixed_are_stored_when_the_other_file_is_corrected(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    plant.run({"sensor/a.csv": LOTS_OF_DAY})
    plant.run({"sensor/b.csv": LOTS_OF_DAY.replace(":00:00", ":00:30")})
    assert plant.rules() == ["mixed_lot"] * 3
    plant.run({"sensor/a.csv": LOTS_OF_DAY.replace(",17,", ",18,")})
    assert plant.rules() == ["mixed_lot"] * 2
    plant.run({"sensor/a.csv": HEADER})
    assert plant.rules() == ["header_only"]


def test_a_long_file_is_counted_by_its_readings(tmp_path: Path) -> None:
    plant = Plant(tmp_path, f"{DATES}\nlong = {{ variable = 'Tag', value = 'Value' }}")
    rows = [
        f"2021-09-06,{8 + at}:00:00,{lot},{tag},7"
        for tag in ("pH", "Temp", "Flow")
        for at, lot in enumerate((17, 20, 23))
    ]
    text = "\n".join(["Date,Time,Lot,Tag,Value", *rows]) + "\n"
    labels = plant.labels({"sensor/a.csv": text, "list.csv": "Date,LoT\n2021-09-06,17\n"})
    assert labels == {"17": "failed", "20": "good", "23": "good"}
    (run,) = plant.context.lake.rows(RUNS)
    assert (run["rows_read"], run["rows_stored"], run["rows_quarantined"]) == (7, 4, 3)
    assert plant.rules() == ["unknown_variable"] * 3


def test_fill_down_stops_at_a_malformed_row(tmp_path: Path) -> None:
    plant = Plant(tmp_path, lists='lots = "LoT*"\nfill_down = true')
    files = {
        "sensor/a.csv": LOTS_OF_DAY,
        "list.csv": "Date,LoT\n2021-09-06,17\n2021-09-07,20,x\n,23\n",
    }
    assert plant.labels(files)["23"] != "good"
    assert plant.rules() == ["date", "torn_row"]


FORTY = HEADER + "".join(f"2021-09-06,08:{at:02}:00,17,7.1,40\n" for at in range(40))


def test_a_stage_with_a_wrong_clock_ends_the_run_after_what_is_right_is_stored(
    tmp_path: Path,
) -> None:
    plant = Plant(tmp_path)
    wrong = FORTY.replace("2021-09-06,08:", "2021-09-07,99:")
    with pytest.raises(
        QualityGateError, match="2021-09-07: 40 of 40 quarantined, most by time"
    ) as end:
        plant.run({"sensor/a.csv": FORTY, "sensor/b.csv": wrong})
    assert end.value.exit_code == 3
    report = plant.run({}).counts  # Nothing is new: the run ends well.
    assert (report.seen, report.known, report.large_shares) == (0, 2, ())
    stage = plant.stage
    assert plant.context.lake.count(readings(stage)) == 40
    [shown] = much_quarantined(plant.context.lake, 0.05)
    assert (shown["file"], shown["rows_quarantined"]) == ("sensor/b.csv", 40)
    rows = plant.context.lake.rows(QUARANTINE, "day", "lot")
    assert rows == [{"day": date(2021, 9, 7), "lot": "17"}] * 40


def test_failed_lots_that_a_range_of_another_stage_took_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant = Plant(tmp_path)
    odd = FORTY.replace(",17,7.1,", ",20,-9999,")[len(HEADER) :]
    whole = FORTY + "".join(
        line.replace("08:", f"{hour:02}:", 1).replace(",17,", ",23,") + "\n"
        for hour in (9, 10)
        for line in FORTY[len(HEADER) :].splitlines()
    )
    plant.run({"sensor/a.csv": whole + odd, "list.csv": "Date,LoT\n2021-09-06,20\n"})
    said = capsys.readouterr().err
    assert "all readings of failed lots are quarantined" in said
    assert "20 by physical_range" in said
    [of_file, of_day] = plant.context.counts.large_shares
    assert str(of_file) == "2021-09-06: 40 of 160 quarantined, most by physical_range"
    assert of_day.of == "sensor/a.csv"
