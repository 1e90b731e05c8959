"""Labels: the rule on labelled cases, and what late and corrected lists change."""

import json
from datetime import date
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual

from lakehouse.stage import Stage
from lakehouse.tables.label_changes import LABEL_CHANGES
from lakehouse.tables.label_report import LABEL_REPORT
from lakehouse.tables.lots import LOTS
from lakehouse.transforms.labels import label_lots, report_labels
from tests.conftest import Chain
from tests.digest import digests, versions
from tests.plant import sensor_lines, write_errors, write_sensor

pytestmark = pytest.mark.heavy

READINGS = "day string, lot string, measured_at string"
LISTS = "day string, lots array<string>, file string, line bigint"
JUDGED = "2021-09-06"
CASES = {
    # lot of the judged day: its label
    "1": "failed",  # named once
    "2": "unknown",  # it may be the 99 that the list names, which has no readings
    "3": "failed",  # named twice in one list
    "4": "failed",  # named by a second list of the same day
    "20": "unknown",  # 2 is not 20, and it may be the 99 too
}


def test_labels_by_case(spark: SparkSession) -> None:
    readings = spark.createDataFrame(
        [(JUDGED, lot, f"{JUDGED} 07:00:0{n}") for lot in CASES for n in range(2)]
        + [("2021-09-07", "1", "2021-09-07 07:00:00"), ("2021-09-08", "1", "2021-09-08 07:00:00")],
        READINGS,
    ).selectExpr("CAST(day AS date) day", "lot", "CAST(measured_at AS timestamp) measured_at")
    lists = spark.createDataFrame(
        [
            (JUDGED, ["1", "3", "99"], "a.csv", 2),
            (JUDGED, ["3"], "a.csv", 3),
            (JUDGED, ["4"], "b.csv", 2),
            ("2021-09-08", [], "a.csv", 4),
            ("2021-09-09", ["5"], "a.csv", 5),
        ],
        LISTS,
    ).withColumn("day", F.col("day").cast("date"))
    doubts = spark.createDataFrame(
        [
            (JUDGED, ["20"], "b.csv", 3),  # A held-back row that names its lot all the same.
            ("2021-09-07", ["2"], "b.csv", 4),
            ("2021-09-08", [], "b.csv", 5),
        ],
        LISTS,
    ).withColumn("day", F.col("day").cast("date"))
    none = doubts.limit(0)
    lots = label_lots(readings, lists, none)
    found = {(str(r["day"]), r["lot"]): (r["label"], r["readings"]) for r in lots.collect()}
    assert found == {
        **{(JUDGED, lot): (label, 2) for lot, label in CASES.items()},
        ("2021-09-07", "1"): ("unknown", 1),  # no list judges the day
        ("2021-09-08", "1"): ("good", 1),  # the list of the day names none
    }
    expected = spark.createDataFrame(
        [
            (JUDGED, True, 3, ["a.csv", "b.csv"], 5, 3, 0, 2, ["99"], 0.6),
            ("2021-09-07", False, 0, [], 1, 0, 0, 1, [], 0.0),
            ("2021-09-08", True, 1, ["a.csv"], 1, 0, 1, 0, [], 1.0),
            ("2021-09-09", True, 1, ["a.csv"], 0, 0, 0, 0, ["5"], None),
        ],
        "day string, listed boolean, list_rows int, list_files array<string>, lots int, "
        "lots_failed int, lots_good int, lots_unknown int, unmatched_lots array<string>, "
        "coverage double",
    ).withColumn("day", F.col("day").cast("date"))
    assertDataFrameEqual(
        report_labels(lots, lists, none), expected.select(*LABEL_REPORT.names), ignoreNullable=True
    )

    doubted = label_lots(readings, lists, doubts)
    found = {(str(r["day"]), r["lot"]): r["label"] for r in doubted.collect()}
    assert found == {
        **{(JUDGED, lot): "failed" for lot in ("1", "3", "4", "20")},
        (JUDGED, "2"): "unknown",
        ("2021-09-07", "1"): "unknown",
        ("2021-09-08", "1"): "unknown",
    }
    report = {str(r["day"]): r for r in report_labels(doubted, lists, doubts).collect()}
    assert [report["2021-09-07"][name] for name in ("listed", "list_rows")] == [False, 0]
    assert report["2021-09-07"]["unmatched_lots"] == ["2"]
    assert report[JUDGED]["list_files"] == ["a.csv", "b.csv"] and report[JUDGED]["lots_good"] == 0


UNMATCHED = {
    # failed lots of the day, its lots with readings, and these lots' labels by first letter
    "all are there": ("1 2", "1 2 3", "ffg"),
    "a leading zero": ("17", "0017 18 0019", "ugg"),
    "the zero in the list": ("0017", "17 18", "ug"),
    "both are there": ("17", "0017 17", "gf"),
    "2 is not 20": ("2", "2 20 3", "fgg"),
    "two are alike": ("7", "07 007 8", "uug"),
    "capitals": ("A1", "a1 B1", "ug"),
    "zero itself": ("0", "00 1 10", "ugg"),
    "a slip for any": ("71", "17 18", "uu"),
    "a slip beside one that is there": ("17 71", "17 18", "fu"),
    "one alike, one nowhere": ("17 99", "0017 18", "uu"),
}  # fmt: skip


def test_a_failed_lot_without_readings_leaves_no_lot_good_that_it_may_be(
    spark: SparkSession,
) -> None:
    names = dict(enumerate(UNMATCHED, 1))
    readings = spark.createDataFrame(
        [(f"2021-09-{n:02d}", lot, "7") for n in names for lot in UNMATCHED[names[n]][1].split()],
        READINGS,
    ).withColumn("day", F.col("day").cast("date"))
    lists = spark.createDataFrame(
        [(f"2021-09-{n:02d}", UNMATCHED[names[n]][0].split(), "a.csv", n) for n in names], LISTS
    ).withColumn("day", F.col("day").cast("date"))
    rows = label_lots(readings, lists, lists.limit(0)).collect()
    found = {(row["day"].day, row["lot"]): row["label"][0] for row in rows}
    by_name = {
        name: "".join(found[n, lot] for lot in UNMATCHED[name][1].split())
        for n, name in names.items()
    }
    assert by_name == {name: expected for name, (_, _, expected) in UNMATCHED.items()}


def test_late_readings_of_a_failed_lot_settle_its_day(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = ("ingest_readings", "ingest_error_lists", "label")
    write_sensor(chain.landing, date(2021, 9, 6), sensor_lines((1, 2)))
    write_errors(chain.landing, {"2021-09-06": ["3"]})
    chain(*jobs)
    assert labels(chain) == {(6, "1"): "unknown", (6, "2"): "unknown"}
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line[:1] == "{"]
    (warning,) = [one for one in said if one["level"] == "warning"]
    assert (warning["day"], warning["lots"], warning["lots_unknown"]) == ("2021-09-06", ["3"], 2)
    late = write_sensor(chain.landing, date(2021, 9, 6), sensor_lines((3,)))
    late.rename(late.with_name("late-" + late.name))
    chain(*jobs)
    assert labels(chain) == {(6, "1"): "good", (6, "2"): "good", (6, "3"): "failed"}
    assert "warning" not in capsys.readouterr().err


def labels(chain: Chain) -> dict[tuple[int, str], str]:
    return {(row["day"].day, row["lot"]): row["label"] for row in chain.lake().rows(LOTS)}


def relabelled(chain: Chain) -> list[tuple[int, str, Any, Any]]:
    rows = chain.lake().rows(LABEL_CHANGES)
    return sorted((r["day"].day, r["lot"], r["before"], r["after"]) for r in rows)


def test_late_and_corrected_lists(chain: Chain, stage: Stage) -> None:
    for day in (6, 7, 8):
        write_sensor(chain.landing, date(2021, 9, day), sensor_lines(level=day / 2))
    write_errors(chain.landing, {"2021-09-06": ["1.0"], "2021-09-09": ["3.0"]})
    chain()
    first = {(6, "1"): "failed", (6, "2"): "good"}
    unknown = {(day, lot): "unknown" for day in (7, 8) for lot in ("1", "2")}
    assert labels(chain) == {**first, **unknown}
    assert relabelled(chain) == []  # the first label of a lot is no change

    # A late list labels its day, and only that.
    late = write_errors(chain.landing, {"2021-09-07": ["2.0"]}, "Error Lot list late.csv")
    before = versions(chain.lake(), stage)
    chain()
    now = {(7, "1"): "good", (7, "2"): "failed"}
    assert labels(chain) == {**first, **unknown, **now}
    assert relabelled(chain) == [(7, "1", "unknown", "good"), (7, "2", "unknown", "failed")]
    after = versions(chain.lake(), stage)
    assert after["lots"] == before["lots"] + 1
    assert after["lot_features"] == before["lot_features"]  # labels are not their business

    # A corrected list relabels, with the difference.
    write_errors(chain.landing, {"2021-09-07": ["1.0"]}, late.name)
    chain()
    assert len(relabelled(chain)) == 4
    assert labels(chain)[7, "1"] == "failed" and labels(chain)[7, "2"] == "good"
    report = {row["day"].day: row for row in chain.lake().rows(LABEL_REPORT)}
    assert report[9]["unmatched_lots"] == ["3"] and report[9]["coverage"] is None
    assert (report[8]["listed"], report[8]["lots_unknown"]) == (False, 2)

    # All of it equals a lake that got everything at once, and running again changes nothing.
    once = Chain(chain.landing, chain.lake_folder.with_name("once"))
    once()
    step_by_step, at_once = digests(chain.lake(), stage), digests(once.lake(), stage)
    assert step_by_step.pop("label_changes") != at_once.pop("label_changes")
    del step_by_step["files"], at_once["files"]
    assert step_by_step == at_once
    still = versions(chain.lake(), stage)
    chain()
    assert versions(chain.lake(), stage) == still


def test_a_lot_whose_readings_are_gone_is_gone(chain: Chain) -> None:
    write_sensor(chain.landing, date(2021, 9, 6), sensor_lines(lots=(1, 2)))
    write_errors(chain.landing, {"2021-09-06": []})
    chain()
    write_sensor(chain.landing, date(2021, 9, 6), sensor_lines(lots=(2,)))
    found = chain()
    assert labels(chain) == {(6, "2"): "good"}
    assert relabelled(chain) == [(6, "1", "good", None)]
    assert found["sql"]["lots"] == 1
