"""Train models on the lake and register the best of them as challenger.

    spark-submit jobs/train.py trees --stage chromate
    spark-submit jobs/train.py photos --stage chromate

Reads readings and lots, or pictures and picture_names, at their latest versions; writes splits and
a study in MLflow. A second run makes a second study of the same splits, with the same figures.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console

from jobs.context import RunContext
from jobs.options import Options
from jobs.progress import steps
from jobs.report import failure_reported, write_json
from jobs.runner import begin
from jobs.submit import leave, submit
from lakehouse.errors import SettingError, UsageError
from ml.data.masks import keep_masks, mask_files, masks_sha256
from ml.data.pictures import PERCEPTUAL_NEIGHBOURS
from ml.figures.thresholds import Costs
from ml.photos.recipe import PatchRecipe, Recipe
from ml.registry import Registry, Version, registry_of
from ml.study.candidates import STUDY_FILE, log_study
from ml.study.context import Protocol, TrainingContext
from ml.study.lots import train_lots
from ml.trees.models import KINDS, TreeRecipe, check_kind


def open_registry(context: RunContext) -> Registry:
    """The tracking server of the settings."""
    return registry_of(context.settings, context.options.advice)


def champion_for(context: RunContext, kind: str) -> Any:
    """The champion of `lots` or `photos`, opened; with `--if-champion` None where there is none.

    Raises UsageError where there is none and it was not asked so.
    """
    registry, name = open_registry(context), f"{context.stage.name}-{kind}"
    if context.options.if_champion and registry.version(name) is None:
        structlog.get_logger().info("no champion yet, so nothing is judged", model=name)
        return None
    return registry.load(name)


def training_context(context: RunContext) -> TrainingContext:
    """Where a training of this run works."""
    local = context.lake.local
    folder = Path(context.settings.lake).resolve() if local else Path("training").resolve()
    place = folder / "training" / context.stage.name
    return TrainingContext(
        *(context.lake, context.stage, context.settings, open_registry(context), place),
        context.options.advice,
        saved_costs(context),
    )


def saved_costs(context: RunContext) -> dict[str, Costs]:
    """Return the costs that engineers set in the app, by kind of model.

    Without a database of its own, a lake on another machine has none: the settings count.
    """
    from lakehouse.sql.database import Database
    from serving.records.costs import CostHistory

    try:
        address = context.settings.sql_address()
    except SettingError:
        return {}
    known = CostHistory(Database(address))
    found = {kind: known.of(f"{context.stage.name}-{kind}") for kind in ("lots", "photos")}
    return {kind: saved[0].costs for kind, saved in found.items() if saved}


def train_trees(
    options: Options,
    kinds: list[str],
    protocol: Protocol,
    group: str,
    trials: int,
    width: float | None = None,
) -> Version:
    """A study of trees, and of the logistic baseline, on the lots."""
    if group not in ("lot", "day"):
        raise UsageError(f"groups of lots are lot or day, not {group!r}")
    for kind in kinds:
        check_kind(kind)
    with failure_reported(options.json_file, ["train trees"]):
        context = begin(options, lake_must_exist=True)
        chosen = dict.fromkeys(kinds or KINDS)
        recipes = [TreeRecipe(kind, width=width, trials=trials) for kind in chosen]
        with steps(1) as step:
            step(f"{context.stage.name}: train trees")
            version = train_lots(training_context(context), recipes, protocol, group)
        return said(context, version)


def train_photos(
    options: Options,
    recipes: Sequence[Recipe],
    protocol: Protocol,
    groups: str | None = None,
    near: int | None = None,
    landing: str | None = None,
    kinds: str | None = None,
) -> Version:
    """A study of models of patches, or other networks, on the pictures.

    With `landing`, the masks that the stage names there teach `patches`, if no others are given.
    """
    from ml.study import photos

    with failure_reported(options.json_file, ["train photos"]):
        context = begin(options, lake_must_exist=True)
        by_name, of_defects = read_groups(groups), read_groups(kinds, "--kinds")
        bits = PERCEPTUAL_NEIGHBOURS if near is None else near
        with steps(1) as step:
            step(f"{context.stage.name}: train photos")
            training = training_context(context)
            taught = [with_masks(recipe, training, landing) for recipe in recipes]
            version = photos.train_photos(
                training, taught, protocol, by_name, bits, kinds=of_defects
            )
        return said(context, version)


def with_masks(recipe: Recipe, context: TrainingContext, landing: str | None) -> Recipe:
    """Return the recipe with the masks of the stage, if it takes some and has none."""
    globs = context.stage.photos.masks if context.stage.photos else []
    if not isinstance(recipe, PatchRecipe) or recipe.masks or not globs:
        return recipe
    log = structlog.get_logger()
    if landing is None:
        log.warning("the stage names masks; without --landing they do not teach", masks=globs)
        return recipe
    folder = keep_masks(landing, context.stage, context.folder / "masks")
    if folder is None:
        log.warning("the landing zone has no masks", masks=globs, landing=landing)
        return recipe
    log.info("masks", folder=str(folder), masks=len(mask_files(str(folder))))
    return replace(recipe, masks=str(folder), masks_sha256=masks_sha256(str(folder)))


def read_groups(given: str | None, option: str = "--groups") -> dict[str, str] | None:
    """FILE:COLUMN of a csv with a column `name`: the column, such as a group, by name of photo."""
    if given is None:
        return None
    file, _, column = given.rpartition(":")
    try:
        with Path(file).open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except OSError as error:
        raise UsageError(f"{option} {given}: {file or 'no file'}: {error.strerror}") from None
    if not rows or not {"name", column} <= set(rows[0]):
        raise UsageError(f"{option} {given}: {file} needs the columns name and {column}")
    return {row["name"]: row[column] for row in rows}


def log_kept(options: Options, folder: Path) -> Version:
    """Log a study that was trained while MLflow was away."""
    context = begin(options, lake_must_exist=True)
    if not (folder / STUDY_FILE).is_file():
        raise UsageError(f"{folder} holds no study; the error of its training names the folder")
    about = json.loads((folder / STUDY_FILE).read_text("utf-8"))
    registry = open_registry(context)
    with registry.run(about["model"], folder.name, about["tags"]) as run_id:
        return said(context, log_study(registry, folder, run_id, options.advice))


def said(context: RunContext, version: Version) -> Version:
    """Say what was registered, and what may be done with it."""
    if context.options.json_file:
        write_json(context.options.json_file, {"model": version.name, "version": version.number})
    of = context.options.advice
    Console(soft_wrap=True).print(
        f"{version} is the challenger; `platelake compare{of}` shows the figures, "
        f"`platelake promote {version.name}{of}` asks whether it is better"
    )
    return version


def main(argv: list[str]) -> int:
    """Entry point for spark-submit; returns the exit code."""
    return submit("train", argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
