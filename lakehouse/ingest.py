"""What an ingest needs to know, whatever the kind of file."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse import ledger
from lakehouse.io import Lake, Rows
from lakehouse.ledger import Known
from lakehouse.settings import Settings
from lakehouse.sources.landing import LandedFile, list_landing
from lakehouse.sources.readings import file_date
from lakehouse.sources.settling import growing, stands_still
from lakehouse.stage import Stage
from lakehouse.tables.quarantine import QUARANTINE


@dataclass(frozen=True)
class Ingest:
    """From where to where one run ingests.

    Files named in `again` are read although they are known. With `first_day` or `last_day`
    other files count only if they are of these days; with `only_again` no other file is read,
    save those whose rows depend on these. Photos to `withdraw` are gone for good, although it was
    this lake that took them out of the landing zone.
    """

    lake: Lake
    stage: Stage
    settings: Settings
    landing: str
    run_id: str
    again: frozenset[str] = frozenset()
    first_day: date | None = None
    last_day: date | None = None
    only_again: bool = False
    withdraw: frozenset[str] = frozenset()

    def landed(self, kind: str, known: Collection[str]) -> list[LandedFile]:
        """The files of that kind which this run may look at."""
        files = list_landing(self.landing, self.stage, kind)
        if self.only_again:
            files = [file for file in files if file.file in self.again or file.file in known]
        return [file for file in files if file.file in self.again or self._in_days(file)]

    def candidates(self, landed: Sequence[LandedFile], known: dict[str, Known]) -> list[LandedFile]:
        """Of the landed files, those to read."""
        if self.only_again:
            return [file for file in landed if file.file in self.again]
        return ledger.candidates(landed, known, self.again)

    def settled(self, landed: Sequence[LandedFile], known: dict[str, Known]) -> list[LandedFile]:
        """The landed files without those to read that still grow, which the next run looks at."""
        seconds = self.settings.settle_seconds
        unsure = [
            file
            for file in self.candidates(landed, known)
            if not stands_still(self.landing, file, known.get(file.file), seconds)
        ]
        left = growing(self.landing, self.stage, unsure, seconds)
        return [file for file in landed if file.file not in left]

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
) -> dict[str, Any]:
    """A row of `quarantine`; line 0 is the whole file."""
    named = hashlib.sha256(f"{kind}\n{file}\n{sha256}\n{line}".encode()).hexdigest()[:16]
    about = (kind, file, sha256, line, rule, reason, raw)
    return QUARANTINE.row(named, *about, run_id, datetime.now(UTC))


def in_files(files: Sequence[str]) -> pc.Expression:
    """The Arrow condition for the rows of these files."""
    return pc.field("file").isin(pa.array(files, pa.string()))
