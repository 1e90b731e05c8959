"""What other costs would do: checked against the study's own figures and by hand."""

import json

import numpy as np
import pytest

from ml.figures.cross_validation import CrossValidation, deployed_thresholds, verdicts
from ml.figures.predictions import predictions_as_json, predictions_from_json
from ml.figures.savings import savings
from ml.figures.thresholds import Costs, fit_thresholds, item_costs
from ml.figures.what_if import expected
from tests.ml.figures.test_savings import LABELS, _evaluated

COSTS = Costs(escape=100, scrap=10, review=1)


@pytest.fixture(scope="module")
def tested() -> CrossValidation:
    doubt = np.random.default_rng(4).normal(0, 0.25, len(LABELS))
    found: CrossValidation = _evaluated(
        np.clip(0.2 + 0.6 * LABELS + doubt, 0, 1), np.arange(len(LABELS)) == 7
    )
    return found


def test_the_costs_of_the_study_give_its_own_figures(tested: CrossValidation) -> None:
    found, own = expected(tested, COSTS), verdicts(tested, COSTS)
    assert own is not None
    assert found.shares == savings(tested, own, COSTS)
    assert found.cost == item_costs(tested.y[:, None], own, COSTS).mean()
    assert found.thresholds == deployed_thresholds(tested, COSTS)
    assert found.review is not None
    assert found.review.value == pytest.approx((own == "needs_human").mean())
    assert found.review.low <= found.review.value <= found.review.high


def test_dear_reviews_mean_fewer_of_them(tested: CrossValidation) -> None:
    loads = [
        found.value
        for review in (0.1, 1, 8, 50)
        if (found := expected(tested, Costs(100, 10, review)).review)
    ]
    assert loads == sorted(loads, reverse=True) and loads[0] > 0.3 > loads[-1]


def test_stored_predictions_come_back(tested: CrossValidation) -> None:
    stored = json.loads(json.dumps(predictions_as_json(tested)))
    again = predictions_from_json(stored)
    assert expected(again, COSTS) == expected(tested, COSTS) and again.refused.sum() == 1
    del stored["refused"]  # As studies of an earlier version have it.
    assert not predictions_from_json(stored).refused.any()


def test_one_fold_has_thresholds_and_no_figures(tested: CrossValidation) -> None:
    stored = predictions_as_json(tested)
    stored["fold"] = np.zeros_like(tested.fold).tolist()
    found = expected(predictions_from_json(stored), COSTS)
    assert (found.cost, found.shares, found.review) == (None, {}, None)
    assert found.thresholds == fit_thresholds(tested.y, tested.p[:, 0], COSTS)
