"""Pages for history, one inspection, photo, heat map, corrections and the review queue."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, date
from itertools import chain
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from PIL import Image

from lakehouse.files.photos import PhotoError, read_upright
from lakehouse.sql.database import SqlError
from serving.access.sessions import User
from serving.context import StageContext
from serving.door import client
from serving.html import Html, texts_of
from serving.origin import of_inspection
from serving.pages import Form, Here, RefusedError, Shown, Visitor, origin_shown, seen
from serving.records.inspections import PAGE, Inspection, Search
from serving.records.review import CorrectionError, Discussion
from serving.verdicts.maps import coloured_map, with_map

SHOWN_PIXELS = 1_024
"""Longest side of a photo on a page, in pixels."""
THUMB_PIXELS = 192
NOTHING = {"says": "", "reason": "", "defect": ""}
LAST_PAGE = 1_000_000
YEARS = range(1970, 2200)
router = APIRouter(include_in_schema=False)


@router.get("/inspections")
def history(request: Request, html: Shown, user: Visitor, here: Here, page: int = 1) -> Response:
    """Show one page of the inspections that the user searches for and may see."""
    what, page = searched(request), min(max(page, 1), LAST_PAGE)
    found, total = here.inspections.search(what, user, page)
    query = urlencode({name: value for name, value in asdict(what).items() if value})
    known = {"what": what, "found": found, "total": total, "page": page, "query": query}
    return html.page(request, "history", known | {"more": page * PAGE < total, "here": "history"})


@router.get("/inspections.csv")
def history_csv(request: Request, user: Visitor, here: Here) -> Response:
    """Return all inspections that the user searches for, as csv."""
    rows = _csv(here.inspections.all_of(searched(request), user))
    begin = next(rows, "")  # Read first, so that an error comes before the answer starts.
    head = {"Content-Disposition": 'attachment; filename="inspections.csv"'}
    return StreamingResponse(
        chain([begin], rows), media_type="text/csv; charset=utf-8", headers=head
    )


@router.get("/inspections/{inspection_id}")
def detail(
    request: Request, html: Shown, user: Visitor, inspection_id: str, said: str = ""
) -> Response:
    """Show one inspection."""
    here, one = seen(html.context, request, user, inspection_id)
    return detail_page(
        request, html, here, user, one, said=texts_of(request)("detail.kept") * bool(said)
    )


def detail_page(
    request: Request,
    html: Html,
    here: StageContext,
    user: User,
    one: Inspection,
    status: int = 200,
    said: str = "",
    fault: str = "",
    given: Mapping[str, str] = NOTHING,
) -> Response:
    """Return the page of one inspection. A reviewer sees others' corrections after an own one.

    `given` is what the form of the correction had, so that it has it again.
    """
    try:
        told, earlier = here.review.said(one.sha256), here.inspections.earlier(one.sha256)
    except SqlError:  # Show the verdict anyway; nobody can correct it now.
        told, earlier = Discussion([], None, closed=True), []
    reviewer = user.may("reviewer")
    blind = reviewer and user.name not in told.words() and not told.closed
    mine = [c for c in told.corrections if c["user_name"] == user.name]
    shown = told.corrections if reviewer and not blind else mine
    others = [o for o in earlier if o.may_be_seen_by(user)]
    kinds = here.stage.defects
    known = {
        "one": one,
        "given": given,
        "defects": kinds,
        "words": {kind.name: kind.word(texts_of(request).language) for kind in kinds},
        "link": html.address(request, f"/inspections/{one.inspection_id}"),
        "told": told,
        "shown": shown,
        "hidden": blind and len(shown) < len(told.corrections),
        "may_speak": not told.closed,
        "others": [o for o in others if o.inspection_id != one.inspection_id],
        "lot": here.lots.view(one.day, one.lot) if one.lot and one.day else None,
        **origin_shown(request, here, lambda: of_inspection(here.sources, vars(one))),
    }
    return html.page(request, "detail", known, status, said, fault)


@router.post("/inspections/{inspection_id}/corrections")
def correct(
    request: Request, html: Shown, user: Visitor, inspection_id: str, form: Form
) -> Response:
    """Store the user's correction for good."""
    here, one = seen(html.context, request, user, inspection_id)
    said = {name: str(form.get(name, "")) for name in ("says", "reason", "defect")}
    says = said["says"]
    try:
        here.review.correct(user, one, **said)
    except CorrectionError as error:
        fault = texts_of(request)(f"review_error.{error.why}")
        return detail_page(request, html, here, user, one, 400, fault=fault, given=said)
    what = f"{says}: {inspection_id}"
    html.context.accounts.record(user.name, "corrected", what, client(request))
    return RedirectResponse(f"/inspections/{inspection_id}?said=1", 303)


@router.get("/inspections/{inspection_id}/photo.jpg")
def photo(request: Request, html: Shown, user: Visitor, inspection_id: str) -> Response:
    """Return the uploaded photo, no larger than a page needs."""
    return _jpeg(_picture(*seen(html.context, request, user, inspection_id)))


@router.get("/inspections/{inspection_id}/heat.jpg")
def heat(request: Request, html: Shown, user: Visitor, inspection_id: str) -> Response:
    """Return the photo in grey, with the places that reach a threshold in colour."""
    here, one = seen(html.context, request, user, inspection_id)
    return _jpeg(with_map(_picture(here, one), one))


@router.get("/inspections/{inspection_id}/map.png")
def map_alone(request: Request, html: Shown, user: Visitor, inspection_id: str) -> Response:
    """Return the map alone, clear where nothing reaches a threshold."""
    target = io.BytesIO()
    _, one = seen(html.context, request, user, inspection_id)
    coloured_map(one).save(target, "PNG", optimize=True)
    return Response(target.getvalue(), media_type="image/png")


@router.get("/inspections/{inspection_id}/thumb.jpg")
def thumb(request: Request, html: Shown, user: Visitor, inspection_id: str) -> Response:
    """Return the photo as small as a list needs it."""
    picture = _picture(*seen(html.context, request, user, inspection_id))
    picture.thumbnail((THUMB_PIXELS, THUMB_PIXELS))
    return _jpeg(picture)


def _picture(here: StageContext, one: Inspection) -> Image.Image:
    content = (here.photos and here.photos.read(one.sha256)) or here.lots.photo(one.sha256)
    if content is None:
        raise RefusedError(404, "not_found")
    try:
        picture = read_upright(content, here.settings, here.stage.photo_bits)
    except PhotoError:
        raise RefusedError(404, "not_found") from None
    picture.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
    return picture


def _jpeg(picture: Image.Image) -> Response:
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=85)
    return Response(target.getvalue(), media_type="image/jpeg")


def searched(request: Request) -> Search:
    """Return the search in the address.

    A value that cannot be searched for is refused: without it, the answer would be about more than
    was asked for.
    """
    given = {name: value.strip() for name, value in request.query_params.items()}

    def day(name: str) -> date | None:
        if not given.get(name):
            return None
        try:
            found = date.fromisoformat(given[name])
        except ValueError:
            raise RefusedError(422, "filter") from None
        if found.year not in YEARS:
            raise RefusedError(422, "filter")
        return found

    version, verdict = given.get("model_version", ""), given.get("verdict", "")
    if version and not (version.isascii() and version.isdigit() and len(version) < 10):
        raise RefusedError(422, "filter")
    if verdict not in ("", "good", "bad", "needs_human"):
        raise RefusedError(422, "filter")
    first, last = day("first_day"), day("last_day")
    number = int(version) if version else None
    return Search(first, last, given.get("lot", ""), verdict, number, given.get("user", ""))


def _csv(found: Iterator[Inspection]) -> Iterator[str]:
    """Yield lines of csv. An apostrophe comes before what a spreadsheet would run as a formula."""
    names: list[str] = []
    for one in found:
        row = asdict(one) | {"inspected_at": one.inspected_at.replace(tzinfo=UTC).isoformat()}
        del row["heat"]
        if not names:
            names = list(row)
            yield "\N{BYTE ORDER MARK}" + csv_line(names)
        yield csv_line(row.values())


def csv_line(values: Iterable[Any]) -> str:
    """Return a line of csv. An apostrophe comes before what a spreadsheet would run."""
    target = io.StringIO()
    texts = ["" if value is None else str(value) for value in values]
    csv.writer(target).writerow([f"'{t}" if t.startswith(FORMULA) else t for t in texts])
    return target.getvalue()


FORMULA = ("=", "+", "-", "@", "\t", "\r")
