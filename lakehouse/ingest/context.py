"""What an ingest needs to know, whatever the kind of file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import pyarrow.compute as pc

from lakehouse.delta.lake import Lake
from lakehouse.delta.rows import Rows
from lakehouse.files.layout import FileReport
from lakehouse.files.readings import file_date, from_name
from lakehouse.ingest import events, ledger
from lakehouse.ingest.ledger import FileState
from lakehouse.landing.files import LandedFile, LandedFiles, array_of
from lakehouse.landing.stable import Looks
from lakehouse.settings import Settings
from lakehouse.stage import Stage
from lakehouse.tables.quarantine import QUARANTINE


class Found(NamedTuple):
    """What was found in the listed files.

    `landed` are those that do not grow, `known` the ledger's states of these and of all that they
    have to do with, `reports` what was found in those that may be new. Files in `again` are read
    although they are known, of these `freed` because a file that they clashed with has changed.
    """

    landed: LandedFiles
    known: dict[str, FileState]
    reports: dict[str, FileReport]
    again: frozenset[str]
    freed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class IngestContext:
    """From where to where one run ingests.

    Files named in `again` are read although they are known. With `first_day` or `last_day`
    other files count only if they are of these days; with `only_again` no other file is read,
    save those whose rows depend on these. With `allow_loss`, files that are read again may
    have fewer rows than before. Photos to `withdraw` are gone for good, although it was
    this lake that took them out of the landing zone.
    """

    lake: Lake
    stage: Stage
    settings: Settings
    landing: str
    looks: Looks
    run_id: str
    again: frozenset[str] = frozenset()
    first_day: date | None = None
    last_day: date | None = None
    only_again: bool = False
    withdraw: frozenset[str] = frozenset()
    allow_loss: bool = False

    def list_files(self, kind: str) -> LandedFiles:
        """Return the files of that kind in the landing zone that this run is about."""
        files = self.looks.files(kind)
        if self.first_day is None and self.last_day is None:
            return files
        return files.named(file.file for file in files if self._is_wanted(file))

    def inspect(
        self,
        kind: str,
        there: LandedFiles,
        read: Callable[[Sequence[LandedFile]], dict[str, FileReport]],
    ) -> Found:
        """Find out which of the listed files may be new, and what `read` finds in these.

        Files that still grow are left to the next run.
        """
        last = events.last_events(self.lake, kind, there.names)
        if self.only_again:
            candidates = there.named(self.again)
            in_ledger = pc.is_in(there.names, array_of(last["file"]))
            there = there.where(pc.or_(in_ledger, pc.is_in(there.names, array_of(self.again))))
        else:
            candidates = ledger.candidates(there, last, self.again)
        seen = events.states(last.filter(pc.is_in(last["file"], array_of(candidates.names))))
        growing = self.looks.growing(candidates, seen)
        landed = there.without(growing)
        reports = read(list(candidates.without(growing)))
        files = {*reports, *self.again, *events.overlooked(self.lake, kind, last)}
        contents = {one.sha256 for one in reports.values()}
        known = events.related_states(self.lake, kind, files, contents)
        reports |= read(ledger.heirs(landed, known, reports, self.meaning(kind)))
        return Found(landed, known, reports, self.again)

    def meaning(self, kind: str) -> ledger.Meaning:
        """Return what tells the day and the production line in a file's name, if the stage does."""
        source = {"readings": self.stage.readings, "error_lists": self.stage.error_lists}.get(kind)

        def means(file: str) -> object:
            day = getattr(source, "date", None) if kind == "readings" else None
            line = source.line if source else None
            return from_name(day, file), from_name(line, file)

        return means

    def _is_wanted(self, file: LandedFile) -> bool:
        return file.file in self.again or self._in_days(file)

    def _in_days(self, file: LandedFile) -> bool:
        """By the date in the name of a sensor file, by the time stamp of a photo.

        A file that does not show its day, as an error list, may hold any.
        """
        day = file_date(self.stage, file.file) if file.kind == "readings" else None
        if file.kind == "photos":
            day = file.modified_at.astimezone(self.stage.zone).date()
        if day is None:
            return True
        return (self.first_day or day) <= day <= (self.last_day or day)

    def replace_quarantine(
        self, kind: str, entries: Rows, files: Sequence[str], unread: Sequence[str] = ()
    ) -> None:
        """Make `entries` the only ones of these files; no commit where there are none at all.

        Of the `unread` files only the notice that they cannot be read is replaced.
        """
        own = {"kind": [kind], "file": files}
        notices = {"kind": [kind], "file": unread, "sha256": [""]}
        self.lake.replace(QUARANTINE, entries, own, notices)


def entry(
    run_id: str,
    kind: str,
    file: str,
    sha256: str,
    line: int,
    rule: str | None,
    reason: str | None,
    raw: str | None,
    day: date | None = None,
    lot: str | None = None,
) -> dict[str, Any]:
    """A row of `quarantine`; line 0 is the whole file."""
    named = hashlib.sha256(f"{kind}\n{file}\n{sha256}\n{line}".encode()).hexdigest()[:16]
    about = (kind, file, sha256, line, rule, reason, day, lot, raw)
    return QUARANTINE.row(named, *about, run_id, datetime.now(UTC))
