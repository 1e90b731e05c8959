"""What keeps data from training a model, for callers that must tell these cases apart."""

from __future__ import annotations

from lakehouse.errors import PlatelakeError, UsageError


class LeakError(PlatelakeError):
    """A group or item is on both sides of a split, so the figures of a training mean nothing.

    `overlap` counts them.
    """

    def __init__(self, message: str, overlap: int = 1) -> None:
        super().__init__(message)
        self.overlap = overlap


class TooFewError(UsageError):
    """The lake has too few good or bad items to train and test a model. `table` lacks them."""

    def __init__(self, table: str, message: str) -> None:
        super().__init__(message)
        self.table = table
