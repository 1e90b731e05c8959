"""A page for each version of a model: what its promotion rests on; promote it, or roll back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from lakehouse.errors import PlatelakeError, UsageError
from ml.figures.savings import saves_nothing
from ml.registry import CHALLENGER, Registry, Version
from ml.study.dossier import CUTS, Dossier, dossier
from ml.study.promotion import Comparison, NotBetterError, compare, promote, rollback
from serving.charts import CurveView, curves
from serving.context import StageContext
from serving.door import client
from serving.html import Html, texts_of
from serving.pages import Form, Here, Named, RefusedError, Shown, Visitor, mlflow_link
from serving.records.review import REASON_LENGTH
from serving.verdicts.champion import Champion

router = APIRouter(include_in_schema=False)
SIDES = ("first", "second")


class OtherSplitsError(PlatelakeError):
    """The champion was tested on other splits; the command line trains it on these."""


@dataclass(frozen=True)
class Promotions:
    """Promotions and rollbacks of a model, the newest first, and the challenger that waits."""

    history: Sequence[Mapping[str, Any]] = ()
    challenger: Version | None = None


def promotions(registry: Registry, champion: Champion) -> Promotions:
    """Return what happened to a model; nothing while MLflow is away."""
    with suppress(PlatelakeError):
        waiting = registry.version(champion.name, CHALLENGER)
        if waiting is None:
            return Promotions()
        if champion.model is not None and waiting.number == champion.model.version:
            waiting = None
        return Promotions(registry.history(champion.name)[::-1], waiting)
    return Promotions()


@router.get("/models/{kind}/{number}")
def version_page(
    request: Request, html: Shown, user: Visitor, here: Here, kind: str, number: int
) -> Response:
    """Show a version: data, splits, its figures and those of the one before, who and why."""
    done = request.query_params.get("done", "")
    said = texts_of(request)(f"dossier.{done}") if done in ("promoted", "rolled_back") else ""
    return _page(request, html, here, (kind, number), said=said)


@router.post("/models/{kind}/{number}/promote")
def promote_it(
    request: Request, html: Shown, user: Visitor, here: Named, form: Form, kind: str, number: int
) -> Response:
    """Make this version the champion. If nothing shows that it is better, a reason is needed."""
    at, reason = (kind, number), _reason(form.get("reason"))
    registry, champion, version = _found(here, *at)
    if str(form.get("before", "")) != str(_number(registry.version(champion.name))):
        return _page(request, html, here, at, 409, "stale")
    found = _compared(registry, version)
    if found is None:
        return _page(request, html, here, at, 409, "other_splits")
    try:
        record = promote(registry, found, reason or None, user.name)
    except NotBetterError:
        return _page(request, html, here, at, 400, "reason_needed")
    told = f"{version}: {record['reason']}"
    html.context.accounts.record(user.name, "promoted", told, client(request))
    return _done(here, champion, at, "promoted")


@router.post("/models/{kind}/{number}/rollback")
def roll_back(
    request: Request, html: Shown, user: Visitor, here: Named, form: Form, kind: str, number: int
) -> Response:
    """Make the champion before this one the champion again, for a reason."""
    at, reason = (kind, number), _reason(form.get("reason"))
    registry, champion, version = _found(here, *at)
    if _number(registry.version(champion.name)) != number:
        return _page(request, html, here, at, 409, "stale")
    if not reason:
        return _page(request, html, here, at, 400, "reason_needed")
    try:
        now = rollback(registry, champion.name, reason, user.name)
    except UsageError:
        return _page(request, html, here, at, 409, "nothing_before")
    told = f"{version} to version {now.number}: {reason}"
    html.context.accounts.record(user.name, "rolled back", told, client(request))
    return _done(here, champion, (kind, now.number), "rolled_back")


def _done(here: StageContext, champion: Champion, at: tuple[str, int], done: str) -> Response:
    champion.refresh()  # The next photo has the new model; other processes ask within seconds.
    return RedirectResponse(f"/models/{at[0]}/{at[1]}?stage={here.stage.name}&done={done}", 303)


def _reason(text: object) -> str:
    return " ".join(str(text or "").split())[:REASON_LENGTH]


def _number(version: Version | None) -> int | str:
    return version.number if version else ""


def _found(here: StageContext, kind: str, number: int) -> tuple[Registry, Champion, Version]:
    """Return the registry, the model of this kind, and its version of this number."""
    if kind not in here.champions:
        raise RefusedError(404, "not_found")
    registry, champion = here.app.registry, here.champions[kind]
    try:
        version = registry.version(champion.name, str(number))
    except PlatelakeError:
        raise RefusedError(503, "mlflow") from None
    if version is None:
        raise RefusedError(404, "not_found")
    return registry, champion, version


def _compared(registry: Registry, version: Version) -> Comparison | None:
    """Compare with the champion; None if that must be trained on these splits first."""

    def again(champion: Version, splits: list[str]) -> Mapping[str, Any]:
        raise OtherSplitsError(f"{champion} was tested on other splits")

    try:
        return compare(registry, version, again)
    except OtherSplitsError:
        return None


def _page(
    request: Request,
    html: Html,
    here: StageContext,
    at: tuple[str, int],
    status: int = 200,
    fault: str = "",
    said: str = "",
) -> Response:
    kind, _ = at
    registry, champion, version = _found(here, *at)
    try:
        known = _about(registry, champion, version, here)
    except PlatelakeError:
        raise RefusedError(503, "mlflow") from None
    known |= {
        "kind": kind,
        "version": version,
        "mlflow": mlflow_link(html.context, known["about"]["page"]),
        "here": "models",
    }
    wrong = texts_of(request)(f"dossier.{fault}") if fault else ""
    return html.page(request, "dossier", known, status, said, wrong)


def _about(
    registry: Registry, champion: Champion, version: Version, here: StageContext
) -> dict[str, Any]:
    """Gather what the page of a version shows."""
    now = registry.version(champion.name)
    is_champion = _number(now) == version.number
    records = [one for one in registry.history(champion.name) if one["version"] == version.number]
    promoted = [one for one in records if one["action"] == "promote"]
    numbers = [one["before"] for one in promoted[-1:] if one["before"]]
    earlier = registry.version(champion.name, str(numbers[0])) if numbers else None
    before = earlier if promoted else now
    costs = here.app.costs.now(champion.name, here.settings)
    found = dossier(registry, version, before, costs)
    comparison = None if is_champion else _compared(registry, version)
    metrics = registry.read_run(version.run_id)["metrics"]
    return {
        "about": registry.describe(champion.name, version.number),
        "metrics": metrics,
        "saves_nothing": saves_nothing(metrics),
        "records": records[::-1],
        "now": now,
        "is_champion": is_champion,
        "before": before,
        "comparison": comparison,
        "differences": _differences(comparison, promoted),
        "found": found,
        "curves": _curves(found),
        "cuts": CUTS,
        "can_go_back": is_champion and earlier is not None,
    }


def _differences(
    comparison: Comparison | None, promoted: list[dict[str, Any]]
) -> dict[str, Mapping[str, float]]:
    """Return the paired differences: of now for a challenger, else those of its promotion."""
    if comparison is not None:
        return {name: vars(one) for name, one in comparison.differences.items()}
    return dict(promoted[-1].get("differences", {})) if promoted else {}


def _curves(found: Dossier) -> CurveView:
    """Return the cost of an item by a single threshold, for each side."""
    lines = [(name, np.array(side.curve)) for name, side in zip(SIDES, found.sides, strict=False)]
    return curves(np.array(CUTS), lines)
