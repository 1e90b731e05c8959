"""The errors that a person sees. Each says what is wrong, where, and what to do."""


class PlatelakeError(Exception):
    """A person must correct something; jobs print the message and exit with `exit_code`."""

    exit_code = 1


class UsageError(PlatelakeError):
    """Invalid command, option, setting or stage file."""

    exit_code = 2


class LossError(PlatelakeError):
    """Reading files again would take rows out of the lake. `lost` counts them by file."""

    def __init__(self, table: str, lost: dict[str, int], reasons: dict[str, str]) -> None:
        self.table, self.lost = table, lost
        shown = [f"{file}: {lost[file]} ({reasons[file]})" for file in sorted(lost)[:5]]
        more = f" and {len(lost) - 5} more" * (len(lost) > 5)
        super().__init__(
            f"reading {len(lost)} files again would take {sum(lost.values())} rows out of {table}: "
            f"{'; '.join(shown)}{more}. They are as before. Correct the stage file, or give "
            "--allow-loss if that is meant"
        )


class QualityGateError(PlatelakeError):
    """Counts do not reconcile: the run stops, because its result may be wrong."""

    exit_code = 3


DISK_FULL = ("No space left on device", "Disk quota exceeded")
"""Texts that mean a full disk, in the messages of the system and its programs."""
