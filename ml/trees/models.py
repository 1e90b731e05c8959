"""Models for lots: trees of several kinds, and a logistic baseline to beat.

The default parameters are the same for all stages. A search (Optuna's TPE) uses only the training
lots of each round, never the lots that the round tests. It also searches the width of the bands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lakehouse.errors import UsageError
from lakehouse.statistics import Band
from ml.data.folds import Indices
from ml.data.lots import LotFrame
from ml.data.splits import Split
from ml.figures.cross_validation import Answers
from ml.figures.metrics import average_precision
from ml.trees.known_lots import KnownLots
from ml.trees.widths import WIDTHS, WidthChoice

SEARCH_FOLDS = 3


@dataclass(frozen=True)
class TreeRecipe:
    """Everything that decides a model besides its data. Every run keeps it as JSON.

    `kind` is a key of `KINDS`. `width` is that of the bands; None: chosen within the training lots
    of each round. `trials` is the number of tries of the search in each round; 0: no search.
    `params` replace the defaults of the kind.
    """

    kind: str
    seed: int = 0
    width: float | None = None
    trials: int = 0
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One try of a search. `ap` is its mean average precision over the inner folds."""

    params: Mapping[str, Any]
    ap: float


@dataclass(frozen=True)
class FittedTrees:
    """A fitted model with the bands that its features are computed with, and the lots it knows.

    `trials` are the tries of the search that found its parameters, in order.
    """

    recipe: TreeRecipe
    bands: Mapping[str, Band]
    model: Any
    known: KnownLots
    trials: tuple[Trial, ...] = ()

    def answers(self, frame: LotFrame, at: Indices) -> Answers:
        """Answer on the frame's lots at `at`, and refuse those that are unlike the known ones."""
        seconds = None if frame.seconds is None else frame.seconds[at]
        reasons = self.known.reasons(frame.features(self.bands)[at], seconds)
        refused = np.array([reason is not None for reason in reasons], bool)
        return Answers(self.predict(frame, at), refused)

    def predict(self, frame: LotFrame, at: Indices) -> NDArray[np.float64]:
        """Predict the probability of failure of the frame's lots at `at`, shape (len(at),)."""
        return np.asarray(self.model.predict_proba(frame.features(self.bands)[at])[:, 1], float)


@dataclass(frozen=True)
class Kind:
    """A kind of model: how to make it, its parameters, and which of them a search may change."""

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

    # One thread: lots are too few to share, so waiting threads cost more than the work itself.
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
"""Class imbalance: the logistic baseline weighs classes. Trees leave it to thresholds by cost."""

SIMPLEST_FIRST = (
    "logistic",
    "random_forest",
    "extra_trees",
    "gradient_boosting",
    "lightgbm",
    "decision_tree",
)
"""Of kinds that are as good, the first wins: it is simpler, or its probabilities are calibrated.

A single tree comes last: its probabilities are shares of a few lots, mostly 0 and 1.
"""


def check_kind(kind: str) -> None:
    """Raise UsageError if there is no such kind."""
    if kind not in KINDS:
        raise UsageError(f"no model kind {kind!r}; known: {', '.join(KINDS)}")


def fit_trees(
    recipe: TreeRecipe,
    frame: LotFrame,
    split: Split,
    train: Indices,
    widths: WidthChoice | None = None,
) -> FittedTrees:
    """Fit bands and model on the training lots only, after a search if the recipe asks for one.

    Args:
        recipe: kind of model, parameters, seed and search.
        frame: lots with their readings and labels.
        split: makes the inner folds of a search, and of the choice of a width.
        train: indices of the training lots in the frame, shape (n,).
        widths: chooses the width; candidates of one study share it.

    Returns:
        The fitted model. It predicts any lots of a frame with the same variables.

    Raises:
        UsageError: there is no such kind, or a search has fewer than two groups of one label.

    Example:
        >>> from datetime import date
        >>> from lakehouse.statistics import Groups
        >>> from ml.data.splits import make_split
        >>> lots, labels = tuple("abcdefgh"), np.array([0, 1] * 4)
        >>> ph = np.random.default_rng(0).normal(np.repeat(labels, 20), 0.1)
        >>> days = (date(2026, 1, 1),) * 8
        >>> groups = Groups(np.full(8, 20))
        >>> frame = LotFrame({}, ("ph",), days, lots, labels, groups, {"ph": ph})
        >>> split = make_split("lots", frame.split_items(), {}, folds=2)
        >>> first = next(split.rounds())
        >>> fitted = fit_trees(TreeRecipe("decision_tree"), frame, split, first.train)
        >>> bool(((fitted.predict(frame, first.test) > 0.5) == labels[first.test]).all())
        True
    """
    check_kind(recipe.kind)
    if recipe.trials:
        found, trials = _searched(recipe, frame, split, train)
        return replace(_fit(found, frame, train), trials=trials)
    if recipe.width is None:
        widths = widths or WidthChoice(frame)
        recipe = replace(recipe, width=widths.of(split, train, recipe.seed))
    return _fit(recipe, frame, train)


def _fit(recipe: TreeRecipe, frame: LotFrame, train: Indices) -> FittedTrees:
    kind = KINDS[recipe.kind]
    assert recipe.width is not None
    bands = frame.fit_bands(train, recipe.width)
    model = kind.make(random_state=recipe.seed, **{**kind.params, **recipe.params})
    features = frame.features(bands)[train]
    model.fit(features, frame.labels[train])
    seconds = None if frame.seconds is None else frame.seconds[train]
    known = KnownLots.of(features, frame.variables, seconds)
    return FittedTrees(recipe, bands, model, known)


def _searched(
    recipe: TreeRecipe, frame: LotFrame, split: Split, train: Indices
) -> tuple[TreeRecipe, tuple[Trial, ...]]:
    """Search parameters. Return the recipe with those of the best trial, and all trials."""
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
