"""What a model saves, by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest

from ml.data.splits import Item, make_split
from ml.figures.cross_validation import Answers, cross_validate, verdicts
from ml.figures.metrics import Interval
from ml.figures.savings import most_missed, saves_nothing, savings, savings_in_words
from ml.figures.thresholds import Costs, item_costs

COSTS = Costs(escape=100, scrap=10, review=2)
ITEMS = [Item(f"lot-{n:02}", n % 4 == 0, f"lot-{n:02}") for n in range(40)]
SPLITS = (make_split("lots", ITEMS, {}, folds=2),)


def _evaluated(p: np.ndarray, refused: np.ndarray | None = None):
    def fit(split, one):
        return Answers(p[one.test], None if refused is None else refused[one.test])

    return cross_validate(SPLITS, fit, lambda done, total: None)


def _verdicts(evaluated, costs):
    found = verdicts(evaluated, costs)
    assert found is not None
    return found


def _saved(evaluated, costs):
    return savings(evaluated, _verdicts(evaluated, costs), costs)


LABELS = np.array([item.label for item in ITEMS])


def test_a_model_that_knows_all_costs_nothing() -> None:
    found = _saved(_evaluated(0.1 + 0.8 * LABELS), COSTS)
    assert found["decided"] == Interval(1, 1, 1)
    assert found["cost_ratio"] == Interval(0, 0, 0)
    assert found["escapes"].value == found["false_alarms"].value == 0


def test_a_model_that_knows_nothing_costs_a_person_for_every_item() -> None:
    metrics = {name: one.value for name, one in _saved(_evaluated(np.full(40, 0.5)), COSTS).items()}
    assert metrics["decided"] == 0
    assert metrics["cost_ratio"] == 1
    assert saves_nothing(metrics)
    assert "saves nothing" in savings_in_words(metrics)


def test_an_item_that_is_refused_costs_a_review_and_is_no_mistake() -> None:
    p, refused = 0.1 + 0.8 * LABELS, np.zeros(40, bool)
    p[1], p[4], refused[[1, 4]] = 0.95, 0.0, True  # Both would be wrong.
    evaluated = _evaluated(p, refused)
    found = _saved(evaluated, COSTS)
    assert found["refused"].value == pytest.approx(2 / 40)
    assert found["escapes"].value == 0
    paid = item_costs(evaluated.y[:, None], _verdicts(evaluated, COSTS), COSTS)
    assert paid[[1, 4], 0].tolist() == [2, 2]


def test_reviews_that_cost_nothing_have_no_ratio() -> None:
    found = _saved(_evaluated(0.1 + 0.8 * LABELS), Costs(10, 1, 0))
    assert "cost_ratio" not in found
    assert savings_in_words({name: one.value for name, one in found.items()}) == ""


@pytest.mark.parametrize("bad", [1, 4, 9, 300])
def test_the_bound_is_clopper_pearsons(bad: int) -> None:
    exact = binomtest(0, bad, alternative="less").proportion_ci(0.95, "exact").high
    assert most_missed(bad) == pytest.approx(exact)
