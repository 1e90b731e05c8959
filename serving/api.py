"""The HTTP interface for the line's machines, and what monitoring asks."""

from __future__ import annotations

from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Request, Response

from lakehouse.errors import UsageError
from serving.answers import Answer, Verdict, as_json, as_verdict
from serving.context import Parts
from serving.html import texts_of
from serving.pages import RefusedError, Shown, Visitor, seen
from serving.receive import NO_CHAMPION, Result, judge
from serving.verdicts.inspector import Lot
from serving.verdicts.uploads import TOO_LARGE, MalformedError, TooMuchError

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
                            "description": "Photos: PNG, JPEG, BMP, GIF, TIFF or WEBP",
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
async def post_verdicts(request: Request, response: Response, html: Shown, user: Visitor) -> Answer:
    """Judge photos. A file that cannot be judged says why; the others are judged.

    413 where every file is too large, 503 where there is no model yet.
    """
    parts, t = html.parts, texts_of(request)
    try:
        files, texts = await parts.uploads.receive(request, user.name)
    except TooMuchError:
        raise RefusedError(413, "too_large") from None
    except MalformedError as error:
        raise HTTPException(400, str(error)) from None
    try:
        lot = parts.inspector.lot(texts.get("lot", ""))
    except UsageError:
        for one in files:  # They are sent again with the right lot.
            parts.uploads.drop(one)
        raise HTTPException(422, t("fault.lot")) from None
    if not files:
        raise HTTPException(422, t("inspect.nothing"))

    def all_judged(lot: Lot | None) -> list[Result]:
        return [judge(parts, t, user, one, lot) for one in files]

    # Threads of their own: whoever waits for a verdict keeps nobody from another page.
    results = await run_sync(all_judged, lot, limiter=request.app.state.judging)
    if all(one.rule == TOO_LARGE for one in results):
        response.status_code = 413
    elif any(one.rule == NO_CHAMPION for one in results):
        response.status_code = 503
    return Answer(results=[as_json(one) for one in results])


@router.get("/api/inspections/{inspection_id}")
def get_inspection(request: Request, html: Shown, user: Visitor, inspection_id: str) -> Verdict:
    """An inspection that this user may see."""
    return as_verdict(seen(html.parts, request, user, inspection_id))


@router.get("/healthz", include_in_schema=False)
def healthz() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@router.get("/readyz", include_in_schema=False)
def readyz(response: Response, html: Shown) -> dict[str, str]:
    """Whether photos can be judged: 503 without a champion. SQL and MLflow may be away."""
    parts = html.parts
    ready = parts.photo_champion.model is not None
    response.status_code = 200 if ready else 503
    return {
        "status": "ready" if ready else "no champion",
        "sql": "away" if parts.sql_away else "ok",
        "mlflow": "away" if parts.mlflow_away else "ok",
    }


@router.get("/metrics", include_in_schema=False)
def metrics(html: Shown) -> Response:
    """For Prometheus."""
    parts = html.parts
    _observe(parts)
    return Response(parts.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _observe(parts: Parts) -> None:
    known = parts.metrics
    known.waiting.set(parts.outbox.count())
    known.sql_away.set(parts.sql_away)
    known.mlflow_away.set(parts.mlflow_away)
    for champion in (parts.photo_champion, parts.lot_champion):
        version = champion.model.version if champion.model else 0
        known.champion.labels(champion.name).set(version)
