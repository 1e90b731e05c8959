"""The transforms as Arrow tables: features, summaries and labels."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lakehouse.delta.lake import Lake
from lakehouse.derive.bands import current_bands, fit_and_store
from lakehouse.derive.features import bands_id, summarise_features
from lakehouse.derive.labels import label_lots, report_labels
from lakehouse.derive.summaries import summarise_pictures, summarise_variables
from lakehouse.stage import Stage
from lakehouse.statistics import Band, fit_band, lot_statistics
from lakehouse.table import Table
from lakehouse.tables.doubted_days import DOUBTED_DAYS
from lakehouse.tables.error_lists import ERROR_LISTS
from lakehouse.tables.label_report import LABEL_REPORT
from lakehouse.tables.lot_features import features_of, lot_features
from lakehouse.tables.lots import LOTS
from lakehouse.tables.picture_days import PICTURE_DAYS
from lakehouse.tables.picture_names import PICTURE_NAMES
from lakehouse.tables.readings import readings
from lakehouse.tables.variable_days import VARIABLE_DAYS

SEED = 3
UNITS = {"ph": "", "temperature": "°C", "voltage": "V"}
BANDS = {name: Band(10.0, 1.0, 1.5) for name in UNITS}


def table(declared: Table, rows: list[tuple[Any, ...]]) -> pa.Table:
    return declared.arrow([declared.row(*row) for row in rows])


def none(declared: Table) -> pa.Table:
    return declared.arrow([])


@pytest.fixture(scope="module")
def given(stage: Stage) -> pa.Table:
    """Readings of some days, lots in order of no number, sorted by time in no lot."""
    draw = np.random.default_rng(SEED)
    rows = []
    for day in (7, 6, 9):
        for lot in ("2", "10", "1", "A"):
            for n in range(1 if lot == "A" else int(draw.integers(2, 40))):
                moment = datetime(2021, 9, day, 7, tzinfo=UTC) + timedelta(seconds=5 * n)
                values = draw.normal(10, 1, 3).tolist()
                rows.append((date(2021, 9, day), lot, moment, *values, "a.csv", n + 2))
    return table(readings(stage), rows)


def shuffled(rows: pa.Table, seed: int) -> pa.Table:
    """The rows in another order, in several chunks."""
    mixed = rows.take(np.random.default_rng(seed).permutation(len(rows)))
    return pa.concat_tables([mixed.slice(at, 7) for at in range(0, len(mixed), 7)])


def test_features_are_the_statistics_of_each_lot(given: pa.Table, stage: Stage) -> None:
    schema = lot_features(stage).arrow_schema()
    found = summarise_features(given, BANDS, schema)
    assert found.schema == schema
    keys = list(zip(found["day"].to_pylist(), found["lot"].to_pylist(), strict=True))
    assert keys == sorted(keys) and len(keys) == 12
    for row in found.to_pylist():
        of_lot = [r for r in given.to_pylist() if (r["day"], r["lot"]) == (row["day"], row["lot"])]
        values = {name: np.array([r[name] for r in of_lot]) for name in UNITS}
        assert row.pop("bands_id") == bands_id(BANDS)
        statistics = lot_statistics(values, BANDS)
        without = {name for name, value in statistics.items() if np.isnan(value)}
        assert {name for name, value in row.items() if value is None} == without
        assert len(without) == (6 if row["lot"] == "A" else 0)
        assert {n: row[n] for n in statistics if n not in without} == {
            n: value for n, value in statistics.items() if n not in without
        }


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_readings_changes_no_bit(given: pa.Table, stage: Stage, seed: int) -> None:
    schema = lot_features(stage).arrow_schema()
    other = shuffled(given, seed)
    one = summarise_features(given, BANDS, schema)
    assert one.equals(summarise_features(other, BANDS, schema))
    ordered = given.sort_by([(name, "ascending") for name in ("day", "lot", "measured_at")])
    assert one.equals(summarise_features(ordered, BANDS, schema))
    by_day = [given.filter(pa.compute.equal(given["day"], date(2021, 9, n))) for n in (6, 7, 9)]
    parts = [summarise_features(part, BANDS, schema) for part in by_day]
    assert one.equals(pa.concat_tables(parts))
    assert summarise_variables(given, UNITS).equals(summarise_variables(other, UNITS))


def test_features_of_a_models_own_variables(given: pa.Table) -> None:
    bands = {"voltage": Band(10.0, 1.0, 1.5)}
    schema = features_of(["voltage"]).arrow_schema()
    assert summarise_features(given, bands, schema).column_names == schema.names


def test_bands_are_those_of_all_readings(given: pa.Table, lake: Lake, stage: Stage) -> None:
    lake.insert(readings(stage), shuffled(given, 0))
    found = fit_and_store(lake, stage, 3.0)
    assert found == {name: fit_band(given[name].to_numpy(), 3.0) for name in UNITS}
    assert current_bands(lake) == found


def test_each_variable_over_each_day(given: pa.Table) -> None:
    found = summarise_variables(given, UNITS)
    assert found.schema == VARIABLE_DAYS.arrow_schema()
    assert found.select(["day", "variable", "unit"]).to_pylist() == [
        {"day": date(2021, 9, day), "variable": name, "unit": unit}
        for day in (6, 7, 9)
        for name, unit in UNITS.items()
    ]
    for row in found.to_pylist():
        rows = [r for r in given.to_pylist() if r["day"] == row["day"]]
        x = np.array([r[row["variable"]] for r in rows])
        assert (row["readings"], row["minimum"], row["maximum"]) == (len(x), x.min(), x.max())
        assert row["mean"] == pytest.approx(x.mean(), rel=1e-12)
        assert row["std"] == pytest.approx(x.std(ddof=1), rel=1e-12)
    assert summarise_variables(given.slice(0, 1), UNITS)["std"].to_pylist() == [None] * 3


def test_pictures_and_names_of_each_day_and_label() -> None:
    days = [date(2021, 9, day) for day in (7, 6, 6, 6, 6)]
    rows = [
        ("p", "good", "1", "f", "s", None, "exif", days[0]),
        *(
            (picture, label, name, "f", "s", None, "exif", days[1])
            for picture, label, name in (
                ("p", "good", "1"), ("p", "good", "2"), ("q", "good", "3"), ("p", "bad", "4"),
            )
        ),
    ]  # fmt: skip
    found = summarise_pictures(table(PICTURE_NAMES, rows))
    assert found.schema == PICTURE_DAYS.arrow_schema()
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        (days[1], "bad", 1, 1),
        (days[1], "good", 2, 3),
        (days[0], "good", 1, 1),
    ]


def test_no_rows_give_tables_without_rows(stage: Stage) -> None:
    rows, lists, doubts = none(readings(stage)), none(ERROR_LISTS), none(DOUBTED_DAYS)
    schema = lot_features(stage).arrow_schema()
    for found, expected in (
        (summarise_features(rows, BANDS, schema), schema),
        (summarise_variables(rows, UNITS), VARIABLE_DAYS.arrow_schema()),
        (summarise_pictures(none(PICTURE_NAMES)), PICTURE_DAYS.arrow_schema()),
        (label_lots(rows, lists, doubts), LOTS.arrow_schema()),
        (report_labels(none(LOTS), lists, doubts), LABEL_REPORT.arrow_schema()),
    ):
        assert found.equals(expected.empty_table())


JUDGED = 6
CASES = {
    # lot of the judged day: its label
    "1": "failed",  # named once
    "2": "unknown",  # it may be the 99 that the list names, which has no readings
    "3": "failed",  # named twice in one list
    "4": "failed",  # named by a second list of the same day
    "20": "unknown",  # 2 is not 20, and it may be the 99 too
}


def september(day: int) -> date:
    return date(2021, 9, day)


def measured(*lots: tuple[int, str, int]) -> pa.Table:
    """Readings of lots, each by day, name and hour."""
    return pa.table(
        {
            "day": [september(day) for day, _, _ in lots],
            "lot": [lot for _, lot, _ in lots],
            "measured_at": pa.array(
                [datetime(2021, 9, day, hour, tzinfo=UTC) for day, _, hour in lots],
                pa.timestamp("us", "UTC"),
            ),
            "file": ["a.csv"] * len(lots),
        }
    )


def listed(declared: Table, *rows: tuple[int, list[str], str, int]) -> pa.Table:
    return table(declared, [(september(day), *rest) for day, *rest in rows])


@pytest.fixture
def lists() -> pa.Table:
    return listed(
        ERROR_LISTS,
        (9, ["5"], "a.csv", 5),
        (JUDGED, ["1", "3", "99"], "a.csv", 2),
        (JUDGED, ["3"], "a.csv", 3),
        (JUDGED, ["4"], "b.csv", 2),
        (8, [], "a.csv", 4),
    )


@pytest.fixture
def sensed() -> pa.Table:
    judged = [(JUDGED, lot, hour) for hour in (9, 7) for lot in CASES]
    return measured((8, "1", 7), *judged, (7, "1", 7))


def test_labels_by_case(sensed: pa.Table, lists: pa.Table) -> None:
    lots = label_lots(sensed, lists, none(DOUBTED_DAYS))
    assert lots.schema == LOTS.arrow_schema()
    seven, nine = (datetime(2021, 9, JUDGED, hour, tzinfo=UTC) for hour in (7, 9))
    others = [datetime(2021, 9, day, 7, tzinfo=UTC) for day in (7, 8)]
    assert [tuple(row.values()) for row in lots.to_pylist()] == [
        *((september(JUDGED), lot, 2, seven, nine, CASES[lot]) for lot in sorted(CASES)),
        (september(7), "1", 1, others[0], others[0], "unknown"),  # no list judges the day
        (september(8), "1", 1, others[1], others[1], "good"),  # the list of the day names none
    ]
    report = report_labels(lots, lists, none(DOUBTED_DAYS))
    assert report.schema == LABEL_REPORT.arrow_schema()
    assert [tuple(row.values()) for row in report.to_pylist()] == [
        (september(JUDGED), True, 3, ["a.csv", "b.csv"], 5, 3, 0, 2, ["99"], 0.6, None, None),
        (september(7), False, 0, [], 1, 0, 0, 1, [], 0.0, None, None),
        (september(8), True, 1, ["a.csv"], 1, 0, 1, 0, [], 1.0, None, None),
        (september(9), True, 1, ["a.csv"], 0, 0, 0, 0, ["5"], None, None, None),
    ]


def test_no_lot_of_a_doubted_day_is_good(sensed: pa.Table, lists: pa.Table) -> None:
    doubts = listed(
        DOUBTED_DAYS,
        (JUDGED, ["20"], "b.csv", 3),  # A quarantined row that names its lot all the same.
        (7, ["2"], "b.csv", 4),
        (8, [], "b.csv", 5),
        (5, [], "c.csv", 0),
    )
    lots = label_lots(sensed, lists, doubts)
    assert {(row["day"].day, row["lot"]): row["label"] for row in lots.to_pylist()} == {
        **{(JUDGED, lot): "failed" for lot in ("1", "3", "4", "20")},
        (JUDGED, "2"): "unknown",
        (7, "1"): "unknown",
        (8, "1"): "unknown",
    }
    report = report_labels(lots, lists, doubts).to_pylist()
    assert [tuple(row.values())[:4] for row in report] == [
        (september(5), False, 0, []),
        (september(JUDGED), True, 3, ["a.csv", "b.csv"]),
        (september(7), False, 0, []),
        (september(8), True, 1, ["a.csv"]),
        (september(9), True, 1, ["a.csv"]),
    ]
    assert [row["unmatched_lots"] for row in report] == [[], ["99"], ["2"], [], ["5"]]
    assert [row["lots_good"] for row in report] == [0] * 5


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


@pytest.mark.parametrize("name", UNMATCHED)
def test_a_failed_lot_without_readings_leaves_no_lot_good_that_it_may_be(name: str) -> None:
    failed, lots, labels = UNMATCHED[name]
    rows = measured(*((6, lot, 7) for lot in lots.split()))
    error_lists = listed(ERROR_LISTS, (6, failed.split(), "a.csv", 2))
    found = label_lots(rows, error_lists, none(DOUBTED_DAYS)).to_pylist()
    by_lot = {row["lot"]: row["label"][0] for row in found}
    assert "".join(by_lot[lot] for lot in lots.split()) == labels
