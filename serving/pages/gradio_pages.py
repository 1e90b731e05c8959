"""The pages that take files: photos or a sensor file to inspect. Built with Gradio.

Gradio's own routes for files are closed. `file_routes` come before them, remember who owns each
upload, and check the limits while a file arrives.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import gradio as gr
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from lakehouse.errors import PlatelakeError, UsageError
from serving.access.sessions import User
from serving.answers import as_json
from serving.context import StageContext
from serving.door import write_down
from serving.html import STATIC, Html, query_of, stage_of, theme_of, user_of
from serving.lots import LotView
from serving.pages import RefusedError, Shown, Visitor, stage_for
from serving.pages.intake import read_sensor
from serving.receive import Result, inspect_upload, refused
from serving.texts import LANGUAGES, Texts, texts
from serving.verdicts.inspector import AT_ONCE, Lot
from serving.verdicts.uploads import TOO_MANY, MalformedError, TooMuchError

HEAD = """
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<script src="/static/theme.js"></script>
<link rel="stylesheet" href="/static/tokens.css">
<link rel="stylesheet" href="/static/inspect.css">
<script src="/static/viewer.js"></script>
<script src="/static/inspect.js"></script>
<script>document.documentElement.lang = "{language}"</script>
"""
"""Links the tokens: Gradio makes the selectors of given css more specific, and loses :root."""
TOKENS = {
    "background_fill_primary": "var(--paper)",
    "background_fill_secondary": "var(--page)",
    "body_background_fill": "var(--page)",
    "body_text_color": "var(--ink)",
    "body_text_color_subdued": "var(--quiet)",
    "border_color_accent": "var(--accent)",
    "border_color_primary": "var(--line)",
    "block_background_fill": "var(--paper)",
    "block_border_color": "var(--line)",
    "block_label_background_fill": "var(--paper)",
    "block_label_text_color": "var(--ink)",
    "block_title_text_color": "var(--ink)",
    "block_info_text_color": "var(--quiet)",
    "block_shadow": "var(--shadow)",
    "input_background_fill": "var(--paper)",
    "input_border_color": "var(--edge)",
    "input_border_width": "1px",
    "input_border_color_focus": "var(--focus)",
    "input_placeholder_color": "var(--quiet)",
    "input_shadow_focus": "0 0 0 3px var(--focus)",
    "link_text_color": "var(--link)",
    "button_primary_background_fill": "var(--accent)",
    "button_primary_background_fill_hover": "var(--accent-strong)",
    "button_primary_text_color": "var(--on-accent)",
    "button_primary_text_color_hover": "var(--on-accent)",
    "button_secondary_background_fill": "var(--shade)",
    "button_secondary_text_color": "var(--ink)",
}
"""Gradio's names for the values of `tokens.css`."""
QUEUE_SECONDS, PROGRESS_SECONDS = 0.05, 0.1
"""Seconds between two checks for events and progress, as Gradio has on Windows. Elsewhere it has 1
and 10 ms, and four pages then use a tenth of a processor without any user."""
file_routes = APIRouter(include_in_schema=False)


@file_routes.post("/{page}/{language}/gradio_api/upload")
async def upload(request: Request, html: Shown, user: Visitor) -> Response:
    """Store uploaded files, and answer with their paths, as Gradio's pages expect."""
    try:
        files, _ = await html.context.uploads.receive(request, user.name)
    except TooMuchError:
        raise RefusedError(413, "too_large") from None
    except MalformedError as error:
        return JSONResponse({"detail": str(error)}, 400)
    return JSONResponse([str(one.path) for one in files])


@file_routes.get("/{page}/{language}/gradio_api/upload_progress")
def upload_progress() -> Response:
    """Tell the page only that the upload is done, not its progress."""
    return Response('data: {"msg": "done"}\n\n', media_type="text/event-stream")


@file_routes.get("/{page}/{language}/gradio_api/file={path:path}")
async def uploaded(request: Request, html: Shown, user: Visitor, path: str) -> Response:
    """Return the user's own upload, to view before the inspection, and nothing else."""
    one = html.context.uploads.owned(path, user.name)
    if one is None:
        await run_in_threadpool(write_down, html.context.accounts, request, "refused")
        raise RefusedError(403, "forbidden")
    return FileResponse(one.path, headers={"Content-Disposition": "attachment"})


def _paths(payload: Any) -> list[str]:
    """Return the paths of the chosen files, unchecked: the result says what is wrong with one."""
    files = getattr(payload, "root", payload) or []
    return [one.path for one in (files if isinstance(files, list) else [files])]


def _raw(component: Any) -> Any:
    """Make the component pass on the paths of its files, without opening them itself.

    Not a subclass: for each one Gradio writes a stub file next to its module.
    """
    component.preprocess = _paths
    return component


def mount(app: FastAPI, html: Html) -> None:
    """Mount the pages below /inspect and /sensor, once for each language."""
    for language in LANGUAGES:
        for path, build in (("/inspect", _inspect), ("/sensor", _sensor)):
            page = build(html, texts(language))
            # Gradio checks the paths of a request only if it believes that it is running.
            page.has_launched = True
            gr.mount_gradio_app(
                app,
                page,
                f"{path}/{language}",
                theme=_theme(),
                css_paths=[STATIC / "frame.css", STATIC / "parts.css"],
                head=html.linked(HEAD.format(language=language)),
                footer_links=[],
                run_history=False,
                auth_dependency=_name,
            )
            page._queue.sleep_when_free = QUEUE_SECONDS
            page._queue.progress_update_sleep_when_free = PROGRESS_SECONDS


def _theme() -> gr.themes.Base:
    """Return Gradio's plainest theme, with the values of `tokens.css` for light and dark."""
    theme = gr.themes.Base(font=["var(--font)"], font_mono=["var(--mono)"], radius_size="sm")
    both = {name: value for one, value in TOKENS.items() for name in (one, f"{one}_dark")}
    return theme.set(**both, color_accent="var(--accent)", button_large_text_size="var(--text)")


def _name(request: Request) -> str | None:
    user = user_of(request)
    return user.name if user else None


def _user(request: gr.Request) -> User:
    found = user_of(request.request) if request.request else None
    assert found, "the door refuses all others"
    return found


def _stage(html: Html, request: gr.Request) -> StageContext:
    """Return the stage that the page shows: Gradio's requests name it only as their referrer."""
    assert request.request
    page = urlsplit(request.request.headers.get("referer", ""))
    name = parse_qs(page.query).get("stage", [""])[0]
    mine = html.context.open_to(_user(request))
    return mine.get(name) or stage_of(request.request, html.context)


def _named(html: Html, request: gr.Request) -> StageContext:
    """Return the stage that the request names, as the HTTP interface does."""
    assert request.request
    try:
        return stage_for(request.request, html.context, named=True)
    except RefusedError as error:
        raise gr.Error(texts("en")(f"refused.{error.why}"), print_exception=False) from None


def _top(html: Html, t: Texts, request: gr.Request, here: str, path: str) -> str:
    """Return the frame of a page: menu and banner."""
    theme = theme_of(request.request) if request.request else ""
    stage, known = _stage(html, request), {"here": here, "theme": theme}
    return html.text(stage, "top", t, _user(request), path + query_of(stage), known)


def _inspect(html: Html, t: Texts) -> gr.Blocks:
    """Return the page that inspects photos, and its function for Gradio's client."""
    context = html.context
    with _page(html, t, "photos", "/inspect", "/inspections") as (page, answering):
        files = gr.File(file_count="multiple", visible=False)
        snapshot, lot = gr.Image(visible=False), gr.Textbox(visible=False)
        results, answers = gr.HTML(visible=False), gr.JSON(visible=False)

        def inspected(
            files: list[str], snapshot: list[str], lot: str, request: gr.Request
        ) -> Iterator[tuple[str, list[dict[str, Any]]]]:
            user = _user(request)
            try:
                here = _named(html, request)
                named = here.inspector.lot(lot or "")
            except UsageError:
                yield _shown(
                    here, html, t, user, [Result(lot, rule="lot", said=t("fault.lot"))], None
                )
                return
            paths = [*(files or []), *(snapshot or [])]
            if not paths:
                nothing = Result("", rule="nothing", said=t("inspect.nothing"))
                yield _shown(here, html, t, user, [nothing], None)
            found: list[Result] = []
            for number, path in enumerate(paths):
                # They may have come in several uploads.
                too_many = number >= context.settings.upload_files
                found.append(_inspected(here, t, user, path, named, request, too_many))
                yield _shown(here, html, t, user, found, None)
            if named and found:  # Last: explaining a lot takes longer than a photo.
                yield _shown(here, html, t, user, found, named)

        answering.click(
            inspected,
            [_raw(files), _raw(snapshot), lot],
            [results, answers],
            api_name="verdicts",
            concurrency_limit=AT_ONCE,
        )
    return page


@contextmanager
def _page(
    html: Html, t: Texts, kind: str, path: str, to: str
) -> Iterator[tuple[gr.Blocks, gr.Button]]:
    """Make a page with our component, which sends each file to `to`, and a hidden button.

    Gradio's own form ignores a click while another one is at work, and knows no queue of photos.
    """
    name = {"/inspect": "inspect", "/sensor": "sensor"}[path]
    title = t(f"{name}.title")
    page = gr.Blocks(title=f"{title} – {t('app')}", analytics_enabled=False)
    with page:
        top = gr.HTML()
        gr.HTML(f"<h1 id='content'>{title}</h1>")
        known = {"kind": kind, "to": to, "sentences": t.sentences}
        gr.HTML(html.text(html.context.first, "intake", t, None, path, known))
        answering = gr.Button(visible=False)

        def show_top(request: gr.Request) -> str:
            here = name if name == "inspect" else "lots"
            return _top(html, t, request, here, path)

        page.load(show_top, outputs=top, show_progress="hidden", api_visibility="private")
        yield page, answering


def _inspected(
    here: StageContext,
    t: Texts,
    user: User,
    path: str,
    lot: Lot | None,
    request: gr.Request,
    too_many: bool,
) -> Result:
    context = here.app
    one = context.uploads.owned(path, user.name)
    if one is None:
        rule = "foreign" if context.uploads.is_known(path) else "gone"
        if rule == "foreign" and request.request:
            write_down(context.accounts, request.request, "another user's upload refused")
        return refused(context, t, "", rule)
    if too_many:
        one.fault = TOO_MANY
    return inspect_upload(here, t, user, one, lot)


def _shown(
    here: StageContext, html: Html, t: Texts, user: User, results: list[Result], lot: Lot | None
) -> tuple[str, list[dict[str, Any]]]:
    """Return the results as HTML, and as the HTTP interface gives them."""
    view: LotView | None = None
    if lot:
        try:
            view = here.lots.view(lot.day, lot.name)
        except PlatelakeError:
            view = LotView(lot.day, lot.name)
    known = {"results": [(one, False) for one in results], "lot": view}
    text = html.text(here, "inspected", t, user, "/inspect", known)
    root = here.settings.root_path
    return text, [as_json(one, root).model_dump(mode="json") for one in results]


def _sensor(html: Html, t: Texts) -> gr.Blocks:
    """Return the page that checks sensor files, and its function for Gradio's client."""
    context = html.context
    with _page(html, t, "sensor", "/sensor", "/sensor") as (page, answering):
        files, results = _raw(gr.File(visible=False)), gr.HTML(visible=False)

        def checked(files: list[str], request: gr.Request) -> str:
            user, here = _user(request), _named(html, request)
            one = context.uploads.owned(files[0], user.name) if files else None
            known = read_sensor(here, t, one)
            return html.text(here, "checked_file", t, user, "/sensor", known)

        answering.click(checked, files, results, api_name="lots", concurrency_limit=2)
    return page
