"""Lots that a model must leave to a person: cut, stuck, missing, or like none that it knows."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from lakehouse.statistics import Array, Groups, fit_band, lot_statistics
from ml.data.lots import LotFrame, Matrix, as_matrix
from ml.trees.known_lots import KnownLots
from ml.use.reasons import key_of

VARIABLES = ("ph", "voltage")
LOTS, READINGS = 80, 69
DRAW = np.random.default_rng(0)
VALUES = {
    "ph": DRAW.normal(2.1, 0.1, LOTS * READINGS),
    "voltage": np.full(LOTS * READINGS, 4.0),  # The plant holds it constant.
}
BANDS = {name: fit_band(x, 2.0) for name, x in VALUES.items()}


def features(*lots: dict[str, Array]) -> Matrix:
    return as_matrix([lot_statistics(lot, BANDS) for lot in lots], VARIABLES)


def usual(at: int, **other: Array) -> dict[str, Array]:
    own = slice(at * READINGS, (at + 1) * READINGS)
    return {name: x[own] for name, x in VALUES.items()} | other


KNOWN = KnownLots.of(features(*(usual(at) for at in range(60))), VARIABLES)


def reason(**other: Array) -> str:
    [found] = KNOWN.reasons(features(usual(70, **other)))
    return found or ""


def cut(count: int) -> dict[str, Array]:
    return {name: x[:count] for name, x in usual(70).items()}


def test_usual_lots_that_it_never_saw_are_left_to_the_model() -> None:
    assert KNOWN.reasons(features(*(usual(at) for at in range(60, LOTS)))) == [None] * 20


@pytest.mark.parametrize("count", [1, 3, 40])
def test_a_lot_that_is_cut_is_not_whole(count: int) -> None:
    assert reason(**cut(count)) == f"few_readings: {count} < 56"


def test_two_lots_in_one_are_too_many() -> None:
    both = {name: np.concatenate([x, x]) for name, x in usual(70).items()}
    assert reason(**both) == "many_readings: 138 > 86"


def test_a_sensor_that_stands_still_is_stuck_unless_it_always_does() -> None:
    assert reason(ph=np.full(READINGS, float(np.median(VALUES["ph"])))) == "stuck: ph"
    assert reason(voltage=np.full(READINGS, 4.0)) == ""


def test_a_sensor_without_any_value_is_missing() -> None:
    assert reason(ph=np.full(READINGS, np.nan)) == "missing: ph"


@pytest.mark.parametrize("level", [-3.0, 9.0])
def test_values_like_none_that_it_knows_are_named(level: float) -> None:
    assert reason(ph=usual(70)["ph"] + level).startswith("unlike: ph_")


def test_what_never_moved_and_moves_is_unlike() -> None:
    assert reason(voltage=np.where(np.arange(READINGS) < 20, 9.0, 4.0)).startswith("unlike: ")


def test_a_lot_that_takes_too_long_has_gaps() -> None:
    usual_ones = features(*(usual(at) for at in range(60)))
    known = KnownLots.of(usual_ones, VARIABLES, np.full(60, 340.0))
    assert known.reasons(usual_ones[:3], np.array([340, 400, 7200.0])) == [
        None,
        None,
        "gaps: 7200 s > 425 s",
    ]
    assert known.reasons(usual_ones[:1]) == [None]  # Nothing is known of its time.
    assert KnownLots(**asdict(known)) == known


def test_every_reason_is_a_known_key() -> None:
    given = [reason(**cut(3)), reason(ph=np.full(READINGS, np.nan)), reason(ph=np.full(69, 2.1))]
    assert all(key_of(one) for one in [*given, "gaps: 2 s > 1 s", "many_readings: 2 > 1"])


def test_the_card_brings_the_same_limits() -> None:
    assert KnownLots(**asdict(KNOWN)) == KNOWN


def changed(lot: dict[str, Array], name: str) -> list[dict[str, Array]]:
    """The lot with one of its sensors stuck, missing and 10 % too high."""
    x = lot[name]
    return [lot | {name: y} for y in (np.full(len(x), np.median(x)), x * np.nan, x * 1.1)]


def test_lots_of_the_plant_are_left_to_the_model_and_changed_ones_are_not(
    kamp_frame: LotFrame,
) -> None:
    """Limits from four fifths of the published lots, asked of the last fifth."""
    frame = kamp_frame
    order = np.random.default_rng(0).permutation(len(frame.lots))
    refused, left = 0, 0
    for fold in np.array_split(order, 5):
        train = np.setdiff1d(order, fold)
        bands = frame.fit_bands(train, 2.0)
        found = frame.features(bands)
        known = KnownLots.of(found[train], frame.variables)
        refused += sum(one is not None for one in known.reasons(found[fold]))
        odd = []
        for lot in (frame.values[at] for at in fold):
            odd += [{name: x[:count] for name, x in lot.items()} for count in (1, 3, 46)]
            odd.append({name: np.tile(x, 2) for name, x in lot.items()})
            odd.append({name: np.full(len(x), np.median(x)) for name, x in lot.items()})
            odd += [one for name in frame.variables for one in changed(lot, name)]
        rows = as_matrix([lot_statistics(lot, bands) for lot in odd], frame.variables)
        left += known.reasons(rows).count(None)
    assert refused / len(frame.lots) <= 0.05
    assert left == 0


@pytest.fixture(scope="module")
def kamp_frame(chromate: Path) -> LotFrame:
    days = sorted(chromate.glob("sensor/*.csv"))
    rows = [np.genfromtxt(d, delimiter=",", skip_header=1, encoding="utf-8-sig") for d in days]
    columns = {
        name: np.concatenate([day[:, at] for day in rows])
        for at, name in ((3, "ph"), (4, "temperature"), (5, "voltage"))
    }
    lots = np.concatenate([day[:, 1] + 100 * at for at, day in enumerate(rows)])
    groups = Groups.of(lots)
    names = tuple(str(lots[start]) for start in groups.starts)
    labels = np.zeros(len(names), np.int64)
    return LotFrame({}, tuple(columns), (), names, labels, groups, columns)
