"""Who is champion: challenger and champion on the same items, and the evidence kept with the alias.

Both are judged out of fold on the challenger's splits. Where the champion was not judged on these
(the data has grown since), its recipe is trained on them anew: what is compared are two ways to
make a model, on items that neither has trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from lakehouse.errors import PlatelakeError, UsageError
from ml.figures.cross_validation import mean_over_splits
from ml.figures.metrics import FIGURES, Interval, paired_bootstrap
from ml.registry import Registry, Version
from ml.study.candidates import JUDGED_FILE

DECIDES = "ap"
"""The figure whose interval must be better: average precision."""


class NotBetterError(PlatelakeError):
    """The champion stays: nothing shows that the challenger is better."""


PredictAgain = Callable[[Version, list[str]], Mapping[str, Any]]
"""Judges a version's recipe on these splits; the content of its judged file."""


@dataclass(frozen=True)
class Comparison:
    """Challenger minus champion on the same items, by figure; no champion, no differences."""

    challenger: Version
    champion: Version | None
    splits: list[str]
    differences: Mapping[str, Interval]

    @property
    def is_better(self) -> bool:
        """Whether the whole interval of the deciding figure is above zero."""
        return self.champion is None or self.differences[DECIDES].low > 0


def compare(registry: Registry, challenger: Version, predict_again: PredictAgain) -> Comparison:
    """The challenger beside the champion of its name."""
    champion = registry.version(challenger.name)
    new = registry.read_json(challenger.run_id, JUDGED_FILE)
    if champion is None or champion.number == challenger.number:
        return Comparison(challenger, None, new["splits"], {})
    old = registry.read_json(champion.run_id, JUDGED_FILE)
    if old["splits"] != new["splits"]:
        old = predict_again(champion, new["splits"])
    if old["items"] != new["items"]:
        raise PlatelakeError(
            f"{champion} and {challenger} were not judged on the same items; train the challenger "
            "again on the lake as it is now"
        )
    y = np.asarray(new["y"])
    p, q = np.asarray(new["p"]), np.asarray(old["p"])
    differences = {
        name: paired_bootstrap(mean_over_splits(figure), y, p, q, new["groups"])
        for name, figure in FIGURES.items()
    }
    return Comparison(challenger, champion, new["splits"], differences)


def promote(registry: Registry, found: Comparison, force: str | None, by: str) -> dict[str, Any]:
    """Move the champion's alias if the challenger is better, or for a stated reason; the record.

    Raises NotBetterError with the interval where it is not better.
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
    record = {
        "action": "promote",
        "before": champion.number if champion else None,
        "differences": {name: asdict(one) for name, one in found.differences.items()},
        "splits": found.splits,
        "reason": force or ("better on the same items" if champion else "first champion"),
        "forced": bool(force and not found.is_better),
        "by": by,
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    registry.move_champion(found.challenger, record)
    return record


def rollback(registry: Registry, name: str, reason: str, by: str) -> Version:
    """Make the champion of before the champion again; the version that it now is.

    What was rolled back from is not rolled back to.
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
