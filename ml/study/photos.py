"""Studies of networks on pictures, from the lake to a challenger in MLflow."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from ml.data.folds import Indices
from ml.data.pictures import PERCEPTUAL_NEIGHBOURS, PictureFrame, picture_frame
from ml.data.splits import Round, Split
from ml.figures.cross_validation import Answers
from ml.figures.metrics import Probabilities
from ml.photos.distributed import fit_cnn_together
from ml.photos.fitted import Ensemble, Fitted
from ml.photos.linear_probe import fit_probe, predict_probe
from ml.photos.patch_model import FittedPatches, fit_patches, predict_patches
from ml.photos.recipe import CnnRecipe, PatchRecipe, Recipe
from ml.photos.training import fit_cnn
from ml.registry import Version
from ml.study.candidates import Candidate, Final
from ml.study.context import Protocol, TrainingContext, check_inner, git_commit, run_study
from ml.study.examples import photo_examples


def train_photos(
    context: TrainingContext,
    recipes: Sequence[Recipe],
    protocol: Protocol,
    groups: Mapping[str, str] | None = None,
    near: int = PERCEPTUAL_NEIGHBOURS,
    versions: Mapping[str, int] | None = None,
    kinds: Mapping[str, str] | None = None,
) -> Version:
    """Test each recipe on the pictures, log the study, and register the best as challenger.

    `groups` maps names of photos to groups that the plant knows, such as the part. Pictures whose
    perceptual hashes differ in at most `near` bits are one group too; -1 links none. `versions` are
    Delta versions of the tables; without it, the current ones. `kinds` maps names of photos to
    kinds of defect, for the model card.
    """
    frame = picture_frame(context.lake, groups, near, versions)
    splits = protocol.splits("photos", frame.split_items(), frame.versions)
    check_inner(splits)
    by_item = {
        item: kinds[name]
        for item, names in zip(frame.items, frame.names, strict=True)
        for name in names
        if kinds and name in kinds
    }
    options = {**asdict(protocol), "near": near}
    study = context.study("photos", splits, frame.sha256, options, by_item, frame.people)
    candidates = [
        photo_candidate(recipe, frame, splits[0], context, context.folder, by_item)
        for recipe in recipes
    ]
    return run_study(context, study, candidates, None)


VALIDATION_FOLDS = 5
"""One fold in this many of a round's training groups validates a network: stops and calibrates it.

If fewer groups are good or bad, there are only as many folds, and at most as many members.
"""


EPOCH_FIGURES = ("loss", "validation_loss", "validation_ap", "learning_rate")
"""What is logged for every epoch of the networks that are put to use."""


def photo_candidate(
    recipe: Recipe,
    frame: PictureFrame,
    split: Split,
    context: TrainingContext,
    folder: Path,
    kinds: Mapping[str, str] | None = None,
) -> Candidate:
    """Make the candidate that trains one recipe on rounds and on all pictures."""
    if isinstance(recipe, PatchRecipe):
        return patch_candidate(recipe, frame, split, kinds)
    found = cnn_candidate(recipe, frame, split, context, folder)
    return replace(found, examples=partial(photo_examples, frame, {}, kinds or {}))


def patch_candidate(
    recipe: PatchRecipe,
    frame: PictureFrame,
    split: Split,
    kinds: Mapping[str, str] | None = None,
) -> Candidate:
    """Make the candidate of a model of patches. It trains in seconds, so it keeps no rounds.

    The maps of the test pictures of `split` are kept for the examples of the model card.
    """
    heats: dict[int, NDArray[np.float32]] = {}
    first = split.split_id

    def trained(split: Split, train: Indices) -> FittedPatches:
        folds = split.inner(train, recipe.members, recipe.seed)
        return fit_patches(recipe, frame, train, folds)

    def evaluated(split: Split, one: Round) -> Answers:
        found = predict_patches(trained(split, one.train), frame, one.test)
        if split.split_id == first:
            heats.update(zip(one.test.tolist(), found.heat, strict=True))
        return Answers(found.p, found.refused)

    def finish() -> Final:
        model = trained(split, np.arange(len(frame.items)))
        blank = np.zeros((1, frame.height, frame.width, 3), np.uint8)
        card = {"width": frame.width, "height": frame.height, "limits": model.limits}
        return Final(model.onnx(frame), card, {"pictures": blank})

    examples = partial(photo_examples, frame, heats, kinds or {})
    return Candidate(recipe.network, asdict(recipe), evaluated, finish, examples=examples)


def cnn_candidate(
    recipe: CnnRecipe, frame: PictureFrame, split: Split, context: TrainingContext, folder: Path
) -> Candidate:
    """Make the candidate of a network. It continues a study that was interrupted."""
    # Other code may train another model, so files that it left are not continued.
    about = [asdict(recipe), frame.sha256, git_commit(), torch.__version__]
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    place = folder / "checkpoints" / key

    def trained(split: Split, train: Indices, name: str) -> Ensemble:
        folds = split.inner(train, max(VALIDATION_FOLDS, recipe.members), recipe.seed)
        if recipe.frozen:
            return Ensemble(recipe, (fit_probe(recipe, frame, train, folds),))
        members = [
            _member(recipe, frame, fit, validate, place / f"{name}-{number}.pt", context)
            for number, (fit, validate) in enumerate(folds[: recipe.members])
        ]
        return Ensemble(recipe, tuple(members))

    def predicted(split: Split, one: Round) -> Probabilities:
        name = f"{split.split_id}-{one.fold}"
        place.mkdir(parents=True, exist_ok=True)
        done = place / f"{name}.npy"
        if done.is_file():
            return np.asarray(np.load(done, allow_pickle=False))
        model = trained(split, one.train, name)
        found: Probabilities = (
            predict_probe(model.members[0], frame, one.test)
            if recipe.frozen
            else model.predict(frame, one.test)
        )
        np.save(done.with_suffix(".part.npy"), found, allow_pickle=False)
        done.with_suffix(".part.npy").replace(done)
        for checkpoint in place.glob(f"{name}-*.pt"):
            checkpoint.unlink()
        return found

    def finish() -> Final:
        place.mkdir(parents=True, exist_ok=True)
        model = trained(split, np.arange(len(frame.items)), "all")
        shutil.rmtree(place)  # The next study trains from the start.
        blank = np.zeros((1, frame.height, frame.width, 3), np.uint8)
        card = {"width": frame.width, "height": frame.height}
        return Final(model.onnx(frame), card, {"pictures": blank}, by_epoch=_by_epoch(model))

    def evaluated(split: Split, one: Round) -> Answers:
        return Answers(predicted(split, one))

    return Candidate(recipe.network.replace(":", "_"), asdict(recipe), evaluated, finish)


def _member(
    recipe: CnnRecipe,
    frame: PictureFrame,
    fit: Indices,
    validate: Indices,
    checkpoint: Path,
    context: TrainingContext,
) -> Fitted:
    """Train one network, in this process or in several, and log every epoch."""
    log = structlog.get_logger()

    def told(about: dict[str, float]) -> None:
        log.info("epoch", part=checkpoint.stem, **about)

    if recipe.processes == 1:
        return fit_cnn(recipe, frame, fit, validate, checkpoint=checkpoint, progress=told)
    _ = context.lake.spark  # It starts the processes.
    model = fit_cnn_together(recipe, frame, fit, validate, checkpoint=checkpoint)
    for epoch in model.history:  # The other processes have their own logs.
        told(epoch)
    return model


def _by_epoch(model: Ensemble) -> dict[str, list[float]]:
    """Return what is logged of the training: a value for each epoch, or for each member."""
    found = {
        f"{name}_by_epoch_{number}": [epoch[name] for epoch in member.history]
        for number, member in enumerate(model.members)
        for name in EPOCH_FIGURES
        if member.history
    }
    return found | {
        name: [float(getattr(member, name)) for member in model.members]
        for name in ("best_epoch", "loader_share")
    }
