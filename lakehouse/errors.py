"""The errors that a person sees. Each says what is wrong, where, and what to do."""


class PlatelakeError(Exception):
    """A person must correct something; jobs print the message and exit with `exit_code`."""

    exit_code = 1


class UsageError(PlatelakeError):
    """Invalid command, option, setting or stage file."""

    exit_code = 2


class QualityGateError(PlatelakeError):
    """Counts do not reconcile: the run stops, because its result may be wrong."""

    exit_code = 3


DISK_FULL = ("No space left on device", "Disk quota exceeded")
"""Texts that mean a full disk, in the messages of the system and its programs."""
