"""The width of the bands is chosen on training lots, and counts with its neighbours."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from lakehouse.statistics import Groups
from ml.data.lots import LotFrame
from ml.data.splits import Split, make_split
from ml.trees.models import TreeRecipe, fit_trees
from ml.trees.widths import USUAL_WIDTH, WIDTHS, WidthChoice, best_width

pytestmark = pytest.mark.heavy

LOTS, READINGS = 60, 40


@pytest.fixture(scope="module")
def frame() -> LotFrame:
    """Failed lots have twelve readings at 2.7 scales; good ones have as many at 2.3."""
    draw = np.random.default_rng(0)
    labels = np.array([at % 5 == 0 for at in range(LOTS)], np.int64)
    x = draw.uniform(-1.5, 1.5, (LOTS, READINGS))
    x[:, :12] = np.where(labels == 1, 2.7, 2.3)[:, None] + draw.normal(0, 0.01, (LOTS, 12))
    x = np.sort(draw.permuted(x, axis=1), axis=1)
    names = tuple(f"{at:03}" for at in range(LOTS))
    days = (date(2026, 1, 1),) * LOTS
    groups = Groups(np.full(LOTS, READINGS))
    return LotFrame({}, ("ph",), days, names, labels, groups, {"ph": x.ravel()})


@pytest.fixture(scope="module")
def split(frame: LotFrame) -> Split:
    return make_split("lots", frame.split_items(), {}, folds=3)


def test_a_good_width_between_bad_ones_is_luck() -> None:
    assert best_width([0.2, 0.2, 0.2, 1.0, 0.2, 0.2]) in WIDTHS[2:5]
    assert best_width([0.1, 0.5, 0.9, 0.9, 0.9, 0.1]) == 2.25


def test_the_lots_that_a_round_tests_do_not_matter(frame: LotFrame, split: Split) -> None:
    one = next(split.rounds())
    is_tested = frame.groups.spread(np.isin(np.arange(LOTS), one.test))
    wild = replace(frame, columns={"ph": np.where(is_tested, 100.0, frame.columns["ph"])})
    hidden = replace(wild, labels=np.where(np.isin(np.arange(LOTS), one.test), -1, frame.labels))
    chosen = [WidthChoice(some).of(split, one.train, 0) for some in (frame, hidden)]
    assert chosen[0] == chosen[1]


def test_the_model_is_fitted_with_the_chosen_width(frame: LotFrame, split: Split) -> None:
    one = next(split.rounds())
    chosen = WidthChoice(frame).of(split, one.train, 0)
    fitted = fit_trees(TreeRecipe("decision_tree"), frame, split, one.train)
    assert fitted.recipe.width == fitted.bands["ph"].width == chosen
    fixed = fit_trees(TreeRecipe("decision_tree", width=3.0), frame, split, one.train)
    assert fixed.bands["ph"].width == 3.0


def test_with_too_few_lots_it_is_the_usual_width(frame: LotFrame, split: Split) -> None:
    of_one_kind = np.flatnonzero(frame.labels == 0)[:6]
    assert WidthChoice(frame).of(split, of_one_kind, 0) == USUAL_WIDTH


def test_the_curve_has_a_value_for_each_width(frame: LotFrame, split: Split) -> None:
    curve = WidthChoice(frame).curve(split, 0)
    assert len(curve) == len(WIDTHS) and all(0 <= value <= 1 for value in curve)
