"""The HTTP interface for the machines of the line, and the routes for monitoring."""

from __future__ import annotations

from contextlib import suppress
from datetime import date

from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Request, Response

from lakehouse.errors import UsageError
from lakehouse.sql.database import SqlError
from serving.answers import Answer, LotsOfDay, Verdict, as_json, as_verdict
from serving.context import AppContext
from serving.html import texts_of
from serving.pages import Here, Named, Shown, Visitor, received, seen
from serving.receive import NO_CHAMPION, Result, inspect_upload
from serving.records.pushes import waiting_pushes
from serving.verdicts.inspector import Lot
from serving.verdicts.uploads import TOO_LARGE

router = APIRouter()
FILES = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "Photos: PNG, JPEG, BMP, GIF, TIFF, WEBP, AVIF or HEIC",
                        },
                        "lot": {
                            "type": "string",
                            "description": "Lot of the part: 17, of today, or 2021-09-06/17",
                        },
                    },
                }
            }
        },
    }
}


@router.post("/api/verdicts", openapi_extra=FILES)
async def post_verdicts(
    request: Request, response: Response, html: Shown, user: Visitor, here: Named
) -> Answer:
    """Judge photos. A file that cannot be judged says why; the others are judged.

    `?stage=NAME` names the stage; needed if there are several.
    413 where every file is too large, 503 where there is no model yet.
    """
    context, t = html.context, texts_of(request)
    files, texts = await received(request, context, user)
    try:
        lot = here.inspector.lot(texts.get("lot", ""))
    except UsageError:
        for one in files:  # The sender sends them again with the right lot.
            context.uploads.drop(one)
        raise HTTPException(422, t("fault.lot")) from None
    if not files:
        raise HTTPException(422, t("inspect.nothing"))

    def all_inspected(lot: Lot | None) -> list[Result]:
        return [inspect_upload(here, t, user, one, lot) for one in files]

    # Own threads, so that requests that wait for a verdict do not block other pages.
    results = await run_sync(all_inspected, lot, limiter=request.app.state.inspecting)
    if all(one.rule == TOO_LARGE for one in results):
        response.status_code = 413
    elif any(one.rule == NO_CHAMPION for one in results):
        response.status_code = 503
    root = context.settings.root_path
    return Answer(results=[as_json(one, root) for one in results])


@router.get("/api/inspections/{inspection_id}")
def get_inspection(request: Request, html: Shown, user: Visitor, inspection_id: str) -> Verdict:
    """An inspection that this user may see."""
    _, one = seen(html.context, request, user, inspection_id)
    return as_verdict(one, html.context.settings.root_path)


@router.get("/api/lots")
def get_lots(user: Visitor, here: Here, day: date | None = None) -> LotsOfDay:
    """The lots of the lake on that day, or on this production day."""
    when = day or here.stage.production_day()
    return LotsOfDay(day=when, lots=here.lots.names(when))


@router.get("/healthz", include_in_schema=False)
def healthz() -> dict[str, str]:
    """Say that the process lives."""
    return {"status": "ok"}


@router.get("/readyz", include_in_schema=False)
def readyz(response: Response, html: Shown) -> dict[str, str]:
    """Say whether photos can be inspected: 503 without a champion. SQL and MLflow may be away."""
    context = html.context
    ready = any(here.photo_champion.model is not None for here in context.stages.values())
    response.status_code = 200 if ready else 503
    return {
        "status": "ready" if ready else "no champion",
        "sql": "away" if context.sql_away else "ok",
        "mlflow": "away" if context.mlflow_away else "ok",
    }


@router.get("/metrics", include_in_schema=False)
def metrics(html: Shown) -> Response:
    """Return the metrics for Prometheus."""
    context = html.context
    _observe(context)
    return Response(context.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _observe(context: AppContext) -> None:
    known = context.metrics
    known.waiting.set(context.outbox.count())
    known.sql_away.set(context.sql_away)
    if context.settings.verdict_webhook and not context.sql_away:
        with suppress(SqlError):
            known.pushes.set(waiting_pushes(context.records.database))
    known.mlflow_away.set(context.mlflow_away)
    for champion in context.champions:
        version = champion.model.version if champion.model else 0
        known.champion.labels(champion.name).set(version)
