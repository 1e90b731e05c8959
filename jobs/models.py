"""What a modeler does with trained models: compare, promote, roll back, predict, explain."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from jobs.context import RunContext
from jobs.options import Options
from jobs.predict import read_photo, said
from jobs.report import failure_reported, grid, write_json
from jobs.runner import begin
from jobs.train import open_registry, training_context
from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.files.photos import PhotoError
from ml.moved_lake import CHAMPION
from ml.registry import CHALLENGER, Version
from ml.study.promotion import Comparison, NotBetterError, promote, rollback, run_in_words
from ml.study.promotion import compare as compare_versions
from ml.study.reproduction import predict_again, reproduce
from ml.use.explain import explain_lot, heat_picture
from ml.use.predictor import LotModel, PhotoModel

FIGURES = ("ap", "auroc", "recall_at_5_fpr", "brier", "cost", "cost_ratio")
TRAINS = {"lots": "trees", "photos": "photos"}
"""What the training of each kind of model is called."""
KINDS = tuple(TRAINS)


def compare(options: Options, kind: str | None, at_most: int, as_json: bool = False) -> None:
    """Print the candidates of the last studies; of those on the same splits, the best first.

    With `as_json`, a JSON line for each. On a terminal, a table; else a line with tabs for each.
    """
    context = begin(options, lake_must_exist=True)
    registry = open_registry(context)
    for one in [kind] if kind else KINDS:
        name = _model(context, one)
        runs = registry.candidates(name)
        shown = _by_study(runs[:at_most])
        aliases = {
            version.run_id: alias
            for alias in (CHALLENGER, CHAMPION)
            if (version := registry.version(name, alias))
        }
        if as_json:
            for run in shown:
                print(json.dumps(_as_json(name, run, runs, aliases.get(run["id"], ""))), flush=True)
        elif not runs:
            train = f"platelake train {TRAINS[one]}{options.advice}"
            print(f"{name}: nothing trained yet; `{train}` does it")
        else:
            _show(name, shown, aliases)
            for run in shown:
                for sentence in run_in_words(runs, run) if run["id"] in aliases else ():
                    print(f"{aliases[run['id']]} {run['tags']['candidate']}: {sentence}")


def _by_study(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order runs by study, the newest first, and those of one study by average precision."""
    studies = list(dict.fromkeys(run["tags"]["splits"] for run in runs))
    at = {splits: number for number, splits in enumerate(studies)}
    return sorted(runs, key=lambda run: (at[run["tags"]["splits"]], -run["metrics"].get("ap", 0)))


def _show(name: str, runs: Sequence[dict[str, Any]], aliases: Mapping[str, str]) -> None:
    """Print the runs: a table on a terminal, else lines with tabs."""
    columns = ("candidate", *FIGURES, "protocol", "run", "alias")
    rows = [
        (
            run["tags"]["candidate"],
            *(_figure(run["metrics"], figure) for figure in FIGURES),
            _protocol(run),
            run["id"][:8],
            aliases.get(run["id"], ""),
        )
        for run in runs
    ]
    if not sys.stdout.isatty():
        for at, row in enumerate([columns, *rows]):
            print("\t".join((name if at else "model", *row)))
        return
    grid = Grid(title=f"{name}: mean over splits, 95 % interval", title_justify="left")
    for column in columns:
        grid.add_column(column)
    for at, row in enumerate(rows):
        if at and runs[at]["tags"]["splits"] != runs[at - 1]["tags"]["splits"]:
            grid.add_section()
        grid.add_row(*row)
    Console().print(grid)


def _as_json(
    name: str, run: dict[str, Any], runs: Sequence[dict[str, Any]], alias: str
) -> dict[str, Any]:
    tags = run["tags"]
    return {
        "model": name,
        "candidate": tags["candidate"],
        "alias": alias or None,
        "run": run["id"],
        "metrics": run["metrics"],
        "params": run["params"],
        "splits": tags["splits"].split(","),
        "words": list(run_in_words(runs, run)),
    }


def _protocol(run: dict[str, Any]) -> str:
    """How the candidate was evaluated, and on what."""
    params, metrics = run["params"], run["metrics"]
    name = params.get("protocol") or params.get("name")  # As studies before 0.2 logged it.
    folds, seeds = params.get("folds"), params.get("seeds")
    of = {"kfold": f"{folds} folds, {seeds} seeds"}.get(name, name)
    group = f"by {params['group']}" if "group" in params else f"near {params.get('near')}"
    return f"{of}, {group}: {metrics['items']:.0f}, {metrics['bad']:.0f} bad"


def _figure(metrics: dict[str, float], name: str) -> str:
    if name not in metrics:
        return "–"
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    span = f" ({low:.3f}–{high:.3f})" if low is not None and high is not None else ""
    return f"{metrics[name]:.3f}{span}"


def _model(context: RunContext, kind: str) -> str:
    if kind not in KINDS:
        raise UsageError(f"models are of {' or '.join(KINDS)}, not of {kind!r}")
    return f"{context.stage.name}-{kind}"


def promote_challenger(
    options: Options, reference: str, force: str | None, *, if_better: bool = False
) -> dict[str, Any]:
    """Compare the challenger with the champion, and make it champion if it is better.

    With `if_better` a champion that stays is no error. Returns the record of what was done.
    """
    with failure_reported(options.json_file, ["promote"]):
        record = _promoted(begin(options, lake_must_exist=True), reference, force, if_better)
        if options.json_file:
            write_json(options.json_file, {"model": reference.partition("@")[0], **record})
    return record


def _promoted(
    context: RunContext, reference: str, force: str | None, if_better: bool
) -> dict[str, Any]:
    training = training_context(context)
    name, _, alias = reference.partition("@")
    challenger = training.registry.need(f"{name}@{alias or CHALLENGER}")

    def evaluated(version: Version, splits: list[str]) -> dict[str, Any]:
        return predict_again(training, version, splits)

    found = compare_versions(training.registry, challenger, evaluated)
    _show_differences(found)
    for sentence in found.words:
        Console(soft_wrap=True).print(f"{challenger}: {sentence}")
    try:
        record = promote(training.registry, found, force, getpass.getuser())
    except NotBetterError as error:
        if not if_better:
            raise
        Console(soft_wrap=True).print(str(error))
        return {"action": "keep", "reason": str(error)}
    Console(soft_wrap=True).print(f"{challenger} is the champion: {record['reason']}")
    return record


def _show_differences(found: Comparison) -> None:
    if not found.differences:
        return
    shown = grid("figure", "challenger − champion", "95 % interval")
    for name, one in found.differences.items():
        shown.add_row(name, f"{one.value:+.4f}", f"{one.low:+.4f} to {one.high:+.4f}")
    Console().print(shown)


def roll_back(options: Options, name: str, reason: str) -> None:
    """Make the previous champion the champion again."""
    registry = open_registry(begin(options, lake_must_exist=True))
    version = rollback(registry, name, reason, getpass.getuser())
    Console(soft_wrap=True).print(f"{version} is the champion again")


def explain(
    options: Options, lot: str | None, photo: Path | None, model: str | None, output: Path | None
) -> None:
    """Explain a verdict: by a lot's features, or a photo's heat map."""
    context = begin(options, lake_must_exist=True)
    registry = open_registry(context)
    if (lot is None) == (photo is None):
        raise UsageError("name either --lot DAY/LOT or --photo FILE")
    kind = "lots" if lot else "photos"
    opened = registry.load(model or _model(context, kind))
    if lot and isinstance(opened, LotModel):
        _explain_lot(context, opened, lot)
    elif photo and isinstance(opened, PhotoModel):
        try:
            content = read_photo(photo, context)
        except PhotoError as error:
            raise PlatelakeError(f"{photo} cannot be read: {error}") from None
        target = output or photo.with_name(f"{photo.stem}-heat.png")
        verdict = heat_picture(opened, content, context.settings, target, context.stage.photo_bits)
        Console(soft_wrap=True).print(f"{said(asdict(verdict))}: {target}")
    else:
        raise UsageError(f"{opened.name} is no model of {kind}")


def _explain_lot(context: RunContext, model: LotModel, lot: str) -> None:
    day, _, name = lot.partition("/")
    try:
        when = date.fromisoformat(day)
    except ValueError:
        raise UsageError(f"--lot {lot}: give day and lot, such as 2021-09-06/17") from None
    verdict, parts = explain_lot(context.lake, context.stage, model, when, name)
    Console(soft_wrap=True).print(
        f"{lot}: {verdict.verdict}, probability {verdict.probability:.3f} by {model.name} version "
        f"{model.version}"
    )
    shown = grid("feature", "value", "moves the probability by")
    for feature, value, effect in parts:
        shown.add_row(feature, f"{value:.4g}", f"{effect:+.4f}")
    Console().print(shown)


def reproduce_model(options: Options, reference: str) -> int:
    """Train a registered model again from its pinned data; exit code 3 if it comes out other."""
    context = begin(options, lake_must_exist=True)
    training = training_context(context)
    found = reproduce(training, training.registry.need(reference))
    shown = grid("figure", "logged", "found again")
    for name, value in found.logged.items():
        shown.add_row(name, f"{value:.6f}", f"{found.found[name]:.6f}")
    Console().print(shown)
    equal = "equal" if found.is_equal else "not equal"
    Console(soft_wrap=True).print(
        f"{found.version}: data as trained on, figures {equal}; the largest difference of a "
        f"probability is {found.largest_difference:.2g}"
    )
    return 0 if found.is_equal else 3
