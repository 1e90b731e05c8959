"""Figures by hand, intervals that mean something."""

import numpy as np
import pytest

from ml.figures.metrics import (
    Labels,
    Probabilities,
    auroc,
    average_precision,
    bootstrap,
    brier,
    calibration,
    paired_bootstrap,
    recall_at_fpr,
)

Y = np.array([0, 0, 1, 0, 1])
P = np.array([0.1, 0.2, 0.3, 0.4, 0.9])


def test_figures_by_hand() -> None:
    assert auroc(Y, P) == pytest.approx(5 / 6)
    assert average_precision(Y, P) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert recall_at_fpr(Y, P) == 0.5  # the other bad one costs a third of the good ones
    assert brier(Y, P) == pytest.approx((0.01 + 0.04 + 0.49 + 0.16 + 0.01) / 5)
    assert np.isnan(auroc(np.zeros(3, int), P[:3]))


@pytest.mark.parametrize("seed", range(10))
def test_figures_are_those_of_scikit_learn_in_each_draw(seed: int) -> None:
    """Of a draw that holds items several times, and probabilities that are equal."""
    import sklearn.metrics  # Takes seconds: not where `make check` only collects.

    draw = np.random.default_rng(seed)
    n = int(draw.integers(2, 60))
    y, p = draw.integers(0, 2, n), np.round(draw.random(n), 1 if seed % 2 else 9)
    drawn = draw.multinomial(n, np.full(n, 1 / n), 30)
    for figure, theirs in (
        (auroc, sklearn.metrics.roc_auc_score),
        (average_precision, sklearn.metrics.average_precision_score),
        (recall_at_fpr, recall_by_scikit_learn),
        (brier, lambda y, p: sklearn.metrics.brier_score_loss(y, p, pos_label=1)),
    ):
        found = figure.of_draws(y, p, drawn)
        for value, times in zip(found, drawn, strict=True):
            at = np.repeat(np.arange(n), times)
            if figure is brier or 0 < y[at].sum() < n:
                assert value == pytest.approx(theirs(y[at], p[at]))
            else:
                assert np.isnan(value)


def recall_by_scikit_learn(y: Labels, p: Probabilities) -> float:
    import sklearn.metrics

    false_positives, recall, _ = sklearn.metrics.roc_curve(y, p, drop_intermediate=False)
    return float(recall[false_positives <= 0.05].max())


def test_an_interval_is_the_same_however_many_draws_fit_into_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = np.random.default_rng(3)
    y, p = draw.integers(0, 2, 50), draw.random(50)
    groups = [str(k // 2) for k in range(50)]
    whole = bootstrap(auroc, y, p, groups)
    monkeypatch.setattr("ml.figures.metrics.DRAWS_AT_ONCE", 350)
    assert bootstrap(auroc, y, p, groups) == whole


def test_an_interval_covers_and_narrows() -> None:
    draw = np.random.default_rng(0)

    def interval(n: int) -> tuple[float, float]:
        y = draw.integers(0, 2, n)
        p = np.clip(draw.normal(0.4 + 0.2 * y, 0.2), 0, 1)
        found = bootstrap(auroc, y, p, [str(k) for k in range(n)])
        assert found.low <= found.value <= found.high
        return found.low, found.high

    small, large = interval(40), interval(800)
    assert large[1] - large[0] < (small[1] - small[0]) / 2


def test_items_of_one_group_are_drawn_together() -> None:
    draw = np.random.default_rng(1)
    y = np.repeat(draw.integers(0, 2, 30), 10)
    p = np.repeat(np.clip(draw.normal(0.4, 0.2, 30) + 0.2 * y[::10], 0, 1), 10)
    apart = bootstrap(auroc, y, p, [str(k) for k in range(300)])
    together = bootstrap(auroc, y, p, [str(k // 10) for k in range(300)])
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_a_pair_is_judged_on_the_same_draws() -> None:
    draw = np.random.default_rng(2)
    y = draw.integers(0, 2, 200)
    p = np.clip(draw.normal(0.4 + 0.2 * y, 0.2), 0, 1)
    groups = [str(k) for k in range(200)]
    same = paired_bootstrap(auroc, y, p, p, groups)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    better = paired_bootstrap(auroc, y, p + 0.2 * y, p, groups)
    assert better.low > 0


def test_calibration_bins_hold_all() -> None:
    bins = calibration(Y, P, 2)
    assert [count for _, _, count in bins] == [3, 2]
    assert bins[0][:2] == (pytest.approx(0.2), pytest.approx(1 / 3))
