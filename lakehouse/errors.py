"""The errors a person sees. Each says what is wrong, where, and what to do."""


class PlatelakeError(Exception):
    """Something a person must put right; jobs print its message and exit with `exit_code`."""

    exit_code = 1


class UsageError(PlatelakeError):
    """A command, setting or stage file that cannot be meant as written."""

    exit_code = 2


class QualityGateError(PlatelakeError):
    """Counts that do not add up: the run stops rather than believe itself."""

    exit_code = 3


DISK_FULL = ("No space left on device", "Disk quota exceeded")
"""How the system, and all that runs on it, says that a disk is full."""
