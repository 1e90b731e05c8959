"""Thresholds by brute force, and what they cost."""

import itertools

import numpy as np
import pytest

from ml.figures.thresholds import Costs, Thresholds, decide, expected_cost, fit_thresholds

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
