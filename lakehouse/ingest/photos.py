"""Bring photos from the landing zone into `photos`, `pictures` and `picture_names`, exactly once.

`photos` and `pictures` hold content by its hash; their rows are added once and never changed.
`picture_names` is a function of the ledger and `photos`: the names of all files, except those of
pictures with conflicting labels. So the order of delivery does not change it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from lakehouse.delta import engine
from lakehouse.delta.lake import Lake
from lakehouse.delta.rows import Rows
from lakehouse.files.layout import FileReport
from lakehouse.files.photos import PhotoError, read_photo
from lakehouse.files.read import Landed, Read, hash_files, read_files
from lakehouse.ingest import events, ledger
from lakehouse.ingest.clear import (
    clear_landing,
    cleared,
    hold_back_reused_names,
    put_back_left,
)
from lakehouse.ingest.context import IngestContext, entry
from lakehouse.ingest.ledger import LOADED, QUARANTINED, WITHDRAWN, Counts, Delivery, FileState
from lakehouse.landing.files import LandedFile, LandedFiles
from lakehouse.landing.leaving import is_archive
from lakehouse.landing.zone import open_url
from lakehouse.settings import Settings
from lakehouse.stage import Stage
from lakehouse.stage_sections import UNLABELLED
from lakehouse.tables.photos import PHOTOS
from lakehouse.tables.picture_names import PICTURE_NAMES
from lakehouse.tables.pictures import PICTURES
from lakehouse.tables.quarantine import QUARANTINE

Content = dict[str, tuple[str, datetime | None]]
"""Hash of a photo's bytes to its picture and the time when it was taken."""

KIND = "photos"
CONFLICT = "label_conflict"
PART_BYTES = 128 << 20
"""Bytes of photos and tensors in one commit; meanwhile, as many again are decoded."""
AT_ONCE = 50_000
"""Photos that are named and recorded together, because each time all names are searched."""
DECODED = pa.schema(
    [
        *((name, pa.string()) for name in ("file", "rule", "reason")),
        *((name, pa.string()) for name in ("sha256", "pixel_sha256", "phash", "format", "mode")),
        *((name, pa.int32()) for name in ("width", "height", "tensor_width", "tensor_height")),
        ("taken_at", pa.timestamp("us", "UTC")),
        ("note", pa.string()),
        ("size", pa.int64()),
        ("bytes", pa.binary()),
        ("tensor", pa.binary()),
    ]
)


def ingest_photos(context: IngestContext) -> Counts:
    """Ingest photos that are new, changed or asked for again."""
    if context.stage.photos is None:
        return Counts()
    put_back_left(context)
    there = context.list_files(KIND)
    landed, known, reports, *_ = context.inspect(
        KIND, there, lambda files: hash_files(context.lake, context.landing, files)
    )
    hold_back_reused_names(context, KIND, known, reports)
    plan = ledger.plan(landed, known, reports, context.again)
    gone = _withdrawn(context, known, there)
    done = 0
    portions = engine.in_slices(plan.deliveries, [1] * len(plan.deliveries), AT_ONCE)
    for some in portions or ([[]] if gone else []):
        _store_content(context, some)
        settled = _settle(context, some, gone)
        events.record(context.lake, [*some, *settled], context.run_id)
        gone = []
        done += len(some)
        structlog.get_logger().info("photos stored", done=done, of=len(plan.deliveries))
    counts = ledger.count(plan)
    if counts.reconciled:
        clear_landing(context, KIND, PHOTOS, landed)
    return counts


def _withdrawn(
    context: IngestContext, known: dict[str, FileState], landed: LandedFiles
) -> list[Delivery]:
    """Return the files asked for again that the plant has removed from the landing zone.

    An archive cannot show this, because it never had the files that are still in their place.
    """
    there = {file.file for file in landed.named(context.again)}
    missing = [file for file in context.again if file in known and file not in there]
    gone = [known[file] for file in missing if not context.looks.is_hidden(file)]
    ours = cleared(context.lake, KIND, [state.file for state in gone])
    archive = is_archive(context.landing)

    def is_withdrawn(state: FileState) -> bool:
        by_us = archive or (state.file, state.kept or state.sha256) in ours
        return state.file in context.withdraw or not by_us

    return [_event(state, WITHDRAWN) for state in gone if is_withdrawn(state)]


def _event(state: FileState, status: str) -> Delivery:
    """Return an event that changes the status of a known file, but not its content."""
    landed = LandedFile(KIND, state.file, "", state.size, state.modified_at, state.label)
    return Delivery(
        landed, FileReport(state.sha256), state.event + 1, status, replaces=state.sha256
    )


def _store_content(context: IngestContext, deliveries: Sequence[Delivery]) -> None:
    """Decode new photos once; quarantine a file that cannot be decoded.

    The next part is decoded while one is stored. Photos that a killed run stored but did not
    record are not decoded again, unless they are asked for.
    """
    loading = [d for d in deliveries if d.status == LOADED]
    stored = _stored(
        context.lake, {d.report.sha256 for d in loading if d.landed.file not in context.again}
    )
    new = {d.landed.file: d for d in loading if d.report.sha256 not in stored}
    read = _decoder(context, new)

    def decode(part: Sequence[LandedFile]) -> Rows:
        return read_files(context.lake, part, read, DECODED)

    for decoded in engine.ahead(_parts(context, [d.landed for d in new.values()]), decode):
        _store(context.lake, new, decoded)


def _stored(lake: Lake, hashes: Collection[str]) -> set[str]:
    """Return those of the photos that the lake has with their picture."""
    photos = _photos(lake, "sha256", hashes)
    pictures = pc.field("pixel_sha256").isin(photos["pixel_sha256"].unique())
    there = lake.load(PICTURES, where=pictures, columns=PICTURES.key)
    complete = photos.filter(pc.is_in(photos["pixel_sha256"], there["pixel_sha256"]))
    return set(complete["sha256"].to_pylist())


def _parts(context: IngestContext, files: Sequence[LandedFile]) -> Iterator[list[LandedFile]]:
    """Yield the files of each commit, no more than the settings allow."""
    assert context.stage.photos is not None
    tensor = context.stage.photos.width * context.stage.photos.height * 3
    count = context.settings.photos_per_commit
    for at in range(0, len(files), count):
        some = files[at : at + count]
        sizes = [file.size + tensor for file in some]
        yield from engine.in_commits(context.lake, some, sizes, PART_BYTES)


def _store(lake: Lake, new: dict[str, Delivery], decoded: Rows) -> None:
    decoded = engine.keep(decoded, on_disk=True)
    try:
        sound, bad = engine.split(decoded, "rule")
        for row in engine.collected(bad.select(["file", "rule", "reason"])).to_pylist():
            new[row["file"]].report.fault(row["rule"], row["reason"])
            new[row["file"]].status = QUARANTINED
        for row in engine.collected(sound.select(["file", "note"])).to_pylist():
            if row["note"]:
                new[row["file"]].report.note = row["note"]
                structlog.get_logger().warning("unusual file", kind=KIND, **row)
        for table in (PICTURES, PHOTOS):
            lake.insert(table, sound.select(table.names))
    finally:
        engine.release(decoded)


def _decoder(context: IngestContext, new: dict[str, Delivery]) -> Read:
    landing, stage, settings = context.landing, context.stage, context.settings
    expected = {file: delivery.report.sha256 for file, delivery in new.items()}

    def read(landed: Iterable[Landed]) -> Iterator[pa.RecordBatch]:
        for file, url, size in landed:
            row = _decoded(landing, url, size, expected[file], stage, settings)
            yield pa.RecordBatch.from_pylist([{"file": file, **row}], DECODED)

    return read


def _decoded(
    landing: str, url: str, size: int, expected: str, stage: Stage, settings: Settings
) -> dict[str, Any]:
    """Return one row of the decoded photos; for a bad photo only rule and reason."""
    if size > settings.max_photo_bytes:
        reason = f"{size} bytes; at most {settings.max_photo_bytes} are read"
        return {"rule": "too_large", "reason": reason}
    try:
        with open_url(landing, url) as stream:
            content = stream.read(settings.max_photo_bytes + 1)
        photo = read_photo(content, stage, settings)
    except OSError as error:
        return {"rule": "unreadable", "reason": f"cannot be read: {error.strerror}"}
    except PhotoError as error:
        return {"rule": error.rule, "reason": str(error)}
    if photo.sha256 != expected:
        return {"rule": "changed", "reason": "the file changed while it was read"}
    height, width, _ = photo.tensor.shape
    tensor = {
        "tensor": photo.tensor.tobytes(),
        "tensor_width": width,
        "tensor_height": height,
    }
    return {**vars(photo), "size": len(content), "bytes": content, **tensor}


def _settle(
    context: IngestContext,
    deliveries: Sequence[Delivery],
    gone: Sequence[Delivery],
) -> list[Delivery]:
    """Name the pictures of these files again and quarantine those with conflicting labels.

    Returns the events of other files that this changes.
    """
    acted_on = [*deliveries, *gone]
    hashes = {d.report.sha256 for d in acted_on} | {d.replaces for d in acted_on if d.replaces}
    content = _same_pictures(context.lake, hashes)
    files = [delivery.landed.file for delivery in acted_on]
    known = events.related_states(context.lake, KIND, files, content)
    after = map(_as_named, _after(known, acted_on).values())
    named = [s for s in after if s.sha256 in content and s.status != WITHDRAWN]
    torn = _contradictions(named, content)
    held_back = {state.file for state in named if content[state.sha256][0] in torn}
    for delivery in deliveries:
        if delivery.landed.file in held_back:
            delivery.status = QUARANTINED
    own = {d.landed.file for d in acted_on}
    others = [state for state in named if state.file not in own]
    settled = [_event(s, QUARANTINED) for s in others if s.file in held_back - _held(others)]
    settled += [_event(s, LOADED) for s in others if s.file in _held(others) - held_back]
    conflicts = _conflicts([s for s in named if s.file in held_back], content)
    _write_quarantine(context, [*acted_on, *settled], conflicts)
    _write_names(context, [s for s in named if s.file not in held_back], content)
    return [*gone, *settled]


def _after(known: dict[str, FileState], deliveries: Sequence[Delivery]) -> dict[str, FileState]:
    """Return the states after these deliveries are recorded."""
    new = {d.landed.file: d.as_known().since(known.get(d.landed.file)) for d in deliveries}
    return known | new


def _as_named(state: FileState) -> FileState:
    """Let a file that cannot be read now keep the name of the picture that it brought."""
    return replace(state, sha256=state.kept, status=LOADED) if state.kept else state


def _held(states: Iterable[FileState]) -> set[str]:
    return {state.file for state in states if state.status == QUARANTINED}


def _same_pictures(lake: Lake, hashes: Collection[str]) -> Content:
    """Return all photos that show the picture of one of these: sha256 -> (picture, taken_at)."""
    of_these = _photos(lake, "sha256", hashes)
    same = _photos(lake, "pixel_sha256", of_these["pixel_sha256"].unique())
    return {row["sha256"]: (row["pixel_sha256"], row["taken_at"]) for row in same.to_pylist()}


def _photos(lake: Lake, column: str, values: Iterable[str]) -> pa.Table:
    """Load the photos that have one of these values in the column."""
    are_these = pc.field(column).isin(pa.array(values, pa.string()))
    return lake.load(PHOTOS, where=are_these, columns=("sha256", "pixel_sha256", "taken_at"))


def _contradictions(named: Iterable[FileState], content: Content) -> set[str]:
    """Return the pictures that have more than one label."""
    labels: dict[str, set[str | None]] = {}
    for state in named:
        labels.setdefault(content[state.sha256][0], set()).add(state.label)
    return {picture for picture, found in labels.items() if len(found - {UNLABELLED}) > 1}


def _conflicts(held_back: Sequence[FileState], content: Content) -> list[tuple[Any, ...]]:
    """Return quarantine entries for all files whose picture has conflicting labels."""
    files: dict[str, list[str]] = {}
    for state in sorted(held_back, key=lambda state: state.file):
        files.setdefault(content[state.sha256][0], []).append(f"{state.label}: {state.file}")
    rows: list[tuple[Any, ...]] = []
    for state in held_back:
        picture = content[state.sha256][0]
        shown = files[picture][:4] + ["…"] * (len(files[picture]) > 4)
        raw = {"file": state.file, "label": state.label, "pixel_sha256": picture}
        reason = f"one picture under several labels: {', '.join(shown)}"
        text = json.dumps(raw, ensure_ascii=False)
        rows.append((state.file, state.sha256, 0, CONFLICT, reason, text))
    return rows


def _write_quarantine(
    context: IngestContext, events: Sequence[Delivery], conflicts: Sequence[tuple[Any, ...]]
) -> None:
    faults = [
        (event.landed.file, event.report.sha256, 0, event.report.rule, event.report.reason, None)
        for event in events
        if event.report.rule
    ]
    files = {event.landed.file for event in events} | {row[0] for row in conflicts}
    # One entry per file: a decoding fault goes before a label conflict.
    entries = {row[0]: entry(context.run_id, KIND, *row) for row in (*conflicts, *faults)}
    scope = {"kind": [KIND], "file": files}
    context.lake.upsert_rows(QUARANTINE, list(entries.values()), scope)


def _write_names(context: IngestContext, named: Iterable[FileState], content: Content) -> None:
    """Write one row per picture, label and name; of several files, the first by name."""
    zone = context.stage.zone
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for state in sorted(named, key=lambda state: state.file):
        picture, taken_at = content[state.sha256]
        captured_at = (taken_at or state.modified_at).astimezone(UTC)
        key = (picture, str(state.label), state.file.rpartition("/")[2])
        about = (captured_at, "exif" if taken_at else "file time")
        day = captured_at.astimezone(zone).date()
        rows.setdefault(key, PICTURE_NAMES.row(*key, state.file, state.sha256, *about, day))
    scope = {"pixel_sha256": {picture for picture, _ in content.values()}}
    context.lake.upsert_rows(PICTURE_NAMES, list(rows.values()), scope)
