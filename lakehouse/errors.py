"""The errors that a person sees. Each says what is wrong, where, and what to do."""


class PlatelakeError(Exception):
    """A person must correct something; jobs print the message and exit with `exit_code`."""

    exit_code = 1


class UsageError(PlatelakeError):
    """Invalid command, option, setting or stage file."""

    exit_code = 2


class NoLakeError(PlatelakeError):
    """There is no lake in `folder`."""

    def __init__(self, folder: str) -> None:
        super().__init__(f"there is no lake {folder}; name one that a run has made by --lake")
        self.folder = folder


class LossError(PlatelakeError):
    """Reading files again would take rows or values out of the lake. `lost` counts both by file."""

    def __init__(self, table: str, lost: dict[str, int], reasons: dict[str, str]) -> None:
        self.table, self.lost = table, lost
        shown = [f"{file}: {lost[file]} ({reasons[file]})" for file in sorted(lost)[:5]]
        more = f" and {len(lost) - 5} more" * (len(lost) > 5)
        super().__init__(
            f"reading {len(lost)} files again would take {sum(lost.values())} rows and values out "
            f"of {table}: {'; '.join(shown)}{more}. They are as before. Correct the stage file, or "
            "give --allow-loss if that is meant"
        )


class SettingError(UsageError):
    """A setting is missing, or its value is of no use; `setting` is its name in a file."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(message)
        self.setting = setting


class VersionGoneError(PlatelakeError):
    """The Delta log no longer holds `version` of `table`, or one of its files is gone."""

    def __init__(self, table: str, version: int) -> None:
        super().__init__(
            f"version {version} of table {table} is no longer there: vacuum has removed it; "
            "take a later version, or restore the table's folder from a backup"
        )
        self.table, self.version = table, version


class OvertakenError(PlatelakeError):
    """Another run wrote `table` since this run read it."""

    def __init__(self, table: str) -> None:
        super().__init__(
            f"another run wrote the same table, {table}, since this one read it; the tables are "
            "as they were at their last commit. Have the scheduler run one at a time and run again"
        )
        self.table = table


class QualityGateError(PlatelakeError):
    """Counts do not reconcile: the run stops, because its result may be wrong."""

    exit_code = 3


DISK_FULL = ("No space left on device", "Disk quota exceeded")
"""Texts that mean a full disk, in the messages of the system and its programs."""


class PhotoError(Exception):
    """A photo file that cannot be trusted; `rule` names the kind of reason."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule
