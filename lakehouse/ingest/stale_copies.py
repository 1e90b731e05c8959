"""Files to read again because another has new content: its copies, and those it clashed with.

Copies of corrected text: content that was superseded under one name stays superseded.

A file is a copy if it never had other content, and another file had the same content and was then
delivered with other content: the correction. The order of the two does not matter. Rows of a copy
do not count on days that the correction holds. On other days they count, because a list that the
plant renames before it starts the next one looks the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.delta.lake import Lake
from lakehouse.files.layout import FileReport
from lakehouse.files.together import CLASHES, other_file
from lakehouse.ingest.ledger import LOADED, Delivery, FileState
from lakehouse.landing.files import LandedFile, LandedFiles
from lakehouse.tables.quarantine import QUARANTINE


def copies(
    landed: LandedFiles,
    known: dict[str, FileState],
    reports: dict[str, FileReport],
    again: Collection[str] = (),
) -> list[LandedFile]:
    """Return the copies to check again, because the file that they are copies of has new content.

    It got the content in this run, or in one that did not look at the copy. If this run has read
    the copy because of its time stamp, that changes nothing as long as its content is known.
    """
    superseded: set[str] = set()
    for file, new in reports.items():
        if file in known and new.sha256 and (new.sha256 != known[file].sha256 or file in again):
            superseded |= known[file].contents - {new.sha256}
    corrected = _corrected_at(known)
    return [
        file
        for file in landed.named(known)
        if _is_loaded_copy(copy := known[file.file])
        and (file.file not in reports or reports[file.file].sha256 == copy.sha256)
        and (copy.sha256 in superseded or copy.seen_at < corrected.get(copy.sha256, copy.seen_at))
    ]


def freed(
    lake: Lake,
    kind: str,
    landed: LandedFiles,
    known: Mapping[str, FileState],
    reports: Mapping[str, FileReport],
) -> list[LandedFile]:
    """Return the files with quarantined rows that clashed with rows of a file that has new content.

    Without these, their rows may be stored now.
    """
    changed = {
        file
        for file, new in reports.items()
        if file in known and new.sha256 and known[file].brought not in ("", new.sha256)
    }
    if not changed:
        return []
    clashing = (pc.field("kind") == kind) & pc.field("rule").isin(pa.array(CLASHES))
    held = lake.load(QUARANTINE, where=clashing, columns=("file", "reason"))
    waiting = {
        row["file"] for row in held.to_pylist() if other_file(row["reason"] or "") in changed
    }
    return list(landed.named(waiting))


def _corrected_at(known: dict[str, FileState]) -> dict[str, datetime]:
    """Return, for each earlier content of a file, when it was last corrected."""
    last: dict[str, datetime] = {}
    for state in known.values():
        when = state.corrected_at
        if when:
            last |= {content: max(when, last.get(content, when)) for content in state.earlier}
    return last


def superseders(
    deliveries: Sequence[Delivery],
    known: dict[str, FileState],
    means: Callable[[str], object] = lambda _: None,
) -> dict[str, set[str]]:
    """Return, for each copy among the deliveries, the files that hold what replaced its content.

    A file that is such a copy itself does not count: if two contents replaced each other, as when
    two files swap names, neither is old.
    """
    told = {d.landed.file: d.as_known().since(known.get(d.landed.file)) for d in deliveries}
    after = known | told
    holders = {state.brought: state.file for state in after.values() if state.brought}
    instead: dict[str, set[str]] = {}
    for state in after.values():
        holder = holders.get(state.kept or state.sha256)
        for content in state.earlier if holder else ():
            instead.setdefault(content, set()).add(str(holder))
    old = {
        file: {by for by in instead[state.sha256] - {file} if means(by) == means(file)}
        for file, state in told.items()
        if _is_loaded_copy(state) and state.sha256 in instead
    }
    return {file: by - old.keys() for file, by in old.items() if by - old.keys()}


def _is_loaded_copy(state: FileState) -> bool:
    return state.status == LOADED and not state.earlier
