"""Test a model of patches by masks, by photos of other things, and by altered photos.

    python benchmarks/photo_maps.py --stage NAME --stage-file FILE --lake LAKE --photos FOLDER \
        [--masks FOLDER] [--truth FOLDER] [--groups FILE:COLUMN] [--seeds N] [--beside NETWORK] \
        [--corrected FILE] [--known 0,1,5] [--foreign FOLDER] [--sheet FILE] [--keep FOLDER]

The lake holds labelled photos. FOLDER of --photos has their files. Folds, groups and training are
those of `platelake train photos --near -1`. It prints a JSON line for each part: figures of
probabilities and of maps, out of fold, as means over the seeds (`--truth`: masks that test but do
not teach); the verdicts of the first fold's model on the photos in --foreign, on drawn pictures,
and on its own test photos, whole and altered. --sheet writes twelve of its maps.

--beside trains another network on the same folds, such as timm:tf_efficientnet_lite0, and adds the
paired differences. --corrected names a csv with the columns name and label: labels that a person
has corrected by looking; figures are then computed with them in the test alone, and in training.
--known trains with so many of the labelled defects only. --keep names a folder for the answers of
each split: a second run reads them instead of training again.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from photo_known import of_known
from photo_trials import of_altered, of_foreign, of_time, opened, test_photos, write_sheet
from PIL import Image

from jobs.options import Options
from jobs.runner import begin
from jobs.train import read_groups, training_context
from ml.data.folds import Indices
from ml.data.masks import masks_sha256, read_masks
from ml.data.pictures import LABELS, PictureFrame, picture_frame
from ml.data.splits import Split
from ml.figures.cross_validation import (
    CrossValidation,
    deployed_thresholds,
    figures,
    flat,
    mean_over_splits,
    verdicts,
)
from ml.figures.maps import aupro, points_at
from ml.figures.metrics import FIGURES, paired_bootstrap
from ml.figures.savings import savings
from ml.figures.thresholds import Costs
from ml.photos.linear_probe import fit_probe, predict_probe
from ml.photos.patch_model import FittedPatches, fit_patches, predict_patches
from ml.photos.recipe import PATCHES, CnnRecipe, PatchRecipe, recipe_for
from ml.study.context import Protocol
from ml.study.photos import VALIDATION_FOLDS

GRID = 160
"""Maps and masks are compared on so many rows and columns."""
GRACE_PIXELS = 15


def main(argv: Sequence[str]) -> int:
    """Measure, and print JSON."""
    given = arguments(argv)
    options = Options(given.stage, given.stage_file, lake=given.lake)
    context = training_context(begin(options, lake_must_exist=True))
    frame = picture_frame(context.lake, read_groups(given.groups), near=-1)
    recipe = recipe_for(PATCHES, masks=given.masks)
    assert isinstance(recipe, PatchRecipe)
    recipe = replace(recipe, threads=given.threads)
    splits, costs = splits_of(frame, given), context.costs("photos")
    tested = Tested(recipe, frame, splits, given.keep)
    say("labels as given", of_tested(tested, given, costs))
    if given.corrected:
        other = corrected(frame, given.corrected)
        tested_by = replace(tested.cross_validation(), y=other.labels)
        say("labels corrected in the test alone", of_probabilities(tested_by, costs))
        again = Tested(recipe, other, splits_of(other, given), given.keep)
        say("labels corrected", of_tested(again, given, costs))
    if given.photos:
        first = next(iter(splits[0].rounds()))
        thresholds = deployed_thresholds(tested.cross_validation(), costs)
        model = opened(tested.fitted(splits[0], first.train), frame, thresholds)
        photos = test_photos(frame, first.test, given.photos, context.settings)
        say("milliseconds of a verdict", of_time(model, photos))
        say("altered", of_altered(model, photos))
        say("foreign", of_foreign(model, given.foreign, context.settings))
        if given.sheet:
            write_sheet(model, photos, given.sheet)
    if given.beside:
        say(given.beside, of_beside(given.beside, tested, costs))
    if given.known:
        say("known defects", of_known(recipe, frame, splits[0], given.known))
    return 0


def say(part: str, found: Any) -> None:
    """Print a part of the report."""
    print(json.dumps({part: found}), flush=True)


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    for name in ("stage", "lake", "groups", "beside"):
        parser.add_argument(f"--{name}")
    for name in ("stage-file", "photos", "masks", "truth", "corrected", "foreign", "sheet", "keep"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--known", type=lambda text: [int(one) for one in text.split(",")])
    return parser.parse_args(argv)


def splits_of(frame: PictureFrame, given: argparse.Namespace) -> tuple[Split, ...]:
    """Make the splits of a study."""
    protocol = Protocol("kfold", given.folds, given.seeds)
    return protocol.splits("photos", frame.split_items(), frame.versions)


def corrected(frame: PictureFrame, file: Path) -> PictureFrame:
    """Return the frame with the labels of the csv, by name."""
    labels = read_groups(f"{file}:label") or {}
    found = frame.labels.copy()
    for at, names in enumerate(frame.names):
        for name in names:
            found[at] = LABELS[labels[name]] if name in labels else found[at]
    return replace(frame, labels=found)


class Tested:
    """Answers of models of patches out of fold: p and refused, (n, splits); heats of the first.

    With a folder, the answers of each split are kept there, and read instead of trained again.
    """

    def __init__(
        self, recipe: PatchRecipe, frame: PictureFrame, splits: Sequence[Split], kept: Path | None
    ) -> None:
        self.recipe, self.frame, self.splits = recipe, frame, tuple(splits)
        found = [self._of_split(split, kept) for split in splits]
        self.p = np.stack([one["p"] for one in found], axis=1)
        self.refused = np.stack([one["refused"] for one in found], axis=1)
        self.heats = np.asarray(found[0]["heats"], np.float32)

    def _of_split(self, split: Split, kept: Path | None) -> Mapping[str, Any]:
        about = json.dumps([asdict(self.recipe), split.split_id]).encode()
        file = kept / f"{hashlib.sha256(about).hexdigest()[:16]}.npz" if kept else None
        if file and file.is_file():
            return dict(np.load(file))
        count = len(self.frame.items)
        p, refused, heats = np.zeros(count), np.zeros(count, bool), []
        for one in split.rounds():
            found = predict_patches(self.fitted(split, one.train), self.frame, one.test)
            p[one.test], refused[one.test] = found.p, found.refused
            heats.append((one.test, found.heat))
            print(f"split {split.seed}: fold {one.fold} done", file=sys.stderr, flush=True)
        whole = np.zeros((count, *heats[0][1].shape[1:]), np.float16)
        for at, heat in heats:
            whole[at] = heat
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(file, p=p, refused=refused, heats=whole)
        return {"p": p, "refused": refused, "heats": whole}

    def fitted(self, split: Split, train: Indices) -> FittedPatches:
        """Train on these indices."""
        folds = split.inner(train, self.recipe.members, self.recipe.seed)
        return fit_patches(self.recipe, self.frame, train, folds)

    def cross_validation(self) -> CrossValidation:
        """Return the answers as a study has them."""
        first = self.splits[0]
        fold = np.stack([split.fold for split in self.splits], axis=1)
        items = (first.items, first.labels, self.p, fold, tuple(first.groups))
        return CrossValidation(self.splits, *items, self.refused)


def of_tested(tested: Tested, given: argparse.Namespace, costs: Costs) -> dict[str, Any]:
    """Compute all figures of the answers."""
    found: dict[str, Any] = of_probabilities(tested.cross_validation(), costs)
    good = tested.frame.labels == 0
    found["good_photos_refused"] = round(float(tested.refused[good].mean()), 4)
    truth = given.truth or given.masks
    if truth:
        found |= of_maps(tested.frame, list(tested.heats), str(truth))
    return found


def of_probabilities(evaluated: CrossValidation, costs: Costs) -> dict[str, float]:
    """Compute figures and what the verdicts save, with thresholds of the other folds."""
    decided = verdicts(evaluated, costs)
    assert decided is not None, "a split of one fold has no others to fit thresholds on"
    found = figures(evaluated, None) | savings(evaluated, decided, costs)
    return {name: round(value, 4) for name, value in flat(found).items()}


def of_beside(network: str, tested: Tested, costs: Costs) -> dict[str, Any]:
    """Train a linear layer on a frozen backbone on the same folds, and compare pair by pair."""
    recipe = replace(recipe_for(network), threads=tested.recipe.threads)
    frame = tested.frame
    assert isinstance(recipe, CnnRecipe) and recipe.frozen, "it takes a frozen backbone"
    p = np.zeros_like(tested.p)
    for number, split in enumerate(tested.splits):
        for one in split.rounds():
            folds = split.inner(one.train, VALIDATION_FOLDS, recipe.seed)
            p[one.test, number] = predict_probe(
                fit_probe(recipe, frame, one.train, folds), frame, one.test
            )
    evaluated = replace(tested.cross_validation(), p=p, refused=np.zeros_like(tested.refused))
    found: dict[str, Any] = of_probabilities(evaluated, costs)
    y, groups = evaluated.y, evaluated.groups
    differences = {
        name: paired_bootstrap(mean_over_splits(figure), y, tested.p, p, groups)
        for name, figure in FIGURES.items()
    }
    found["patches_minus_it"] = {name: round(v, 4) for name, v in flat(differences).items()}
    return found


def of_maps(frame: PictureFrame, heats: Sequence[Any], folder: str) -> dict[str, float]:
    """Compare the maps with the masks."""
    masks, known = read_masks(folder, masks_sha256(folder), frame, GRID, GRID)
    masked = np.flatnonzero(known & (frame.labels == 1))
    large = [
        np.asarray(Image.fromarray(heat).resize((GRID, GRID), Image.Resampling.BILINEAR))
        for heat in heats
    ]
    grace = GRACE_PIXELS * GRID / 320  # The tensor has 320 pixels, photos about as many.
    hits = [points_at(large[at], masks[at] >= 0.5, (grace, grace)) for at in masked]
    good = np.flatnonzero(frame.labels == 0)
    shown = [heat >= 0.5 for heat in heats]
    inside = [float((large[at][masks[at] >= 0.5] >= 0.5).any()) for at in masked]
    tested = [*masked, *good]
    return {
        "masked_photos": len(masked),
        "pointing_game": round(float(np.mean(hits)), 4),
        "aupro_30": round(aupro([large[a] for a in tested], [masks[a] >= 0.5 for a in tested]), 4),
        "good_photos_with_colour": round(float(np.mean([shown[at].any() for at in good])), 4),
        "bad_photos_with_colour": round(float(np.mean([shown[at].any() for at in masked])), 4),
        "bad_photos_with_colour_on_the_defect": round(float(np.mean(inside)), 4),
        "coloured_share_of_a_good_photo": round(float(np.mean([shown[a].mean() for a in good])), 5),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
