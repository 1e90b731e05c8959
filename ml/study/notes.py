"""What MLflow says of a study's runs and versions: tags, and sentences for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def protocol_params(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study's options as MLflow shows them: the protocol's name is `protocol`."""
    return {"protocol" if key == "name" else key: value for key, value in options.items()}


SHOWN = ("ap", "auroc", "recall_at_5_fpr", "brier", "cost")
"""The figures that descriptions and version tags have."""


def version_tags(about: Mapping[str, Any], winner: str, found: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a model's version: figures, thresholds, candidate, data and protocol."""
    options = protocol_params(about["options"])
    return {
        "candidate": winner,
        **{name: f"{found['metrics'][name]:.4f}" for name in SHOWN if name in found["metrics"]},
        **{f"threshold_{name}": f"{at:.6g}" for name, at in found.get("thresholds", {}).items()},
        "protocol": ", ".join(f"{key} {value}" for key, value in options.items()),
        "data_versions": ", ".join(f"{name} {at}" for name, at in about["versions"].items()),
        "data_sha256": found["tags"]["data_sha256"],
        "git_commit": str(about["tags"].get("git_commit", "")),
    }


def run_note(about: Mapping[str, Any], name: str, found: Mapping[str, Any]) -> str:
    """Return what a candidate is and how good, in sentences for people."""
    metrics, options = found["metrics"], protocol_params(about["options"])

    def figure(name: str) -> str:
        low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
        span = f" (95 % interval {low:.3f} to {high:.3f})" if low is not None else ""
        return f"{name} {metrics[name]:.3f}{span}"

    figures_said = "; ".join(figure(one) for one in SHOWN if one in metrics)
    how = ", ".join(f"{key} {value}" for key, value in options.items())
    data = ", ".join(f"{table} version {at}" for table, at in about["versions"].items())
    people = (
        f" People labelled {metrics['items_people']:.0f} of them, {metrics['bad_people']:.0f} bad; "
        "the figures that end on _plant are without these."
        if "items_people" in metrics
        else ""
    )
    return (
        f"**{name}** for {about['model']}. {figures_said}.\n\nTested out of fold on "
        f"{metrics['items']:.0f} items, {metrics['bad']:.0f} of them bad ({how}).{people}\n\n"
        f"Data of the lake: {data}."
    )
