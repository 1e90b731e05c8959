"""The rules of a sensor file's rows: without Spark they are what they are with it."""

import io
import random
from datetime import UTC, date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lakehouse import quality
from lakehouse.settings import load_settings
from lakehouse.sources import readings
from lakehouse.sources.reading_rows import read_file
from lakehouse.stage import Stage, load_stage
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings as readings_table
from tests.conftest import Chain
from tests.lakehouse.test_bad_rows import ALL_BAD_ROWS, SOUND_ROWS

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "electroplating.toml"
ROWS = 4_000
CELLS = {
    "lot": ["1", "20.0", "07", " 3 ", "", "L-1", "1.5", "1.00", "٣", "3\t", "9" * 90],
    "date": [
        "2021-09-06", "2021-9-6", "2021-02-29", "2020-02-29", "21-09-06", "2021/09/06", "",
        " 2021-09-06 ", "2021-13-01", "2021-09-061", "02021-09-06", "٢٠٢١-09-06",
    ],
    "time": [
        "오후 4:05:00.0", "16:05:00.25", "오전 12:00:00", "오후 12:59:59.999999", "PM 1:2:3",
        "am 1:02:03.5",
        "오후 13:00:00", "오후4:05:07", "4:05:07", "16:27:17", "24:00:00", "23:59:59.9999999",
        "0:0:0", "1:60:00", "1:00:60", "1:00", "16:27", "", "noon", "  7:08:09  ", "오후 0:10:10",
        "12:00:00.123456789", "٤:05:07", "오후 4:05:60.0", "오후 4:05:59.99999951",
    ],
    "number": [
        "2.0", "0", "14", "14.0001", "-0.1", "100", "1e1", "1E-3", "+2.5e0", ".5", "40.", "2.0f",
        "0x1p1", "1e999", "NaN", "inf", "", "acid", " 7 ", "\t7", "1,5", "1_0", "٣", "--1", "1e",
    ],
}  # fmt: skip


def lines(stage: Stage, count: int = ROWS) -> list[list[str]]:
    """Rows of cells that a file might have, in the layout's order; most are sound."""
    draw = random.Random(5)
    fields = readings.layout(stage, load_settings()).fields

    def cell(name: str) -> str:
        if name == "lot" and draw.random() < 0.7:
            return str(draw.randrange(200))
        known = CELLS.get(name, CELLS["number"])
        return draw.choice(known[:3] if draw.random() < 0.8 else known)

    return [[cell(name) for name in fields] for _ in range(count)]


@pytest.mark.parametrize("name", ["chromate", "electroplating"])
def test_with_and_without_spark(spark: SparkSession, name: str) -> None:
    stage = load_stage("chromate") if name == "chromate" else load_stage(None, EXAMPLE)
    day = date(2021, 9, 6)
    fields = readings.layout(stage, load_settings()).fields
    rows = lines(stage)
    header = [names[0] for names in fields.values()]
    quoted = [[f'"{cell}"' if "," in cell else cell for cell in row] for row in [header, *rows]]
    content = "\n".join(",".join(row) for row in quoted).encode()
    facts, sound, held = read_file(
        io.BytesIO(content), f"a-{day:%Y.%m.%d}.csv", stage, load_settings()
    )
    assert facts.rule is None and len(sound) + len(held) == len(rows)
    frame = spark.createDataFrame(
        [("a", n, row, None, day) for n, row in enumerate(rows, 2)],
        "file string, line int, cells array<string>, fault string, file_date date",
    )
    typed = readings.with_typed(frame, stage, list(fields))
    judged = quality.with_broken(typed, readings.rules(stage, list(fields)))
    judged = quality.with_duplicates_broken(judged, ["day", "lot", "measured_at"])
    moment = F.unix_micros("measured_at").alias("measured_at")
    variables = [v.name for v in stage.readings.variables]
    passed = quality.filter_passed(judged).select("line", "day", "lot", moment, *variables)
    theirs = {row["line"]: tuple(row)[1:] for row in passed.collect()}
    ours = {
        one.line: (one.day, one.lot, round(one.measured_at.timestamp() * 1e6), *one.values)
        for one in sound
    }
    assert ours == theirs and len(ours) > 200
    back = quality.filter_held_back(judged).select("line", "rule", "reason").collect()
    reasons = {row["line"]: (row["rule"], row["reason"]) for row in back}
    assert {one.line: one.rule for one in held} == {n: rule for n, (rule, _) in reasons.items()}
    for one in held:
        if one.rule not in ("physical_range", "duplicate_key"):
            assert one.reason.split("; ")[0] == reasons[one.line][1].split("; ")[0]


def test_rows_below_a_further_header(stage: Stage, chain: Chain) -> None:
    """The lake and the app read them alike: by that header, or not at all."""
    row = "1,1,오후 4:05:{:02d}.0,{},{},16"
    text = "\n".join(
        [
            "Index,Lot,Time,pH,Temp,Voltage",
            row.format(0, 7.0, 40),
            "Index,Lot,Time,Temp,pH,Voltage",
            row.format(1, 12.5, 7.3),
            "Index,Lot,Time,Temp,Flow,Voltage",
            row.format(2, 12.5, 7.3),
        ]
    ).encode()
    name = "kemp-abh-sensor-2021.09.06.csv"
    _, sound, held = read_file(io.BytesIO(text), name, stage, load_settings())
    assert [(one.line, one.values) for one in sound] == [(2, (7.0, 40, 16)), (4, (7.3, 12.5, 16))]
    ours = [(one.line, one.rule, one.reason) for one in held]
    assert [rule for _, rule, _ in ours] == ["lot", "second_header", "second_header"]
    (chain.landing / "sensor").mkdir()
    (chain.landing / "sensor" / name).write_bytes(text)
    chain("ingest_readings")
    lake = chain.lake()
    stored = lake.rows(readings_table(stage), "line", "ph", "temperature", "voltage")
    assert sorted(tuple(row.values()) for row in stored) == [(2, 7.0, 40, 16), (4, 7.3, 12.5, 16)]
    theirs = sorted((row["line"], row["rule"], row["reason"]) for row in lake.rows(QUARANTINE))
    assert theirs[1:] == ours[1:] and theirs[0][:2] == ours[0][:2]


def test_every_known_bad_row(stage: Stage) -> None:
    header = "Index,Lot,Time,pH,Temp,Voltage"
    rows = {n: text for n, (text, _, _) in ALL_BAD_ROWS.items()} | SOUND_ROWS
    text = "\r\n".join([header, *(rows[n] for n in sorted(rows))])
    content = text.encode("utf-8", "surrogateescape")
    _, sound, held = read_file(io.BytesIO(content), "x-2021.09.06.csv", stage, load_settings())
    found = {one.line: one for one in held}
    for line, (_, rule, said) in ALL_BAD_ROWS.items():
        assert found[line].rule == rule and said in found[line].reason
    assert {one.line for one in sound} == set(SOUND_ROWS) - {17}
    assert found[17].rule == "duplicate_key" and "line 16" in found[17].reason
    assert all(one.measured_at.tzinfo is UTC for one in sound)
