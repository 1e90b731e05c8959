"""Stable files: those whose size and time are the same at two looks at the landing zone.

Two looks are compared, not clocks, because the plant's clock is not this machine's clock. Only in a
local folder, a file that was modified long enough ago needs no second look.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Protocol

import structlog

from lakehouse.landing.files import LandedFile, LandedFiles
from lakehouse.landing.zone import Listing, Sorted, look
from lakehouse.stage import Stage


class Earlier(Protocol):
    """An earlier look at a file: its size and time then, and when it was."""

    @property
    def size(self) -> int: ...  # noqa: D102

    @property
    def modified_at(self) -> datetime: ...  # noqa: D102

    @property
    def seen_at(self) -> datetime: ...  # noqa: D102


class Looks:
    """The looks of one run at its landing zone.

    A run lists the landing zone once, for all kinds of files. It lists it a second time, after
    `settle_seconds`, if some files may still grow.
    """

    def __init__(self, landing: str, stage: Stage, settle_seconds: float) -> None:
        self.landing, self.stage, self.settle_seconds = landing, stage, settle_seconds

    @cached_property
    def _first(self) -> Listing:
        return look(self.landing)

    @cached_property
    def _second(self) -> Listing:
        time.sleep(self.settle_seconds)
        return look(self.landing)

    @cached_property
    def _sorted(self) -> Sorted:
        return self._first.sort(self.stage)

    @cached_property
    def _sorted_later(self) -> Sorted:
        return self._second.sort(self.stage)

    def forget(self) -> None:
        """Drop both looks, because files came or went; the next question looks again."""
        for name in ("_first", "_second", "_sorted", "_sorted_later"):
            self.__dict__.pop(name, None)

    def files(self, kind: str) -> LandedFiles:
        """The files of that kind at the first look, by name."""
        return self._sorted.landed[kind]

    def unmatched(self) -> list[str]:
        """The files that no glob of the stage names, at the first look, by name."""
        return self._sorted.unmatched

    def unreadable(self) -> tuple[str, ...]:
        """The folders that this user may not list, at the first look."""
        return self._first.unreadable

    def is_hidden(self, file: str) -> bool:
        """Return whether the file may be there, in a folder that this user may not list."""
        return self._first.is_hidden(file)

    def growing(self, files: Iterable[LandedFile], known: Mapping[str, Earlier]) -> frozenset[str]:
        """Which of these files of one kind may still grow.

        Args:
            files: Files of the first look.
            known: What the ledger knows of each file, by name.

        Returns:
            Names of the files that changed or went away between two looks.
        """
        unsure = [file for file in files if not self._is_stable(file, known.get(file.file))]
        if not unsure:
            return frozenset()
        again = self._sorted_later.landed[unsure[0].kind].named(file.file for file in unsure)
        later = {file.file: file for file in again}
        found = {file.file for file in unsure if not _same(file, later.get(file.file))}
        for name in sorted(found):
            structlog.get_logger().info("still growing", file=name, kind=unsure[0].kind)
        return frozenset(found)

    def _is_stable(self, file: LandedFile, known: Earlier | None) -> bool:
        """Whether an earlier look is long enough ago: the ledger's, or the file's own time."""
        if self.settle_seconds == 0:
            return True
        now = datetime.now(UTC)
        if (
            known
            and file.timed
            and (known.size, known.modified_at) == (file.size, file.modified_at)
        ):
            return (now - known.seen_at).total_seconds() >= self.settle_seconds
        # A URL may lead to a machine with another clock.
        if "://" in self.landing:
            return False
        return (now - file.modified_at).total_seconds() >= self.settle_seconds


def _same(first: LandedFile, second: LandedFile | None) -> bool:
    """Same size and time; the time counts if the file system tells it."""
    if second is None or first.size != second.size:
        return False
    return not first.timed or first.modified_at == second.modified_at
