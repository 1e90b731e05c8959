"""Of candidates that four failed lots cannot tell apart, evidence decides, not luck."""

from typing import Any

import numpy as np
import pytest

from ml.figures.metrics import average_precision, brier
from ml.study.evidence import (
    Contender,
    best,
    earlier_winner_in_words,
    larger_study_in_words,
    largest_study,
)

Y = np.array([1] * 4 + [0] * 60)
GROUPS = [f"lot-{n}" for n in range(len(Y))]


def contender(name: str, p: Any, order: int = 0, cost: float = 0.0) -> Contender:
    p = np.asarray(p, float)
    metrics = {"ap": average_precision(Y, p), "brier": brier(Y, p), "cost_ratio": cost, "bad": 4.0}
    predictions = {"y": Y.tolist(), "p": p[:, None].tolist(), "groups": GROUPS}
    tags = {"candidate": name, "splits": "a", "recipe": "{}"}
    return Contender(name, tags, metrics, predictions, order)


SURE = np.where(Y == 1, 1.0, 0.0)
CALM = np.where(Y == 1, 0.8, 0.05)
TREE, FOREST = contender("decision_tree", SURE, 5), contender("random_forest", CALM, 1)


def run(name: str, ap: float, splits: str = "b,c", bad: float = 9) -> dict[str, Any]:
    return {"tags": {"candidate": name, "splits": splits}, "metrics": {"ap": ap, "bad": bad}}


def test_a_brier_score_that_likes_0_and_1_does_not_decide() -> None:
    assert TREE.metrics["brier"] < FOREST.metrics["brier"]
    assert best([TREE, FOREST]) is FOREST


def test_the_larger_study_decides_first() -> None:
    larger = [run("decision_tree", 0.93), run("random_forest", 0.98)]
    cheap = contender("decision_tree", SURE, 0, cost=0.0)
    dear = contender("random_forest", CALM, 1, cost=0.5)
    assert best([cheap, dear]) is cheap
    assert best([cheap, dear], larger) is dear


def test_then_the_cost_of_the_verdicts_if_it_differs_by_more_than_a_hundredth() -> None:
    dear, same = (contender("random_forest", CALM, 1, cost=cost) for cost in (0.5, 0.004))
    assert best([TREE, dear]) is TREE
    assert best([TREE, same]) is same


def test_a_hundredth_is_a_distance_and_not_a_place_after_the_point() -> None:
    tree = contender("decision_tree", SURE, 5, cost=0.004)
    assert best([tree, contender("random_forest", CALM, 1, cost=0.006)]).name == "random_forest"


def test_one_that_is_shown_to_be_better_wins_whatever_it_costs() -> None:
    blind = contender("logistic", np.random.default_rng(0).uniform(size=len(Y)), 0, cost=0.0)
    assert best([blind, contender("lightgbm", CALM, 4, cost=3.0)]).name == "lightgbm"


def test_a_larger_study_is_one_with_more_bad_items_over_all_splits() -> None:
    same, smaller, larger = (
        run("x", 1, "a"),
        run("x", 1, "d", bad=3),
        run("x", 1, "e,f,g", bad=2),
    )
    assert largest_study([same, smaller, larger], TREE) == [larger]
    assert largest_study([same, smaller], TREE) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("decision_tree", "it had ap 0.930, and random_forest had 0.980"),
        ("lightgbm", "it was not tested, and random_forest had 0.980"),
        ("random_forest", ""),
    ],
)
def test_what_a_larger_study_found_is_said(name: str, said: str) -> None:
    larger = [run("decision_tree", 0.93), run("random_forest", 0.98)]
    tags = {"candidate": name, "splits": "a"}
    found = larger_study_in_words(larger, tags, {"bad": 4.0})
    assert found == (f"in the larger study of 9 bad ones {said}" if said else "")


def test_a_better_candidate_on_the_same_splits_is_said() -> None:
    runs = [run("decision_tree", 0.93, "a"), run("random_forest", 1.0, "a"), run("x", 1.0, "b")]
    found = earlier_winner_in_words(runs, {"splits": "a"}, {"ap": 0.93})
    assert found == "on the same splits random_forest had ap 1.000, and it had 0.930"
    assert earlier_winner_in_words(runs, {"splits": "a"}, {"ap": 1.0}) == ""
    assert earlier_winner_in_words([], {"splits": "a"}, {"ap": 0.5}) == ""
