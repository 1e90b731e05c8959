"""What studies of lots and of photos share: the context, the protocol, training and logging."""

from __future__ import annotations

import functools
import hashlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from lakehouse.delta.lake import Lake
from lakehouse.settings import Settings
from lakehouse.stage import Stage
from lakehouse.tables import all_tables
from ml.data.errors import LeakError
from ml.data.splits import Item, Split, make_split, store_split
from ml.figures.thresholds import Costs, costs_of
from ml.registry import Registry, Version
from ml.study.candidates import Candidate, Study, begin_folder, log_study, train_candidate


@dataclass(frozen=True)
class Protocol:
    """How a study tests: protocol, number of folds, and number of seeds, one split for each."""

    name: str = "kfold"
    folds: int = 5
    seeds: int = 1

    def splits(
        self, kind: str, items: Sequence[Item], versions: Mapping[str, int]
    ) -> tuple[Split, ...]:
        """Make the splits: one for each seed, or one in all if the protocol uses no seed."""
        seeds = self.seeds if self.name == "kfold" else 1
        return tuple(
            make_split(kind, items, versions, self.name, self.folds, seed) for seed in range(seeds)
        )


@dataclass(frozen=True)
class TrainingContext:
    """What a training works with: lake, stage, settings, registry, a local folder for its files.

    `place` is what names stage and lake on the command line, for commands that messages advise.
    """

    lake: Lake
    stage: Stage
    settings: Settings
    registry: Registry
    folder: Path
    place: str = ""
    saved_costs: Mapping[str, Costs] = field(default_factory=dict)
    """By kind of model; a kind without an entry has the costs of the settings."""

    def costs(self, kind: str) -> Costs:
        """Return the costs that the study of a kind of model uses."""
        return self.saved_costs.get(kind) or costs_of(self.settings)

    def study(
        self,
        kind: str,
        splits: Sequence[Split],
        sha256: str,
        options: Mapping[str, Any],
        kinds: Mapping[str, str] | None = None,
        people: frozenset[str] = frozenset(),
    ) -> Study:
        """Store the splits in the lake, then make a study of them.

        `kinds` are those of defects, by item. `people` are the items whose label reviewers agreed
        on; the plant labelled the others.
        """
        for split in splits:
            store_split(self.lake, split)
        path = {table.name: self.lake.path(table) for table in all_tables(self.stage)}
        tables = {name: path[name] for name in splits[0].versions}
        about = (self.stage.name, kind, splits, sha256, self.costs(kind), tables, options)
        return Study(*about, kinds or {}, git_commit(), people)


def check_inner(splits: Sequence[Split]) -> None:
    """Raise UsageError if a round's training items cannot be split again."""
    for split in splits:
        for one in split.rounds():
            split.inner(one.train, 2, 0)


def run_study(
    context: TrainingContext,
    study: Study,
    candidates: Sequence[Candidate],
    report: Callable[[Path], None] | None,
) -> Version:
    """Train the candidates under one parent run, then log what they left on disk.

    A second training of this kind on this lake waits, because both would continue from the same
    stored rounds.

    Args:
        context: what the training works with.
        study: what the candidates share.
        candidates: each is trained on all rounds, then on everything.
        report: writes plots of the data into a folder, before the training.

    Returns:
        The best candidate's version, registered as challenger.

    Raises:
        LeakError: a group or item is on both sides of a split. The run keeps the count.
        PlatelakeError: MLflow cannot be used. The trained models stay on disk.
    """
    with context.lake.lock(f"train-{study.kind}"):
        return _run_study(context, study, candidates, report)


def _run_study(
    context: TrainingContext,
    study: Study,
    candidates: Sequence[Candidate],
    report: Callable[[Path], None] | None,
) -> Version:
    end_dead_runs(context.registry, study.model)
    started = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    folder = context.folder / "studies" / f"{study.kind}-{started}-{os.getpid()}"
    tags = {
        "stage": study.stage,
        "kind": study.kind,
        "git_commit": git_commit(),
    }
    name = f"{study.kind} {started}"
    with interrupts(), context.registry.run(study.model, name, tags) as run_id:
        begin_folder(study, folder, tags)
        if report:
            (folder / "report").mkdir()
            report(folder / "report")
        try:
            for candidate in candidates:
                train_candidate(study, candidate, folder / "models" / candidate.name)
        except LeakError as error:
            context.registry.log(run_id, {}, {"fold_overlap": float(error.overlap)})
            raise
        return log_study(context.registry, folder, run_id, context.place)


def end_dead_runs(registry: Registry, experiment: str) -> None:
    """Mark runs as killed if a process of this machine left them running and has ended."""
    here = socket.gethostname()

    def is_gone(tags: Mapping[str, str]) -> bool:
        process = tags.get("process", "")
        return tags.get("host") == here and process.isdigit() and not _alive(int(process))

    count = registry.mark_killed(experiment, is_gone)
    if count:
        structlog.get_logger().info("marked runs of an ended process as killed", runs=count)


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
    """Turn SIGTERM into an interrupt, so that runs end as KILLED and checkpoints stay."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # Not the main thread: its owner has its own way to end.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@functools.cache
def git_commit() -> str:
    """Return the commit of the code, with a hash of the changes to it, if there are any.

    Outside a checkout it is "unknown". It is read once: a process runs the code that it started
    with.
    """
    commit, changed = _git("rev-parse", "HEAD"), _git("diff", "HEAD")
    if not changed:
        return commit or "unknown"
    return f"{commit}-changed-{hashlib.sha256(changed.encode()).hexdigest()[:8]}"


def _git(*command: str) -> str:
    root = Path(__file__).resolve().parents[2]
    try:
        done = subprocess.run(
            ["git", *command], cwd=root, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
