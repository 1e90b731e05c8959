"""Files that have stopped growing: the same size and time at two looks.

Two looks are compared, not clocks, since the plant's clock is not this machine's. Only for a
local folder does a file that was modified long enough ago need no second look.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import structlog

from lakehouse.landing.zone import LandedFile, list_landing
from lakehouse.stage import Stage


class Look(Protocol):
    """An earlier look at a file: its size and time then, and when it was."""

    @property
    def size(self) -> int: ...  # noqa: D102

    @property
    def modified_at(self) -> datetime: ...  # noqa: D102

    @property
    def seen_at(self) -> datetime: ...  # noqa: D102


def growing(
    landing: str, stage: Stage, unsure: Sequence[LandedFile], seconds: float
) -> frozenset[str]:
    """Of these files of one kind, those that have changed `seconds` later, or are gone."""
    if not unsure:
        return frozenset()
    time.sleep(seconds)
    later = {file.file: file for file in list_landing(landing, stage, unsure[0].kind)}
    found = {file.file for file in unsure if not _same(file, later.get(file.file))}
    for name in sorted(found):
        structlog.get_logger().info("still growing", file=name, kind=unsure[0].kind)
    return frozenset(found)


def stands_still(landing: str, file: LandedFile, known: Look | None, seconds: float) -> bool:
    """Whether a look at the file long enough ago is known: the ledger's, or by its own time."""
    if seconds == 0:
        return True
    now = datetime.now(UTC)
    if known and file.timed and (known.size, known.modified_at) == (file.size, file.modified_at):
        return (now - known.seen_at).total_seconds() >= seconds
    # A URL may lead to a machine with another clock.
    return "://" not in landing and (now - file.modified_at).total_seconds() >= seconds


def _same(first: LandedFile, second: LandedFile | None) -> bool:
    """Same size and time; the time counts where the file system tells it."""
    if second is None or first.size != second.size:
        return False
    return not first.timed or first.modified_at == second.modified_at
