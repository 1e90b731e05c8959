"""Thresholds by brute force, and what they cost."""

import itertools

import numpy as np
import pytest

from ml.data.splits import Item, make_split
from ml.figures.cross_validation import Answers, cross_validate, deployed_thresholds, verdicts
from ml.figures.thresholds import (
    Costs,
    Thresholds,
    decide,
    expected_cost,
    fit_thresholds,
    item_costs,
)

Y = np.array([0, 0, 1, 0, 1])
P = np.array([0.1, 0.2, 0.3, 0.4, 0.9])
COSTS = Costs(escape=100, scrap=10, review=1)


@pytest.mark.parametrize(
    ("p", "verdict"), [(0.2, "good"), (0.3, "needs_human"), (0.69, "needs_human"), (0.7, "bad")]
)
def test_a_verdict_has_three_ways(p: float, verdict: str) -> None:
    assert decide(p, Thresholds(0.3, 0.7)) == verdict


def test_expected_cost_by_hand() -> None:
    # 0.1, 0.2 good; 0.3 (bad) good: an escape; 0.4 to a person; 0.9 bad
    assert expected_cost(Y, P, Thresholds(0.35, 0.5), COSTS) == pytest.approx((100 + 1) / 5)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("costs", [COSTS, Costs(10, 10, 9), Costs(1, 50, 2), Costs(5, 5, 100)])
def test_thresholds_are_the_cheapest_there_are(seed: int, costs: Costs) -> None:
    draw = np.random.default_rng(seed)
    y = draw.integers(0, 2, 25)
    p = np.round(np.clip(draw.normal(0.35 + 0.3 * y, 0.25), 0, 1), 1 if seed % 2 else 6)
    found = fit_thresholds(y, p, costs)
    assert found.low <= found.high
    cuts = [0.0, *(np.unique(p) + 1e-9), 1.1]
    best = min(
        expected_cost(y, p, Thresholds(low, high), costs)
        for low, high in itertools.combinations_with_replacement(cuts, 2)
    )
    assert expected_cost(y, p, found, costs) == pytest.approx(best)


def test_a_person_decides_where_no_item_did() -> None:
    # Judged lots are separated: nothing between 0.1 and 0.9 was ever seen.
    y, p = np.array([0] * 30 + [1] * 3), np.array([0.0, 0.05, 0.1] * 10 + [0.9, 0.95, 1.0])
    found = fit_thresholds(y, p, COSTS)
    assert expected_cost(y, p, found, COSTS) == 0
    new = np.array([0.1, 0.11, 0.5, 0.89, 0.9])
    assert decide(new, found).tolist() == ["good", *["needs_human"] * 3, "bad"]


@pytest.mark.parametrize(("label", "new"), [(0, 0.7), (1, 0.1)])
def test_of_one_kind_alone_only_what_was_seen_is_decided(label: int, new: float) -> None:
    y, p = np.full(5, label), np.linspace(0.2, 0.6, 5)
    found = fit_thresholds(y, p, COSTS)
    assert expected_cost(y, p, found, COSTS) == 0
    assert decide(new, found) == "needs_human"


def test_a_spread_keeps_away_from_items_whose_mistakes_cost_much() -> None:
    y, p = np.array([0] * 40 + [1] * 10), np.linspace(0.01, 0.99, 50)
    exact, wide = (fit_thresholds(y, p, COSTS, spread) for spread in (0.0, 0.5))
    assert wide.low < exact.low and wide.high >= exact.high
    nearly = fit_thresholds(y, p, COSTS, 1e-6)
    assert (nearly.low, nearly.high) == (exact.low, exact.high)


def test_the_spread_is_chosen_by_folds_that_were_left_out() -> None:
    """Each fold's bad items have their own level, as all photos of one part have."""
    draw = np.random.default_rng(0)
    items = [Item(f"{n:03}", n % 3 == 0, f"{n:03}") for n in range(300)]
    split = make_split("lots", items, {}, folds=5)
    levels = np.array([0.5, 0.12, 0.6, 0.25, 0.4])[split.fold]
    p = np.where(split.labels == 1, levels, 0.0) + draw.uniform(0, 0.35, 300)
    evaluated = cross_validate((split,), lambda _, one: Answers(p[one.test]), lambda *_: None)
    chosen = verdicts(evaluated, COSTS)
    assert chosen is not None
    exact = np.full(chosen.shape, "needs_human")
    for number in range(5):
        own = evaluated.fold[:, 0] == number
        fitted = fit_thresholds(evaluated.y[~own], evaluated.p[~own, 0], COSTS)
        exact[own] = decide(evaluated.p[own], fitted)
    paid, before = (item_costs(evaluated.y[:, None], v, COSTS).mean() for v in (chosen, exact))
    assert paid < 0.8 * before


def test_where_all_is_separated_the_spread_changes_nothing() -> None:
    items = [Item(f"{n:03}", n % 4 == 0, f"{n:03}") for n in range(80)]
    split = make_split("lots", items, {}, folds=4)
    p = np.where(split.labels == 1, 0.9, 0.1)
    evaluated = cross_validate((split,), lambda _, one: Answers(p[one.test]), lambda *_: None)
    assert deployed_thresholds(evaluated, COSTS) == fit_thresholds(evaluated.y, p, COSTS)
