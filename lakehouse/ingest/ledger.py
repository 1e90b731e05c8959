"""The ledger of files: which are known, which are new, and what happens to each delivery.

This module decides; `lakehouse.ingest.events` reads and writes the table.

The state of a file is its last event. Content is identified by its hash: the first file that
brings it is its holder, others with the same content are duplicates. When the holder is delivered
again with other content, one of its duplicates takes over, so that no content is lost.
`lakehouse.ingest.stale_copies` decides which rows of it then count.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.files.layout import FileReport
from lakehouse.landing.files import LandedFile, LandedFiles, array_of

LOADED, DUPLICATE, QUARANTINED, WITHDRAWN = (
    "loaded",
    "duplicate",
    "quarantined",
    "withdrawn",
)

SAME_TICK = timedelta(seconds=2)
"""A file modified this shortly before it was seen may have changed again at the same time stamp."""


@dataclass(frozen=True, slots=True)
class FileState:
    """The state of a file in the ledger, from its last event.

    Three fields come from the events before. `earlier` are the other valid contents that it had.
    `kept` is the content whose rows stay in the table while the file cannot be read.
    `corrected_at` is the time when its content replaced the earlier ones. It is not a correction
    if a file takes over the same content from another, or gives it to another.
    """

    file: str
    event: int
    sha256: str
    size: int
    modified_at: datetime
    status: str
    label: str | None
    seen_at: datetime
    earlier: frozenset[str] = frozenset()
    kept: str = ""
    corrected_at: datetime | None = None

    @property
    def brought(self) -> str:
        """The content whose rows the table has from this file; empty if it has none."""
        if self.kept and self.status != WITHDRAWN:
            return self.kept
        return self.sha256 if self.status == LOADED else ""

    @property
    def contents(self) -> frozenset[str]:
        """Every valid content that it has or had, also as a duplicate."""
        own = self.sha256 if self.status in (LOADED, DUPLICATE) else ""
        return (self.earlier | {own, self.kept}) - {""}

    def since(self, before: FileState | None) -> FileState:
        """Add to this state what stays of the state before it."""
        if before is None:
            return self
        if not self.sha256:
            kept = before.brought
            when = before.modified_at if kept else self.modified_at  # The kept content's own time.
            return replace(self, earlier=before.contents - {kept}, kept=kept, modified_at=when)
        same = self.sha256 == before.sha256 and DUPLICATE in (self.status, before.status)
        earlier = before.contents - {self.sha256}
        corrected_at = before.corrected_at if same else self.seen_at
        return replace(self, earlier=earlier, corrected_at=corrected_at)


@dataclass
class Delivery:
    """A file that this run acts on, and what happens to it."""

    landed: LandedFile
    report: FileReport
    event: int
    status: str
    duplicate_of: str | None = None
    replaces: str | None = None
    rows_read: int = 0
    rows_stored: int = 0
    rows_quarantined: int = 0

    def as_known(self) -> FileState:
        """Return the file's state after this delivery is recorded."""
        return FileState(
            file=self.landed.file,
            event=self.event,
            sha256=self.report.sha256,
            size=self.landed.size,
            modified_at=self.landed.modified_at,
            status=self.status,
            label=self.landed.label,
            seen_at=datetime.now(UTC),
        )


@dataclass
class Counts:
    """Counts of a run's files and rows; counts of several jobs can be added."""

    seen: int = 0
    loaded: int = 0
    duplicate: int = 0
    quarantined: int = 0
    known: int = 0
    rows_read: int = 0
    rows_stored: int = 0
    rows_quarantined: int = 0
    large_shares: tuple[Any, ...] = ()
    """Files and days of which much was quarantined; see `lakehouse.ingest.shares`."""

    def __add__(self, other: Counts) -> Counts:
        """Add field by field."""
        mine, theirs = vars(self), vars(other)
        return Counts(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def rows_reconciled(self) -> bool:
        """Whether the rows reconcile."""
        return self.rows_read == self.rows_stored + self.rows_quarantined

    @property
    def reconciled(self) -> bool:
        """Whether files and rows both reconcile."""
        files = self.loaded + self.duplicate + self.quarantined
        return self.seen == files and self.rows_reconciled


@dataclass
class Plan:
    """What to do with the landed files of one kind; `known` and `landed` are counts."""

    deliveries: list[Delivery] = field(default_factory=list)
    known: int = 0
    landed: int = 0
    released: list[Delivery] = field(default_factory=list)
    """Copies that become duplicates, because their content returns under its corrected name."""


def candidates(landed: LandedFiles, last: pa.Table, again: Collection[str]) -> LandedFiles:
    """Return the files that may be new, and those asked for `again`.

    A file is known if size, modification time and label show that its content was hashed before.

    Args:
        landed: Files of one kind in the landing zone.
        last: The last event of those that the ledger has.
        again: Names of files to ingest although they are known.
    """
    before = last.take(pc.index_in(landed.names, array_of(last["file"])))
    rows = landed.rows
    known = functools.reduce(
        pc.and_,
        (
            pc.not_equal(before["status"], WITHDRAWN),
            pc.not_equal(before["sha256"], ""),  # Not read; a new right gives no new time stamp.
            pc.equal(before["size"], rows["size"]),
            pc.equal(before["modified_at"], rows["modified_at"]),
            pc.equal(pc.fill_null(before["label"], ""), pc.fill_null(rows["label"], "")),
            pc.greater(
                pc.subtract(before["seen_at"], before["modified_at"]),
                pa.scalar(SAME_TICK, pa.duration("us")),
            ),
        ),
    )
    asked = pc.is_in(landed.names, array_of(again))
    return landed.where(pc.or_(pc.invert(pc.fill_null(known, False)), asked))


Meaning = Callable[[str], object]
"""What a file's name says of its rows, as their day: equal bytes of another meaning are no copy."""


def _same(_: str) -> object:
    return None


def heirs(
    landed: LandedFiles,
    known: dict[str, FileState],
    reports: dict[str, FileReport],
    means: Meaning = _same,
) -> list[LandedFile]:
    """Return unchanged duplicates of content whose holder is delivered with other content.

    Also those whose content has no holder any more, because a run that did not look at them changed
    it, or because the holder is withdrawn.
    """
    held = {(state.sha256, means(state.file)) for state in _held(known, reports)}
    held -= {
        (known[file].sha256, means(file))
        for file, new in reports.items()
        if file in known and known[file].status != DUPLICATE and not _keeps(known[file], new)
    }
    return [
        file
        for file in landed.named(known.keys() - reports.keys())
        if (known[file.file].sha256, means(file.file)) not in held
    ]


def _held(known: dict[str, FileState], reports: dict[str, FileReport]) -> list[FileState]:
    """Return the files that hold their content and are not delivered with other content.

    A file that cannot be read holds the content that it brought before.
    """
    holding = []
    for file, state in known.items():
        if state.kept and state.status != WITHDRAWN:
            state = replace(state, sha256=state.kept, status=LOADED)
        keeps = file not in reports or _keeps(state, reports[file])
        if state.status not in (DUPLICATE, WITHDRAWN) and keeps:
            holding.append(state)
    return holding


def _keeps(state: FileState, new: FileReport) -> bool:
    """Return whether the file still holds its content, or cannot be read and has rows."""
    return new.sha256 == state.sha256 or (not new.sha256 and state.brought != "")


def plan(
    landed: LandedFiles,
    known: dict[str, FileState],
    reports: dict[str, FileReport],
    again: Collection[str] = (),
    means: Meaning = _same,
) -> Plan:
    """Decide what to do with the landed files.

    A candidate with unchanged content is known, unless it is asked for `again`. A file that was
    inspected and found valid takes over from a quarantined one with the same content: its content
    was not bad, but its name, or the rule. If a corrected file gets its earlier text back, it holds
    that text again, unless a file that cannot be read now still holds it.

    Args:
        landed: Stable files of one kind in the landing zone.
        known: The ledger's state of these files and of all files that share content with them.
        reports: What was found in the candidates and heirs, by `file`.
        again: Files to ingest although they are known.
        means: What the name of a file says of its rows.

    Returns:
        A delivery for each file to act on, and how many files are known.

    Example:
        >>> file = LandedFile("photos", "a.png", "/a.png", 9, datetime.now(UTC))
        >>> landed = LandedFiles.of("photos", [file])
        >>> first = plan(landed, {}, {"a.png": FileReport("1f")})
        >>> [(one.landed.file, one.status, one.event) for one in first.deliveries]
        [('a.png', 'loaded', 1)]
        >>> state = first.deliveries[0].as_known()
        >>> plan(landed, {"a.png": state}, {"a.png": FileReport("1f")}).known
        1
    """
    holders = _Holders(known, reports, means)
    deliveries = []
    for file in landed.named(reports):
        new, state = reports[file.file], known.get(file.file)
        holder = holders.take(file.file, new)
        if file.file not in again and _is_settled(state, new, file, holder):
            continue
        duplicate = holder != file.file
        status = DUPLICATE if duplicate else QUARANTINED if new.rule else LOADED
        deliveries.append(
            Delivery(
                landed=file,
                report=new,
                event=state.event + 1 if state else 1,
                status=status,
                duplicate_of=holder if duplicate else None,
                replaces=state.sha256 if state else None,
            )
        )
    settled = len(landed) - len(deliveries)
    return Plan(deliveries, settled, len(landed), holders.released(landed.kind))


class _Holders:
    """Which file holds which content, by the ledger and what a run found in files."""

    def __init__(
        self, known: dict[str, FileState], reports: dict[str, FileReport], means: Meaning
    ) -> None:
        self._reports, self._means = reports, means
        self._held = sorted(_held(known, reports), key=lambda state: state.status == LOADED)
        unread = {
            state.sha256
            for state in self._held
            if state.file in reports and not reports[state.file].sha256
        }
        self._returned = {
            (new.sha256, means(file)): file
            for file, new in reports.items()
            if new.header and not new.rule and new.sha256 not in unread
            if file in known and new.sha256 in known[file].earlier
        }
        self._files = {(state.sha256, means(state.file)): state.file for state in self._held}
        self._files |= self._returned
        loaded = [state for state in self._held if state.status == LOADED]
        self._sound = {(state.sha256, means(state.file)) for state in loaded} | {*self._returned}

    def take(self, file: str, new: FileReport) -> str:
        """Return the file that holds the content: the file itself where no sound one does."""
        if not new.sha256:
            return file
        content = (new.sha256, self._means(file))
        if new.header and not new.rule and content not in self._sound:
            self._files[content] = file
            self._sound.add(content)
        return self._files.setdefault(content, file)

    def released(self, kind: str) -> list[Delivery]:
        """Return the events of holders whose content returned under its corrected name."""
        contents = {state.file: (state.sha256, self._means(state.file)) for state in self._held}
        return [
            _release(state, kind, self._returned[contents[state.file]])
            for state in self._held
            if state.status == LOADED and state.file not in self._reports
            if contents[state.file] in self._returned
        ]


def _release(state: FileState, kind: str, holder: str) -> Delivery:
    """Return the event that makes a holder a duplicate; it may be gone from the landing zone."""
    landed = LandedFile(kind, state.file, "", state.size, state.modified_at, state.label)
    report = FileReport(state.sha256)
    return Delivery(landed, report, state.event + 1, DUPLICATE, holder, state.sha256)


def _is_settled(state: FileState | None, new: FileReport, file: LandedFile, holder: str) -> bool:
    """Return whether the file's last event is still right, so that no new one is needed."""
    if state is None or state.status == WITHDRAWN:
        return False
    takes_over = state.status == DUPLICATE and holder == file.file
    gives_up = bool(new.header) and state.status == LOADED and holder != file.file
    same = (state.sha256, state.label) == (new.sha256, file.label)
    return same and not takes_over and not gives_up


def count(plan: Plan) -> Counts:
    """Count what happened to the plan's files and rows."""
    counts = Counts(seen=plan.landed - plan.known, known=plan.known)
    for delivery in plan.deliveries:
        counts += Counts(
            loaded=delivery.status == LOADED,
            duplicate=delivery.status == DUPLICATE,
            quarantined=delivery.status == QUARANTINED,
            rows_read=delivery.rows_read,
            rows_stored=delivery.rows_stored,
            rows_quarantined=delivery.rows_quarantined,
        )
    return counts
