"""The model card: what a model learned from, how it was tested, and where it fails.

After Mitchell et al. 2019, "Model cards for model reporting". Each candidate's run has it as
`card.json`, which the app shows, and as `card.html`, which MLflow shows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from numpy.typing import NDArray

from ml.figures.cross_validation import CrossValidation
from ml.figures.savings import evidence_in_words, savings_in_words

CARD_FILE, CARD_PAGE = "card.json", "card.html"
SHOWN_FIGURES = ("auroc", "ap", "recall_at_5_fpr", "brier", "cost", "decided", "cost_ratio")
VERDICTS = ("good", "needs_human", "bad")
EACH = 3
"""Examples of each outcome."""
OUTCOMES = ("missed", "false_alarm", "found", "passed")
"""Bad and called good; good and called bad; bad and called bad; good and called good."""
DOUBTFUL = "doubtful"
"""Examples whose label contradicts the model most, so that a person looks at them again."""
MOST_DOUBTFUL = 12


@dataclass(frozen=True)
class Slice:
    """Verdicts on a part of the items: shares, means over the splits."""

    name: str
    label: str
    items: int
    good: float
    needs_human: float
    bad: float


@dataclass(frozen=True)
class Example:
    """An item that was tested: what came out, and pictures as data URIs, empty without one."""

    outcome: str
    item: str
    name: str
    probability: float
    label: str = ""
    kind: str = ""
    picture: str = ""
    map: str = ""


def slices(
    evaluated: CrossValidation, found: NDArray[np.str_], kinds: Mapping[str, str]
) -> list[Slice]:
    """Count verdicts by label and, if kinds of defect are known, by kind.

    Args:
        evaluated: the items, in their order.
        found: their verdicts out of fold, of the shape of `p`.
        kinds: kind of defect by item; items without one are left out of the kinds.
    """
    names = ("good", "bad")
    parts = [(names[label], names[label], evaluated.y == label) for label in (0, 1)]
    own = np.array([kinds.get(item, "") for item in evaluated.items])
    bad = evaluated.y == 1
    parts += [(kind, "bad", bad & (own == kind)) for kind in sorted(set(own[bad]) - {""})]
    return [
        Slice(name, label, int(at.sum()), *(float((found[at] == v).mean()) for v in VERDICTS))
        for name, label, at in parts
        if at.any()
    ]


def chosen(evaluated: CrossValidation, found: NDArray[np.str_]) -> list[tuple[str, int]]:
    """Choose examples by the first split: outcome and index into the items.

    Mistakes come first, the most confident ones first; of right verdicts, those in the middle.
    Last come the labels that contradict the mean probability most. Each group gives one example of
    an outcome at most.
    """
    y, p = evaluated.y, evaluated.p[:, 0]
    wanted = {"missed": ("good", 1), "false_alarm": ("bad", 0), "found": ("bad", 1)}
    wanted["passed"] = ("good", 0)
    picked = []
    for outcome in OUTCOMES:
        verdict, label = wanted[outcome]
        at = np.flatnonzero((found[:, 0] == verdict) & (y == label))
        order = at[np.argsort(p[at] if verdict == "good" else -p[at], kind="stable")]
        if outcome in ("found", "passed"):
            order = np.roll(order, -(len(order) // 2))
        picked += [(outcome, one) for one in _one_of_a_group(evaluated, order)[:EACH]]
    apart = np.abs(evaluated.p.mean(axis=1) - y)
    order = np.argsort(-apart, kind="stable")
    doubtful = _one_of_a_group(evaluated, order[apart[order] > 0.5])
    return picked + [(DOUBTFUL, one) for one in doubtful[:MOST_DOUBTFUL]]


def _one_of_a_group(evaluated: CrossValidation, order: NDArray[np.intp]) -> list[int]:
    """Return the first item of each group, in this order."""
    first: dict[str, int] = {}
    for one in order:
        first.setdefault(evaluated.groups[one], int(one))
    return list(first.values())


def card_of(
    about: Mapping[str, Any],
    evaluated: CrossValidation,
    found: NDArray[np.str_] | None,
    kinds: Mapping[str, str],
    examples: Sequence[Example],
) -> dict[str, Any]:
    """Return the card as JSON has it.

    Args:
        about: model, candidate, made, commit, versions, protocol, thresholds, costs, metrics, card
            (what the predictor knows, such as limits) and recipe.
        evaluated: what was tested.
        found: verdicts out of fold; None if there are no other folds to fit thresholds on.
        kinds: kind of defect by item.
        examples: right and wrong ones.
    """
    metrics = about["metrics"]
    return {
        **{key: about[key] for key in ("model", "candidate", "made", "commit", "versions")},
        **{key: about[key] for key in ("protocol", "thresholds", "costs")},
        "items": len(evaluated.items),
        "bad": int(evaluated.y.sum()),
        "groups": len(set(evaluated.groups)),
        "size": [about["card"][side] for side in ("width", "height") if side in about["card"]],
        "masks": bool(about["recipe"].get("masks")),
        "figures": {
            name: [metrics.get(f"{name}{end}") for end in ("", "_low", "_high")]
            for name in SHOWN_FIGURES
            if name in metrics
        },
        "saves": savings_in_words(metrics),
        "evidence": evidence_in_words(metrics),
        "slices": [asdict(one) for one in slices(evaluated, found, kinds)]
        if found is not None
        else [],
        "examples": [asdict(one) for one in examples],
        "limits": dict(about["card"].get("limits") or {}),
    }


def write_card(card: Mapping[str, Any], folder: Path) -> None:
    """Write `card.json`, and `card.html` for people, which needs no other file."""
    text = json.dumps(card, ensure_ascii=False, indent=1, allow_nan=False)
    (folder / CARD_FILE).write_text(text + "\n", "utf-8")
    pages = Environment(loader=PackageLoader("ml.study"), autoescape=True)
    page = pages.get_template(CARD_PAGE).render(card=card, outcomes=OUTCOMES)
    (folder / CARD_PAGE).write_text(page + "\n", "utf-8")
