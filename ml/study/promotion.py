"""Compare challenger and champion on the same items, move the alias, and keep the evidence.

Both predict only items that they did not train on, by the challenger's splits. If the champion was
not tested on these splits, because the data has grown since, its recipe is trained on them again.
So the comparison is between two ways to make a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from lakehouse.errors import PlatelakeError, UsageError
from ml.figures.cross_validation import mean_over_splits
from ml.figures.metrics import FIGURES, Interval, paired_bootstrap
from ml.figures.predictions import PREDICTIONS_FILE
from ml.figures.savings import evidence_in_words, saves_nothing, savings_in_words
from ml.registry import Registry, Version
from ml.study.evidence import DECIDES, earlier_winner_in_words, larger_study_in_words


class NotBetterError(PlatelakeError):
    """The champion stays, because nothing shows that the challenger is better."""


PredictAgain = Callable[[Version, list[str]], Mapping[str, Any]]
"""Trains and tests a version's recipe on the splits with these names. See `predictions_as_json`."""


@dataclass(frozen=True)
class Comparison:
    """Challenger minus champion on the same items, by figure.

    Without a champion, there are no differences, and the challenger counts as better. `metrics` are
    those of the challenger's run. `words` say what it saves, how little its study can show, and
    what a larger study found.

    Example:
        >>> old, new = (Version("chromate-lots", number, "run", "") for number in (1, 2))
        >>> Comparison(new, old, [], {"ap": Interval(0.05, -0.01, 0.1)}).is_better
        False
    """

    challenger: Version
    champion: Version | None
    splits: list[str]
    differences: Mapping[str, Interval]
    metrics: Mapping[str, float] = field(default_factory=dict)
    words: tuple[str, ...] = ()

    @property
    def is_better(self) -> bool:
        """Whether the whole interval of the figure that decides is above zero."""
        return self.champion is None or self.differences[DECIDES].low > 0


def compare(registry: Registry, challenger: Version, predict_again: PredictAgain) -> Comparison:
    """Compare the challenger with the champion of the same name.

    Args:
        registry: where both are.
        challenger: the version to compare.
        predict_again: trains and tests the champion's recipe on the challenger's splits. It is
            called only if the champion was tested on other splits.

    It keeps what `predict_again` returned, for the next comparison and for the dossier.

    Returns:
        Paired differences of all figures, each with a 95 % bootstrap interval over groups.

    Raises:
        PlatelakeError: the two were not tested on the same items.
    """
    champion = registry.version(challenger.name)
    new = registry.read_json(challenger.run_id, PREDICTIONS_FILE)
    metrics, words = _about(registry, challenger)
    if champion is None or champion.number == challenger.number:
        return Comparison(challenger, None, new["splits"], {}, metrics, words)
    old = registry.read_json(champion.run_id, PREDICTIONS_FILE)
    if old["splits"] != new["splits"]:
        old = _predicted_again(registry, challenger, champion, new["splits"], predict_again)
    if old["items"] != new["items"]:
        raise PlatelakeError(
            f"{champion} and {challenger} were not tested on the same items; train the challenger "
            "again on the lake as it is now"
        )
    y = np.asarray(new["y"])
    p, q = np.asarray(new["p"]), np.asarray(old["p"])
    differences = {
        name: paired_bootstrap(mean_over_splits(figure), y, p, q, new["groups"])
        for name, figure in FIGURES.items()
    }
    return Comparison(challenger, champion, new["splits"], differences, metrics, words)


def _predicted_again(
    registry: Registry,
    challenger: Version,
    champion: Version,
    splits: list[str],
    predict_again: PredictAgain,
) -> Mapping[str, Any]:
    """Return the champion's predictions on the challenger's splits, kept with the challenger."""
    place = again_file(champion.number)
    kept: Mapping[str, Any] | None = registry.find_json(challenger.run_id, place)
    if kept is None:
        kept = predict_again(champion, splits)
        registry.keep_json(challenger.run_id, place, kept)
    return kept


def again_file(number: int) -> str:
    """Return the name of the file with another version's predictions on a run's splits."""
    return f"version-{number}-on-these-splits.json"


def _about(registry: Registry, version: Version) -> tuple[Mapping[str, float], tuple[str, ...]]:
    """Return the metrics of a version's run, and what they say in words."""
    runs = registry.candidates(version.name)
    own = next((run for run in runs if run["id"] == version.run_id), None)
    if own is None:
        return {}, ()
    return own["metrics"], run_in_words(runs, own)


def run_in_words(runs: Sequence[Mapping[str, Any]], run: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what the candidate saves, how little its study shows, and which one did better."""
    metrics = run["metrics"]
    said = (
        savings_in_words(metrics),
        evidence_in_words(metrics),
        earlier_winner_in_words(runs, run["tags"], metrics),
        larger_study_in_words(runs, run["tags"], metrics),
    )
    return tuple(one for one in said if one)


def promote(registry: Registry, found: Comparison, force: str | None, by: str) -> dict[str, Any]:
    """Make the challenger the champion if it is better, or for a stated reason.

    Args:
        registry: where the model is.
        found: the comparison of challenger and champion.
        force: the reason to promote a challenger that is not shown to be better.
        by: who promotes.

    Returns:
        The record that is added to the model's history: what, why, by whom and when.

    Raises:
        NotBetterError: the challenger is not shown to be better or saves nothing, and no reason is
            given, or it is the champion already. The message has the figures.
    """
    champion = registry.version(found.challenger.name)
    if champion and champion.number == found.challenger.number:
        raise NotBetterError(f"{champion} is the champion already")
    if not found.is_better and not force:
        one = found.differences[DECIDES]
        raise NotBetterError(
            f"{found.challenger} is not shown to be better than {found.champion}: the difference "
            f"in {DECIDES} is {one.value:+.3f}, 95 % interval {one.low:+.3f} to {one.high:+.3f} on "
            "the same items; collect more data, or give a reason by --force"
        )
    if saves_nothing(found.metrics) and not force:
        raise NotBetterError(
            f"{found.challenger} saves nothing: it {savings_in_words(found.metrics)}; train a "
            "better one, change the costs in the settings, or give a reason by --force"
        )
    record = {
        "action": "promote",
        "before": champion.number if champion else None,
        "differences": {name: asdict(one) for name, one in found.differences.items()},
        "splits": found.splits,
        "reason": force or ("better on the same items" if champion else "first champion"),
        "forced": bool(force and (not found.is_better or saves_nothing(found.metrics))),
        "words": list(found.words),
        "by": by,
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    registry.move_champion(found.challenger, record)
    return record


def rollback(registry: Registry, name: str, reason: str, by: str) -> Version:
    """Make the earlier champion the champion again.

    A second rollback does not return to the version that the first one left.

    Args:
        registry: where the model is.
        name: of the registered model.
        reason: it is kept in the history.
        by: who rolls back.

    Returns:
        The version that is now the champion.

    Raises:
        UsageError: there is no champion, or none before it.
    """
    current = registry.need(name)
    earlier = [
        record["before"]
        for record in registry.history(name)
        if record["version"] == current.number and record["action"] == "promote"
    ]
    if not earlier or earlier[-1] is None:
        raise UsageError(f"{current} has no champion before it, so there is nothing to go back to")
    version = registry.need(f"{name}@{earlier[-1]}")
    record = {
        "action": "rollback",
        "before": current.number,
        "reason": reason,
        "by": by,
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    registry.move_champion(version, record)
    return version
