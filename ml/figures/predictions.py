"""Predictions of a study as JSON: stored with each run, to compare models and costs later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ml.figures.cross_validation import CrossValidation

PREDICTIONS_FILE = "judged.json"
"""As it is called in studies that are logged already."""


def predictions_as_json(evaluated: CrossValidation) -> dict[str, Any]:
    """Return every item's label, probabilities, folds and refusals."""
    return {
        "splits": [split.split_id for split in evaluated.splits],
        "items": list(evaluated.items),
        "groups": list(evaluated.groups),
        "y": evaluated.y.tolist(),
        "p": evaluated.p.tolist(),
        "fold": evaluated.fold.tolist(),
        "refused": evaluated.refused.tolist(),
    }


def predictions_from_json(stored: Mapping[str, Any]) -> CrossValidation:
    """Return the predictions again, without the splits themselves.

    A study of an earlier version stored no refusals: then nothing was refused.
    """
    p = np.asarray(stored["p"], np.float64)
    return CrossValidation(
        (),
        tuple(stored["items"]),
        np.asarray(stored["y"], np.int64),
        p,
        np.asarray(stored["fold"], np.int64),
        tuple(stored["groups"]),
        np.asarray(stored.get("refused", np.zeros(p.shape, bool)), bool),
    )
