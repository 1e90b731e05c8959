"""Train a registered model again from what its run has stored."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from lakehouse.errors import PlatelakeError, QualityGateError
from ml.data.lots import lot_frame
from ml.data.pictures import picture_frame
from ml.data.splits import Split, load_split
from ml.figures.cross_validation import cross_validate, mean_over_splits
from ml.figures.metrics import FIGURES
from ml.figures.predictions import PREDICTIONS_FILE, predictions_as_json
from ml.photos.recipe import recipe_again
from ml.registry import Version
from ml.study.candidates import Candidate
from ml.study.context import TrainingContext
from ml.study.lots import lot_candidate
from ml.trees.models import TreeRecipe

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Reproduced:
    """The figures as they were logged, and as they came out again."""

    version: Version
    logged: Mapping[str, float]
    found: Mapping[str, float]
    largest_difference: float
    """Largest difference of a probability over all tested items."""

    @property
    def is_equal(self) -> bool:
        """Whether all figures came out as logged."""
        return all(abs(self.logged[n] - self.found[n]) <= TOLERANCE for n in self.logged)


def reproduce(context: TrainingContext, version: Version) -> Reproduced:
    """Read the data at the pinned versions, check its hash, train again, and compare the figures.

    Raises:
        PlatelakeError: a pinned version is gone.
        QualityGateError: the data is not what the model was trained on.
    """
    card = context.registry.load(f"{version.name}@{version.number}").card
    logged = context.registry.read_json(version.run_id, PREDICTIONS_FILE)
    splits = [load_split(context.lake, split_id) for split_id in card["splits"]]
    candidate, sha256 = candidate_again(context, card["kind"], card["recipe"], splits)
    if sha256 != card["data_sha256"]:
        raise QualityGateError(
            f"the data of {version} at versions {dict(splits[0].versions)} is not what it was "
            f"trained on: hash {sha256[:16]}, logged {card['data_sha256'][:16]}; the lake's tables "
            "were overwritten or restored"
        )
    found = evaluated_again(context, candidate, splits)
    y, p, q = np.asarray(logged["y"]), np.asarray(logged["p"]), np.asarray(found["p"])
    figures = {name: mean_over_splits(figure) for name, figure in FIGURES.items()}
    return Reproduced(
        version,
        {name: figure(y, p) for name, figure in figures.items()},
        {name: figure(y, q) for name, figure in figures.items()},
        float(np.abs(p - q).max()),
    )


def candidate_again(
    context: TrainingContext, kind: str, recipe: Mapping[str, Any], splits: list[Split]
) -> tuple[Candidate, str]:
    """Make a recipe's candidate on the data of these splits. Return it with the data's hash."""
    versions = splits[0].versions
    if kind == "lots":
        lots = lot_frame(context.lake, context.stage, versions)
        return lot_candidate(TreeRecipe(**recipe), lots, splits[0]), lots.sha256
    from ml.study.photos import photo_candidate

    group = dict(zip(splits[0].items, splits[0].groups, strict=True))
    pictures = picture_frame(context.lake, versions=versions)
    pictures = replace(pictures, groups=tuple(group.get(item, "") for item in pictures.items))
    again = recipe_again(recipe)
    return photo_candidate(again, pictures, splits[0], context, _rounds(context)), pictures.sha256


def evaluated_again(
    context: TrainingContext, candidate: Candidate, splits: list[Split]
) -> dict[str, Any]:
    """Test the candidate on the splits. Return what `predictions_as_json` gives."""
    log = structlog.get_logger()

    def progress(done: int, total: int) -> None:
        log.info("trained again", candidate=candidate.name, rounds=done, of=total)

    found = predictions_as_json(cross_validate(splits, candidate.fit, progress))
    shutil.rmtree(_rounds(context), ignore_errors=True)  # The next one trains from the start.
    return found


def _rounds(context: TrainingContext) -> Path:
    """Return the folder that keeps rounds until all are done."""
    return context.folder / "reproduced"


def predict_again(
    context: TrainingContext, version: Version, split_ids: list[str]
) -> dict[str, Any]:
    """Train and test a version's recipe on splits other than its own."""
    runs = context.registry.runs(version.name, f"attributes.run_id = '{version.run_id}'")
    if not runs:
        raise PlatelakeError(f"MLflow has no run of {version}; its recipe is not known")
    recipe = json.loads(runs[0]["tags"]["recipe"])
    splits = [load_split(context.lake, split_id) for split_id in split_ids]
    candidate, _ = candidate_again(context, splits[0].kind, recipe, splits)
    return evaluated_again(context, candidate, splits)
