"""Pages for reviewers: what waits, and one photo after the other."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from serving.access.sessions import User
from serving.context import StageContext
from serving.door import client
from serving.html import Html, texts_of
from serving.pages import Form, Here, Shown, Visitor, seen
from serving.records.inspections import Inspection
from serving.records.review import PAGE, CorrectionError

LAST_PAGE = 1_000_000
router = APIRouter(include_in_schema=False)


@router.get("/review")
def queue(request: Request, html: Shown, user: Visitor, here: Here, page: int = 1) -> Response:
    """Show what waits for this reviewer."""
    page = min(max(page, 1), LAST_PAGE)
    found, total = here.review.queue(user, (page - 1) * PAGE)
    known = {"found": found, "total": total, "page": page, "more": page * PAGE < total}
    return html.page(request, "review", known | {"here": "review"})


@router.get("/review/next")
def next_photo(
    request: Request,
    html: Shown,
    user: Visitor,
    here: Here,
    done: int = 0,
    skipped: int = 0,
    last: str = "",
    why: str = "",
) -> Response:
    """Show the next photo without its verdict, so that the reviewer's look is their own.

    Args:
        request: The request.
        html: The templates.
        user: The reviewer.
        here: The stage.
        done: Photos that the reviewer has reviewed in this round.
        skipped: Photos that stay in the queue, and are not shown again in this round.
        last: Id of the inspection that was reviewed last. Its verdict is shown now.
        why: Why the last choice could not be stored: a key of the texts below `review_error`.
    """
    done, skipped = (min(max(count, 0), LAST_PAGE) for count in (done, skipped))
    before = None
    if last:
        here, before = seen(html.context, request, user, last)
    review = here.review
    found, total = review.queue(user, skipped, 1)
    if found and found[0][0].inspection_id == last:  # Reviewers contradict each other on it.
        skipped += 1
        found, total = review.queue(user, skipped, 1)
    said = review.said(before.sha256).words().get(user.name) if before else None
    known = {"before": before, "before_says": said["says"] if said else "", "total": total}
    fault = texts_of(request)(f"review_error.{why}") if why in ("agreed", "spoken", "waits") else ""
    one = found[0][0] if found else None
    return stream_page(request, html, one, done, skipped, known, fault=fault)


def stream_page(
    request: Request,
    html: Html,
    one: Inspection | None,
    done: int,
    skipped: int,
    known: dict[str, Any],
    status: int = 200,
    fault: str = "",
) -> Response:
    """Return the page with the photo to review, or with the word that none is left."""
    empty = {"before": None, "before_says": "", "says": "", "total": 0}
    counts = {"one": one, "done": done, "skipped": skipped, "here": "review"}
    return html.page(request, "stream", empty | known | counts, status, fault=fault)


@router.post("/review/next")
def decide(request: Request, html: Shown, user: Visitor, form: Form) -> Response:
    """Store what the reviewer says and go on. If it contradicts the verdict, ask why."""
    here, one = seen(html.context, request, user, str(form.get("inspection", "")))
    done, skipped = _count(form.get("done")), _count(form.get("skipped"))
    says, reason = str(form.get("says", "")), str(form.get("reason", ""))
    why = ""
    try:
        here.review.correct(user, one, says, reason)
    except CorrectionError as error:
        why = error.why
    if why in ("reason", "says"):
        fault = (
            texts_of(request)(f"review_error.{why}") if why == "says" or "reason" in form else ""
        )
        known = {"says": says if why == "reason" else "", "total": _waiting(here, user) - skipped}
        return stream_page(request, html, one, done, skipped, known, 400 if fault else 200, fault)
    if not why:
        what = f"{says}: {one.inspection_id}"
        html.context.accounts.record(user.name, "corrected", what, client(request))
        done += 1
    there = {"done": done, "skipped": skipped, "last": one.inspection_id, "why": why}
    return RedirectResponse(f"/review/next?{urlencode(there)}", 303)


def _waiting(here: StageContext, user: User) -> int:
    return here.review.queue(user, 0, 1)[1]


def _count(text: Any) -> int:
    given = str(text or "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 7 else 0
