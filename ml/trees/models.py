"""Models on lots: trees of several kinds, and a logistic baseline to beat.

Defaults are one stated choice for all stages. A search (Optuna's TPE) is made inside the training
lots of each round, never on the lots that the round judges; it also searches the bands' width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lakehouse.errors import UsageError
from lakehouse.statistics import Band
from ml.data.lots import LotFrame
from ml.data.splits import Indices, Split
from ml.figures.metrics import average_precision

SEARCH_FOLDS = 3
WIDTHS = (1.5, 1.75, 2.0, 2.25, 2.5, 3.0)
"""Bands' widths that a search chooses from."""


@dataclass(frozen=True)
class TreeRecipe:
    """All that decides a model besides its data; as JSON it stands with every run.

    `trials` is the number of a search's tries in each round; 0: the parameters as given.
    """

    kind: str
    seed: int = 0
    width: float = 2.0
    trials: int = 0
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One try of a search; `ap` is its mean average precision over the inner folds."""

    params: Mapping[str, Any]
    ap: float


@dataclass(frozen=True)
class FittedTrees:
    """A fitted model with the bands that its features are computed by.

    `trials` are the tries of the search that found its parameters, in their order.
    """

    recipe: TreeRecipe
    bands: Mapping[str, Band]
    model: Any
    trials: tuple[Trial, ...] = ()

    def predict(self, frame: LotFrame, at: Indices) -> NDArray[np.float64]:
        """Probability of failure of these lots, shape (len(at),)."""
        return np.asarray(self.model.predict_proba(frame.features(self.bands)[at])[:, 1], float)


@dataclass(frozen=True)
class Kind:
    """A kind of model: how to make it, its parameters, and what a search may change of them."""

    make: Callable[..., Any]
    params: Mapping[str, Any]
    space: Callable[[Any], dict[str, Any]]


def _forest(trial: Any) -> dict[str, Any]:
    return {
        "max_features": trial.suggest_categorical("max_features", ["sqrt", 0.5, 1.0]),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 4),
        "class_weight": trial.suggest_categorical("class_weight", [None, "balanced"]),
    }


def _boosted(trial: Any) -> dict[str, Any]:
    return {
        "n_estimators": trial.suggest_int("n_estimators", 50, 300, step=50),
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
    }


def _decision_tree(**params: Any) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(**params)


def _random_forest(**params: Any) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_jobs=-1, **params)


def _extra_trees(**params: Any) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(n_jobs=-1, **params)


def _gradient_boosting(**params: Any) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(**params)


def _lightgbm(**params: Any) -> Any:
    from lightgbm import LGBMClassifier

    # One thread: lots are too few to share, and threads that wait for work cost more than it.
    fixed: dict[str, Any] = {
        "n_jobs": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    return LGBMClassifier(**fixed, **params)


def _logistic(**params: Any) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000, **params))


KINDS: Mapping[str, Kind] = {
    "decision_tree": Kind(
        _decision_tree,
        {"max_depth": 3, "min_samples_leaf": 2},
        lambda trial: {"max_depth": trial.suggest_int("max_depth", 1, 6)},
    ),
    "random_forest": Kind(_random_forest, {"n_estimators": 500, "max_features": 0.5}, _forest),
    "extra_trees": Kind(_extra_trees, {"n_estimators": 500, "max_features": 0.5}, _forest),
    "gradient_boosting": Kind(
        _gradient_boosting,
        {
            "n_estimators": 200,
            "learning_rate": 0.05,
            "max_depth": 2,
            "subsample": 0.8,
            "max_features": 0.5,
            "min_samples_leaf": 2,
        },
        _boosted,
    ),
    "lightgbm": Kind(
        _lightgbm,
        {
            "n_estimators": 200,
            "learning_rate": 0.05,
            "num_leaves": 7,
            "min_child_samples": 5,
            "subsample": 0.8,
            "subsample_freq": 1,
            "colsample_bytree": 0.5,
            "reg_lambda": 1.0,
        },
        _boosted,
    ),
    "logistic": Kind(
        _logistic,
        {"class_weight": "balanced", "C": 1.0},
        lambda trial: {"C": trial.suggest_float("C", 0.01, 10.0, log=True)},
    ),
}
"""Class imbalance: the logistic baseline weighs classes. Trees do not; thresholds by cost do it."""


def check_kind(kind: str) -> None:
    """Raises UsageError for a kind that is none."""
    if kind not in KINDS:
        raise UsageError(f"no model kind {kind!r}; known: {', '.join(KINDS)}")


def fit_trees(recipe: TreeRecipe, frame: LotFrame, split: Split, train: Indices) -> FittedTrees:
    """Fit on these lots alone: the search if asked for, the bands, the model."""
    check_kind(recipe.kind)
    if not recipe.trials:
        return _fit(recipe, frame, train)
    found, trials = _searched(recipe, frame, split, train)
    return replace(_fit(found, frame, train), trials=trials)


def _fit(recipe: TreeRecipe, frame: LotFrame, train: Indices) -> FittedTrees:
    kind = KINDS[recipe.kind]
    bands = frame.fit_bands(train, recipe.width)
    model = kind.make(random_state=recipe.seed, **{**kind.params, **recipe.params})
    model.fit(frame.features(bands)[train], frame.labels[train])
    return FittedTrees(recipe, bands, model)


def _searched(
    recipe: TreeRecipe, frame: LotFrame, split: Split, train: Indices
) -> tuple[TreeRecipe, tuple[Trial, ...]]:
    """The recipe with the parameters of the best trial, and all trials."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pairs = split.inner(train, SEARCH_FOLDS, recipe.seed)

    def tried(trial: optuna.trial.Trial) -> TreeRecipe:
        width = trial.suggest_categorical("width", WIDTHS)
        params = {**recipe.params, **KINDS[recipe.kind].space(trial)}
        return replace(recipe, width=float(width), trials=0, params=params)

    def score(trial: optuna.trial.Trial) -> float:
        candidate = tried(trial)
        return float(
            np.mean(
                [
                    average_precision(
                        frame.labels[validate], _fit(candidate, frame, fit).predict(frame, validate)
                    )
                    for fit, validate in pairs
                ]
            )
        )

    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=recipe.seed)
    )
    study.optimize(score, n_trials=recipe.trials)
    best = tried(optuna.trial.FixedTrial(study.best_params))  # type: ignore[arg-type]
    return best, tuple(Trial(one.params, float(one.value or 0)) for one in study.trials)
