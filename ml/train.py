"""From the lake to a challenger in MLflow: studies of lots and of photos."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from lakehouse.io import Lake
from lakehouse.settings import Settings
from lakehouse.stage import Stage
from lakehouse.tables import all_tables
from ml.export import trees_to_onnx
from ml.lots import LotFrame, feature_names, lot_frame
from ml.metrics import Costs, Probabilities
from ml.pictures import PERCEPTUAL_NEIGHBOURS, picture_frame
from ml.plots import plot_importance, plot_lots, plot_shap
from ml.registry import Registry, Version
from ml.splits import Item, Round, Split, make_split, store_split
from ml.study import Candidate, Final, Study, begin_folder, log_study, train_candidate
from ml.trees import TreeRecipe, check_kind, fit_trees

if TYPE_CHECKING:
    from ml.fitted import Ensemble, Fitted

BACKGROUND = 40
"""Lots that an explanation compares with; they travel in the model's card."""


@dataclass(frozen=True)
class Protocol:
    """How a study judges: protocol, number of folds, and a split for each of the seeds."""

    name: str = "kfold"
    folds: int = 5
    seeds: int = 1

    def splits(
        self, kind: str, items: Sequence[Item], versions: Mapping[str, int]
    ) -> tuple[Split, ...]:
        """The splits; one where the protocol leaves nothing to a seed."""
        seeds = self.seeds if self.name == "kfold" else 1
        return tuple(
            make_split(kind, items, versions, self.name, self.folds, seed) for seed in range(seeds)
        )


@dataclass(frozen=True)
class Workshop:
    """Where a training works: the stage's lake, the registry, and a local folder for its files."""

    lake: Lake
    stage: Stage
    settings: Settings
    registry: Registry
    folder: Path

    @property
    def costs(self) -> Costs:
        """The stated costs."""
        s = self.settings
        return Costs(s.cost_escape, s.cost_scrap, s.cost_review)

    def study(
        self, kind: str, splits: Sequence[Split], sha256: str, options: Mapping[str, Any]
    ) -> Study:
        """A study of these splits, which are kept in the lake first."""
        for split in splits:
            store_split(self.lake, split)
        path = {table.name: self.lake.path(table) for table in all_tables(self.stage)}
        tables = {name: path[name] for name in splits[0].versions}
        return Study(self.stage.name, kind, splits, sha256, self.costs, tables, options)


# -- lots --------------------------------------------------------------------------------------


def train_lots(
    shop: Workshop,
    recipes: Sequence[TreeRecipe],
    protocol: Protocol,
    group: str,
    versions: Mapping[str, int] | None = None,
) -> Version:
    """Judge each recipe, log the study, register the best as challenger."""
    for recipe in recipes:
        check_kind(recipe.kind)
    frame = lot_frame(shop.lake, shop.stage, versions)
    splits = protocol.splits("lots", frame.split_items(group), frame.versions)
    study = shop.study("lots", splits, frame.sha256, {**asdict(protocol), "group": group})

    def report(folder: Path) -> None:
        width = recipes[0].width
        bands = frame.fit_bands(np.arange(len(frame.lots)), width)
        plot_lots(frame, frame.features(bands), feature_names(frame.variables), folder)

    candidates = [lot_candidate(recipe, frame, splits[0]) for recipe in recipes]
    return run_study(shop, study, candidates, report)


def lot_candidate(recipe: TreeRecipe, frame: LotFrame, split: Split) -> Candidate:
    """How one recipe is trained on rounds and on all lots."""

    def fit(split: Split, one: Round) -> Probabilities:
        return fit_trees(recipe, frame, split, one.train).predict(frame, one.test)

    def finish() -> Final:
        everything = np.arange(len(frame.lots))
        fitted = fit_trees(recipe, frame, split, everything)
        features = frame.features(fitted.bands)
        names = feature_names(frame.variables)
        chosen = np.random.default_rng(recipe.seed).permutation(everything)[:BACKGROUND]
        card = {
            "variables": list(frame.variables),
            "bands": {name: vars(band) for name, band in fitted.bands.items()},
            "background": features[np.sort(chosen)].tolist(),
        }

        def draw(folder: Path) -> None:
            estimator = fitted.model[-1] if hasattr(fitted.model, "steps") else fitted.model
            importance = getattr(estimator, "feature_importances_", None)
            plot_importance(
                names,
                np.abs(estimator.coef_[0]) if importance is None else importance,
                folder / "importance.png",
            )
            shown = np.concatenate([np.flatnonzero(frame.labels), chosen])
            plot_shap(estimator, features[shown], names, folder / "shap.png")

        example = {"features": features[:3]}
        trials = [vars(trial) for trial in fitted.trials]
        return Final(trees_to_onnx(fitted, features), card, example, draw, trials)

    return Candidate(recipe.kind, asdict(recipe), fit, finish)


# -- photos ------------------------------------------------------------------------------------


def train_photos(
    shop: Workshop,
    recipes: Sequence[Any],
    protocol: Protocol,
    groups: Mapping[str, str] | None = None,
    near: int = PERCEPTUAL_NEIGHBOURS,
    versions: Mapping[str, int] | None = None,
) -> Version:
    """Judge each recipe on the pictures, log the study, register the best as challenger.

    `groups` maps names of photos to a group that the plant knows, such as the part. Pictures
    whose perceptual hashes differ in at most `near` bits are one group as well; -1: none are.
    """
    frame = picture_frame(shop.lake, groups, near, versions)
    splits = protocol.splits("photos", frame.split_items(), frame.versions)
    study = shop.study("photos", splits, frame.sha256, {**asdict(protocol), "near": near})
    candidates = [
        photo_candidate(recipe, frame, splits[0], shop, shop.folder) for recipe in recipes
    ]
    return run_study(shop, study, candidates, None)


VALIDATION_FOLDS = 5
"""Of a round's training groups, one in so many validates a network: stops it, and calibrates."""


def photo_candidate(
    recipe: Any, frame: Any, split: Split, shop: Workshop, folder: Path
) -> Candidate:
    """How one recipe is trained on rounds and on all pictures; a study that was cut is resumed."""
    from ml.cnn import fit_cnn
    from ml.distributed import fit_cnn_together
    from ml.fitted import Ensemble

    log = structlog.get_logger()
    # Other code may train another model: what an earlier commit left is not gone on with.
    about = [asdict(recipe), frame.sha256, git_commit()]
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    place = folder / "checkpoints" / key

    def trained(split: Split, train: Any, name: str) -> Ensemble:
        folds = split.inner(train, max(VALIDATION_FOLDS, recipe.members), recipe.seed)
        members = [
            fitted(fit, validate, f"{name}-{number}")
            for number, (fit, validate) in enumerate(folds[: recipe.members])
        ]
        return Ensemble(recipe, tuple(members))

    def fitted(fit: Any, validate: Any, name: str) -> Fitted:
        place.mkdir(parents=True, exist_ok=True)
        told = lambda about: log.info("epoch", part=name, **about)  # noqa: E731
        checkpoint = place / f"{name}.pt"
        if recipe.processes == 1:
            return fit_cnn(recipe, frame, fit, validate, checkpoint=checkpoint, progress=told)
        _ = shop.lake.spark  # It starts the processes.
        return fit_cnn_together(recipe, frame, fit, validate, checkpoint=checkpoint)

    def judged(split: Split, one: Round) -> Probabilities:
        name = f"{split.split_id}-{one.fold}"
        done = place / f"{name}.npy"
        if done.is_file():
            return np.asarray(np.load(done, allow_pickle=False))
        found: Probabilities = trained(split, one.train, name).predict(frame, one.test)
        np.save(done.with_suffix(".part.npy"), found, allow_pickle=False)
        done.with_suffix(".part.npy").replace(done)
        for checkpoint in place.glob(f"{name}-*.pt"):
            checkpoint.unlink()
        return found

    def finish() -> Final:
        model = trained(split, np.arange(len(frame.items)), "all")
        shutil.rmtree(place)  # The next study trains anew.
        blank = np.zeros((1, frame.height, frame.width, 3), np.uint8)
        card = {"width": frame.width, "height": frame.height}
        return Final(model.onnx(frame), card, {"pictures": blank})

    return Candidate(recipe.network.replace(":", "_"), asdict(recipe), judged, finish)


# -- both --------------------------------------------------------------------------------------


def run_study(
    shop: Workshop,
    study: Study,
    candidates: Sequence[Candidate],
    report: Callable[[Path], None] | None,
) -> Version:
    """Train the candidates under one parent run, then log what they left on disk."""
    end_dead_runs(shop.registry, study.model)
    started = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    folder = shop.folder / "studies" / f"{study.kind}-{started}-{os.getpid()}"
    tags = {
        "stage": study.stage,
        "kind": study.kind,
        "git_commit": git_commit(),
        "host": socket.gethostname(),
        "process": str(os.getpid()),
    }
    name = f"{study.kind} {started}"
    with interrupts(), shop.registry.run(study.model, name, tags) as run_id:
        begin_folder(study, folder, tags)
        if report:
            (folder / "report").mkdir()
            report(folder / "report")
        for candidate in candidates:
            train_candidate(study, candidate, folder / "models" / candidate.name)
        return log_study(shop.registry, folder, run_id)


def end_dead_runs(registry: Registry, experiment: str) -> None:
    """Mark as killed the runs that a process of this machine left running and is gone."""
    here = socket.gethostname()

    def is_gone(tags: Mapping[str, str]) -> bool:
        process = tags.get("process", "")
        return tags.get("host") == here and process.isdigit() and not _alive(int(process))

    count = registry.mark_killed(experiment, is_gone)
    if count:
        structlog.get_logger().info("runs of a process that is gone marked as killed", runs=count)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def interrupts() -> Iterator[None]:
    """A request to end is an interrupt, so that runs end as KILLED and checkpoints stay."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # Not the main thread: whoever runs that has its own way to end.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def git_commit() -> str:
    """The commit of the code that trains; unknown outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
