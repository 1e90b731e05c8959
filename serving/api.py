"""The HTTP interface for the line's machines, and what monitoring asks."""

from __future__ import annotations

from datetime import date, datetime

from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, Field

from lakehouse.errors import UsageError
from serving.context import Parts
from serving.html import texts_of
from serving.pages import RefusedError, Shown, Visitor, seen
from serving.receive import NO_CHAMPION, Result, judge
from serving.records.inspections import Inspection
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


class Verdict(BaseModel):
    """The verdict on one photo, as it is kept."""

    inspection_id: str
    link: str = Field(description="Path of its page")
    inspected_at: datetime = Field(description="UTC")
    file: str
    sha256: str
    day: date | None
    lot: str | None
    verdict: str = Field(description="good, bad or needs_human")
    probability: float = Field(description="Probability of bad")
    low: float = Field(description="Below it the verdict is good")
    high: float = Field(description="From it on the verdict is bad; between, a person looks")
    model: str
    model_version: int
    model_sha256: str


class Judged(BaseModel):
    """What came of one file: a verdict, or the rule that it breaks."""

    file: str
    verdict: Verdict | None = None
    seen_before: bool = False
    rule: str | None = Field(None, description="Such as not_an_image, too_large, too_many")
    message: str | None = Field(None, description="The same in words, by Accept-Language")


class Answer(BaseModel):
    """A result for each file, in the order of the request."""

    results: list[Judged]


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
    return _verdict(seen(html.parts, request, user, inspection_id))


def as_json(one: Result) -> Judged:
    """A result as the interface gives it."""
    if one.inspection is None:
        return Judged(file=one.name, rule=one.rule, message=one.said)
    verdict = _verdict(one.inspection)
    return Judged(file=one.name, verdict=verdict, seen_before=one.seen is not None)


def _verdict(one: Inspection) -> Verdict:
    known = vars(one) | {"link": f"/inspections/{one.inspection_id}", "file": one.file_name}
    return Verdict(**{name: known[name] for name in Verdict.model_fields})


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
