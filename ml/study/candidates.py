"""A study: candidates of one kind of model, tested on the same splits, stored, then logged.

Training writes everything about each candidate into a folder, and uses MLflow only before and
after. So no training is lost if the tracking server goes away: the folder can be logged later.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from lakehouse.errors import PlatelakeError
from ml.data.splits import Split
from ml.figures.cross_validation import (
    CrossValidation,
    Fit,
    cross_validate,
    deployed_thresholds,
    figures,
    figures_by_source,
    flat,
    verdicts,
)
from ml.figures.metrics import FIGURES
from ml.figures.plots import plot_figures
from ml.figures.predictions import PREDICTIONS_FILE, predictions_as_json
from ml.figures.savings import savings
from ml.figures.thresholds import Costs, item_costs
from ml.moved_lake import MODEL_FILE
from ml.onnx import with_card
from ml.registry import Registry, Version
from ml.study.evidence import Contender, best, largest_study
from ml.study.model_card import Example, card_of, write_card
from ml.study.notes import protocol_params, run_note, version_tags

STUDY_FILE, RUN_FILE, EXAMPLE_FILE = "study.json", "run.json", "example.npz"


@dataclass(frozen=True)
class Final:
    """The model that is put to use. It is fitted on all items; `example` is an input of it.

    `card` is what its predictor needs to know besides thresholds and provenance. `trials` are the
    tries of the search that found its parameters: params, and ap over the inner folds. `by_epoch`
    has values of its training, one for each epoch. `params` are the model's own, defaults included.
    """

    content: bytes
    card: Mapping[str, Any]
    example: Mapping[str, Any]
    draw: Callable[[Path], None] | None = None
    trials: Sequence[Mapping[str, Any]] = ()
    by_epoch: Mapping[str, Sequence[float]] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """A recipe, and how to train it: `fit` on one round of a split, `finish` on everything.

    Of candidates that are as good as each other, the one with the lowest `order` wins.
    """

    name: str
    recipe: Mapping[str, Any]
    fit: Fit
    finish: Callable[[], Final]
    order: int = 0
    examples: Callable[[CrossValidation, NDArray[np.str_]], Sequence[Example]] | None = None
    """Examples for the model card, from answers and verdicts out of fold."""


@dataclass(frozen=True)
class Study:
    """What the candidates share."""

    stage: str
    kind: str
    splits: Sequence[Split]
    data_sha256: str
    costs: Costs
    tables: Mapping[str, str]
    """Path of each table that the models learn from. Its version is in the splits."""
    options: Mapping[str, Any]
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Kind of defect by item, for the model card."""
    commit: str = ""
    """Of the code, for the model card."""
    people: frozenset[str] = frozenset()
    """Items whose label reviewers agreed on. Their figures are told apart."""

    @property
    def model(self) -> str:
        """Name of the registered model, and of the experiment."""
        return f"{self.stage}-{self.kind}"


def train_candidate(study: Study, candidate: Candidate, folder: Path) -> None:
    """Test a candidate on every split, fit it on everything, and write both into a folder.

    The folder appears only when it is complete.
    """
    log = structlog.get_logger()

    def progress(done: int, total: int) -> None:
        log.info("trained", candidate=candidate.name, rounds=done, of=total)

    evaluated = cross_validate(study.splits, candidate.fit, progress)
    found = verdicts(evaluated, study.costs)
    thresholds = deployed_thresholds(evaluated, study.costs)
    final = candidate.finish()
    card = {
        **final.card,
        "kind": study.kind,
        "stage": study.stage,
        "recipe": dict(candidate.recipe),
        "thresholds": vars(thresholds),
        "costs": vars(study.costs),
        "versions": dict(study.splits[0].versions),
        "splits": [split.split_id for split in study.splits],
        "data_sha256": study.data_sha256,
    }
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "plots").mkdir(parents=True)
    (part / MODEL_FILE).write_bytes(with_card(final.content, card))
    np.savez(part / EXAMPLE_FILE, **final.example)
    _write(part / PREDICTIONS_FILE, predictions_as_json(evaluated))
    about = run_as_json(study, candidate, evaluated, found)
    about |= {"trials": [dict(one) for one in final.trials], "by_epoch": dict(final.by_epoch)}
    about["order"] = candidate.order
    about["params"] = {**final.params, **about["params"]}
    about["thresholds"] = vars(thresholds)
    _write(part / RUN_FILE, about)
    plot_figures(evaluated, thresholds, study.costs, part / "plots")
    write_card(_model_card(study, candidate, evaluated, found, card | about), part / "plots")
    if final.draw:
        final.draw(part / "plots")
    part.replace(folder)


def _model_card(
    study: Study,
    candidate: Candidate,
    evaluated: CrossValidation,
    found: NDArray[np.str_] | None,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    shown: Sequence[Example] = ()
    if candidate.examples is not None and found is not None:
        shown = candidate.examples(evaluated, found)
    known = {
        **{key: about[key] for key in ("versions", "thresholds", "costs", "metrics", "recipe")},
        "model": study.model,
        "candidate": candidate.name,
        "commit": study.commit,
        "made": f"{datetime.now(UTC):%Y-%m-%d}",
        "protocol": protocol_params(study.options),
        "card": about,
    }
    return card_of(known, evaluated, found, study.kinds, shown)


def run_as_json(
    study: Study,
    candidate: Candidate,
    evaluated: CrossValidation,
    found: NDArray[np.str_] | None,
) -> dict[str, Any]:
    """Return parameters, figures and tags of the candidate's run; `found` are its verdicts."""
    by_fold = {f"{name}_by_fold": evaluated.by_fold(figure) for name, figure in FIGURES.items()}
    paid, saved = None, {}
    if found is not None:
        paid = item_costs(evaluated.y[:, None], found, study.costs)
        saved = savings(evaluated, found, study.costs)
        by_fold["cost_by_fold"] = evaluated.mean_by_fold(paid)
    return {
        "params": {**protocol_params(study.options), **_flat_params(candidate.recipe)},
        "metrics": {
            **flat(figures(evaluated, paid) | saved),
            "fold_overlap": float(evaluated.overlap),
            "items": float(len(evaluated.items)),
            "bad": float(evaluated.y.sum()),
            **figures_by_source(evaluated, study.people),
        },
        "by_fold": by_fold,
        "tags": {
            "candidate": candidate.name,
            "recipe": json.dumps(dict(candidate.recipe), sort_keys=True),
            "splits": ",".join(split.split_id for split in study.splits),
            "data_sha256": study.data_sha256,
        },
    }


def _flat_params(recipe: Mapping[str, Any]) -> dict[str, Any]:
    flat_ones = {key: value for key, value in recipe.items() if not isinstance(value, Mapping)}
    for value in recipe.values():
        if isinstance(value, Mapping):
            flat_ones |= value
    return flat_ones


def log_study(registry: Registry, folder: Path, run_id: str, place: str = "") -> Version:
    """Log a study's folder below this run, and register its best candidate as challenger.

    `ml.study.evidence.best` says which is the best. `place` is what names stage and lake on the
    command line.

    Raises:
        PlatelakeError: the study cannot be logged. The message names the folder and the command
            that logs it later.
    """
    try:
        return _log_study(registry, folder, run_id)
    except Exception as error:  # No error may lose the training.
        raise PlatelakeError(
            f"{error}; the trained models are kept in {folder}: `platelake train log "
            f"{quote(str(folder))}{place}` logs them once MLflow is back"
        ) from error


def _log_study(registry: Registry, folder: Path, run_id: str) -> Version:
    about = json.loads((folder / STUDY_FILE).read_text("utf-8"))
    registry.log(run_id, protocol_params(about["options"]), {}, folder / "report")
    contenders, logged = [], {}
    for candidate in sorted(path.parent for path in folder.glob(f"models/*/{RUN_FILE}")):
        found = json.loads((candidate / RUN_FILE).read_text("utf-8"))
        tags = {**about["tags"], **found["tags"]}
        content = (candidate / MODEL_FILE).read_bytes()
        note = run_note(about, candidate.name, found)
        with (
            registry.run(about["model"], candidate.name, tags, run_id, note) as child,
            np.load(candidate / EXAMPLE_FILE) as example,
        ):
            metrics = found["metrics"] | found["by_fold"] | found["by_epoch"]
            registry.log(child, found["params"], metrics, candidate / "plots")
            registry.log_files(child, candidate / PREDICTIONS_FILE, candidate / RUN_FILE)
            for name, path in about["tables"].items():
                registry.log_table(child, name, path, about["versions"][name])
            uri = registry.log_model(child, content, dict(example))
            for number, trial in enumerate(found["trials"]):
                tried = {"trial": str(number)}
                with registry.run(about["model"], f"trial {number}", tried, child) as one:
                    registry.log(one, trial["params"], {"inner_ap": trial["ap"]})
        predictions = json.loads((candidate / PREDICTIONS_FILE).read_text("utf-8"))
        order = found.get("order", 0)
        contenders.append(Contender(candidate.name, tags, found["metrics"], predictions, order))
        logged[candidate.name] = child, uri, content, found, note
    if not contenders:
        raise PlatelakeError(f"{folder} holds no trained model")
    larger = largest_study(registry.candidates(about["model"]), contenders[0])
    winner = best(contenders, larger).name
    child, uri, content, found, note = logged[winner]
    told = version_tags(about, winner, found)
    version = registry.register(about["model"], uri, child, content, told, note)
    # On the parent too: MLflow's table and charts show it first, and fold its children away.
    metrics = found["metrics"] | found["by_fold"]
    registry.log(run_id, {"challenger": str(version), "winner": winner}, metrics)
    registry.describe_run(run_id, f"The best of {len(logged)}: {note}", {"winner": winner})
    return version


def begin_folder(study: Study, folder: Path, tags: Mapping[str, str]) -> None:
    """Make the study's folder, and write what its candidates share."""
    (folder / "models").mkdir(parents=True, exist_ok=True)
    about = {
        "model": study.model,
        "options": dict(study.options),
        "tags": dict(tags),
        "tables": dict(study.tables),
        "versions": dict(study.splits[0].versions),
    }
    _write(folder / STUDY_FILE, about)


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=1, allow_nan=True) + "\n", "utf-8")
