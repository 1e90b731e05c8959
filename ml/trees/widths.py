"""The width of the bands: how far a reading must be from the centre to be an excursion.

A model's figures depend on it, and on some plants only a narrow range of widths is any good. So it
is chosen within the training lots of each round, never on the lots that the round tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ml.data.errors import TooFewError
from ml.data.folds import Indices
from ml.data.lots import LotFrame
from ml.data.splits import Split
from ml.figures.metrics import average_precision

WIDTHS = (1.5, 1.75, 2.0, 2.25, 2.5, 3.0)
"""Widths of bands to choose from, in scales."""
USUAL_WIDTH = 2.0
"""Wins if others are as good: that of the lake's own features."""
FOLDS, TREES = 3, 50
"""Folds within the training lots, and trees of the forest that tries the widths."""


class WidthChoice:
    """Chooses the width of the bands for the lots of one frame.

    Candidates of one study share a choice, so each round is tried once. A small forest tries the
    widths for all of them.
    """

    def __init__(self, frame: LotFrame) -> None:
        self.frame = frame
        self._chosen: dict[tuple[str, bytes, int], float] = {}

    def of(self, split: Split, train: Indices, seed: int) -> float:
        """Choose a width by the mean average precision over folds within the lots at `train`.

        Each width counts together with its neighbours, because a good one between bad ones is luck.
        With too few lots to try, it is `USUAL_WIDTH`.
        """
        key = split.split_id, np.asarray(train).tobytes(), seed
        if key not in self._chosen:
            self._chosen[key] = self._choose(split, train, seed)
        return self._chosen[key]

    def _choose(self, split: Split, train: Indices, seed: int) -> float:
        try:
            pairs = split.inner(train, FOLDS, seed)
        except TooFewError:
            return USUAL_WIDTH
        return best_width([self._mean_ap(width, pairs, seed) for width in WIDTHS])

    def curve(self, split: Split, seed: int) -> list[float]:
        """Return the mean average precision over the folds of a split, by each of `WIDTHS`."""
        pairs = [(one.train, one.test) for one in split.rounds()]
        return [self._mean_ap(width, pairs, seed) for width in WIDTHS]

    def _mean_ap(self, width: float, pairs: Iterable[tuple[Indices, Indices]], seed: int) -> float:
        from sklearn.ensemble import ExtraTreesClassifier

        labels, found = self.frame.labels, []
        for fit, validate in pairs:
            features = self.frame.features(self.frame.fit_bands(fit, width))
            forest = ExtraTreesClassifier(TREES, max_features=0.5, random_state=seed)
            p = forest.fit(features[fit], labels[fit]).predict_proba(features[validate])
            if p.shape[1] == 2 and 0 < labels[validate].sum() < len(validate):
                found.append(average_precision(labels[validate], p[:, 1]))
        return float(np.mean(found)) if found else 0.0


def best_width(ap: Sequence[float]) -> float:
    """Choose a width from the average precision of each of `WIDTHS`.

    Example:
        >>> best_width([0.1, 0.1, 1.0, 0.9, 0.9, 0.9])  # 2.0 has a bad neighbour.
        2.25
        >>> best_width([1.0] * 6)
        2.0
    """
    padded = np.pad(np.asarray(ap, float), 1, "edge")
    together = np.round((padded[:-2] + padded[1:-1] + padded[2:]) / 3, 6)
    best = np.flatnonzero(together == together.max())
    return min((WIDTHS[at] for at in best), key=lambda width: abs(width - USUAL_WIDTH))
