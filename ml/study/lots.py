"""Studies of trees on lots, from the lake to a challenger in MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ml.data.lots import LotFrame, feature_names, lot_frame
from ml.data.splits import Round, Split
from ml.figures.cross_validation import Answers
from ml.figures.plots import plot_importance, plot_lots, plot_shap, plot_widths
from ml.onnx import trees_to_onnx
from ml.registry import Version
from ml.study.candidates import Candidate, Final
from ml.study.context import Protocol, TrainingContext, check_inner, run_study
from ml.trees.models import KINDS, SIMPLEST_FIRST, TreeRecipe, check_kind, fit_trees
from ml.trees.widths import USUAL_WIDTH, WIDTHS, WidthChoice

BACKGROUND = 40
"""Number of lots that an explanation compares with. The model's card holds them."""


def train_lots(
    context: TrainingContext,
    recipes: Sequence[TreeRecipe],
    protocol: Protocol,
    group: str,
    versions: Mapping[str, int] | None = None,
) -> Version:
    """Test each recipe on the lots, log the study, and register the best as challenger.

    `group` is lot or day: what is never on both sides of a split. `versions` are Delta versions of
    the tables; without it, the current ones.
    """
    for recipe in recipes:
        check_kind(recipe.kind)
    frame = lot_frame(context.lake, context.stage, versions)
    splits = protocol.splits("lots", frame.split_items(group), frame.versions)
    if any(recipe.trials for recipe in recipes):
        check_inner(splits)
    study = context.study("lots", splits, frame.sha256, {**asdict(protocol), "group": group})

    widths = WidthChoice(frame)

    def report(folder: Path) -> None:
        bands = frame.fit_bands(np.arange(len(frame.lots)), recipes[0].width or USUAL_WIDTH)
        plot_lots(frame, frame.features(bands), feature_names(frame.variables), folder)
        plot_widths(WIDTHS, widths.curve(splits[0], recipes[0].seed), folder)

    candidates = [lot_candidate(recipe, frame, splits[0], widths) for recipe in recipes]
    return run_study(context, study, candidates, report)


def lot_candidate(
    recipe: TreeRecipe, frame: LotFrame, split: Split, widths: WidthChoice | None = None
) -> Candidate:
    """Make the candidate that trains one recipe on rounds and on all lots.

    Candidates of one study share `widths`.
    """

    def fit(split: Split, one: Round) -> Answers:
        return fit_trees(recipe, frame, split, one.train, widths).answers(frame, one.test)

    def finish() -> Final:
        everything = np.arange(len(frame.lots))
        fitted = fit_trees(recipe, frame, split, everything, widths)
        features = frame.features(fitted.bands)
        names = feature_names(frame.variables)
        chosen = np.random.default_rng(recipe.seed).permutation(everything)[:BACKGROUND]
        card = {
            "variables": list(frame.variables),
            "bands": {name: vars(band) for name, band in fitted.bands.items()},
            "known": asdict(fitted.known),
            "background": features[np.sort(chosen)].tolist(),
        }

        def draw(folder: Path) -> None:
            estimator, inputs = fitted.model, features
            if hasattr(estimator, "steps"):
                estimator, inputs = estimator[-1], estimator[:-1].transform(features)
            importance = getattr(estimator, "feature_importances_", None)
            plot_importance(
                names,
                np.abs(estimator.coef_[0]) if importance is None else importance,
                folder / "importance.png",
            )
            shown = np.concatenate([np.flatnonzero(frame.labels), chosen])
            plot_shap(estimator, inputs[shown], names, folder / "shap.png")

        example = {"features": features[:3]}
        trials = [vars(trial) for trial in fitted.trials]
        params = {**KINDS[recipe.kind].params, **fitted.recipe.params}
        return Final(trees_to_onnx(fitted, features), card, example, draw, trials, params=params)

    order = SIMPLEST_FIRST.index(recipe.kind)
    return Candidate(recipe.kind, asdict(recipe), fit, finish, order)
