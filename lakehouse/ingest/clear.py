"""Clear the landing zone after an ingest: archive or remove clearable files, if so set.

A file is clearable if the lake holds all of it: the ledger, the tables when read back, and the
file's bytes when read once more must all agree. Quarantined files stay, and so do files that were
never ingested.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from lakehouse.delta.lake import Lake
from lakehouse.errors import PlatelakeError
from lakehouse.files.layout import FileReport
from lakehouse.ingest.context import IngestContext
from lakehouse.ingest.events import in_files, last_events, related_states
from lakehouse.ingest.ledger import DUPLICATE, LOADED, FileState
from lakehouse.landing.files import LandedFile, LandedFiles
from lakehouse.landing.leaving import Leaving, is_archive
from lakehouse.table import Table
from lakehouse.tables.cleared_files import CLEARED_FILES
from lakehouse.tables.photos import PHOTOS
from lakehouse.tables.quarantine import QUARANTINE


def put_back_left(context: IngestContext) -> None:
    """Finish the clearing of a run that was killed: its files are back in their place, or gone."""
    if Leaving(context.landing, context.stage.name, context.run_id).put_back_left():
        context.looks.forget()


def hold_back_reused_names(
    context: IngestContext, kind: str, known: dict[str, FileState], reports: dict[str, FileReport]
) -> None:
    """Quarantine each file that has the name of an ingested file which we cleared.

    It may be a correction, or the next file of a machine that counts from one again: only a person
    knows. The rows of the earlier file stay.
    """
    if context.settings.after_ingest == "keep" or not reports:
        return
    gone = {file for file, _ in cleared(context.lake, kind, reports)}
    for file, new in reports.items():
        state = known.get(file) if file in gone else None
        if state and new.sha256 and new.sha256 != (state.kept or state.sha256):
            reports[file] = FileReport(rule="name_reused", reason=REUSED)


REUSED = (
    "another file of this name was taken in before, and has been archived or removed; under "
    "another name it is a new file; a run with after_ingest = keep has it replace what that one "
    "brought"
)


def clear_landing(context: IngestContext, kind: str, table: Table, landed: LandedFiles) -> None:
    """Archive or remove, as the settings say, the landed files that are clearable."""
    if context.settings.after_ingest == "keep" or is_archive(context.landing):
        return
    asked = list(landed.named(context.again) if context.only_again else landed)
    known = related_states(context.lake, kind, [file.file for file in asked], ())
    ready = _recorded(context.lake, kind, asked, known)
    if not ready:
        return
    if kind == "photos":
        held = _photos_read_back(context.lake, {known[file.file].sha256 for file in ready})
        ready = [file for file in ready if known[file.file].sha256 in held]
    else:
        complete = _files_read_back(context.lake, kind, table, [file.file for file in ready])
        ready = [file for file in ready if file.file in complete]
    hashes = {file.file: known[file.file].sha256 for file in ready}
    _note(context, ready, hashes)
    if context.lake.local:
        os.sync()  # The data read back may be in memory only, and a power cut would lose them.
    way_out = Leaving(context.landing, context.stage.name, context.run_id)
    try:
        way_out.take(ready, hashes, archive=context.settings.after_ingest == "archive")
    except PlatelakeError as error:  # All is in the lake; the next run clears the rest.
        structlog.get_logger().warning("the landing zone is not cleared", why=str(error))


def cleared(lake: Lake, kind: str, files: Iterable[str]) -> set[tuple[str, str]]:
    """Return file and content hash of those of these files that `clear_landing` has cleared."""
    own = (pc.field("kind") == kind) & in_files(files)
    rows = lake.load(CLEARED_FILES, where=own, columns=("file", "sha256"))
    return set(zip(rows["file"].to_pylist(), rows["sha256"].to_pylist(), strict=True))


def _recorded(
    lake: Lake, kind: str, landed: Sequence[LandedFile], known: dict[str, FileState]
) -> list[LandedFile]:
    """Return the files that are as the ledger knows them and have nothing in quarantine.

    A text file with a copy stays, and so does the copy: when one is delivered with other content,
    the other takes over or is checked again.
    """
    own = (pc.field("kind") == kind) & in_files([file.file for file in landed])
    held_back = set(lake.counts(QUARANTINE, "file", own))
    copies = Counter(one for state in known.values() for one in state.contents)
    settled = (LOADED, DUPLICATE) if kind == "photos" else (LOADED,)

    def is_recorded(file: LandedFile) -> bool:
        state = known.get(file.file)
        return state is not None and (
            state.status in settled
            and state.size == file.size  # A second delivery may have another time.
            and state.label == file.label
            and (kind == "photos" or copies[state.sha256] == 1)
        )

    return [file for file in landed if file.file not in held_back and is_recorded(file)]


def _photos_read_back(lake: Lake, hashes: Iterable[str]) -> set[str]:
    """Return the hashes whose bytes in the lake give that hash."""
    wanted = pc.field("sha256").isin(pa.array(list(hashes), pa.string()))
    return {
        row["sha256"]
        for batch in lake.batches(PHOTOS, ("sha256", "bytes"), wanted)
        for row in batch.to_pylist()
        if hashlib.sha256(row["bytes"]).hexdigest() == row["sha256"]
    }


def _files_read_back(lake: Lake, kind: str, table: Table, files: Sequence[str]) -> set[str]:
    """Return the files that have as many rows in the table as the ledger says."""
    last = last_events(lake, kind, files, ("file", "event", "rows_stored"))
    counts = lake.counts(table, "file", in_files(files))
    return {
        row["file"] for row in last.to_pylist() if counts[row["file"]] == row["rows_stored"] > 0
    }


def _note(context: IngestContext, files: Sequence[LandedFile], hashes: dict[str, str]) -> None:
    """Record the files before any is moved; a missing file without a record counts as withdrawn."""
    outcome = "archived" if context.settings.after_ingest == "archive" else "removed"
    now = datetime.now(UTC)
    rows = [
        CLEARED_FILES.row(
            f.kind, f.file, hashes[f.file], f.size, f.modified_at, outcome, context.run_id, now
        )
        for f in files
    ]
    context.lake.insert_rows(CLEARED_FILES, rows)
