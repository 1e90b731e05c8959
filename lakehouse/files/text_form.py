"""What a stage says about the form of its text files, and the error of a file that has another."""

from __future__ import annotations

from typing import NamedTuple

from lakehouse.errors import PlatelakeError


class FormatError(PlatelakeError):
    """A file cannot be turned into text; `rule` is the quarantine's, `sha256` the file's."""

    def __init__(self, rule: str, reason: str, sha256: str = "") -> None:
        super().__init__(reason)
        self.rule, self.sha256 = rule, sha256


class SheetsError(FormatError):
    """Several `sheets` of an Excel file have cells, and the stage does not say which is meant."""

    def __init__(self, sheets: list[str]) -> None:
        super().__init__(
            "sheet", f"the sheets {', '.join(sheets)} have cells; say which by `sheet`"
        )
        self.sheets = sheets


class Form(NamedTuple):
    """What a stage says about the form of its text files."""

    delimiter: str
    encodings: tuple[str, ...]
    sheet: str | None
    max_bytes: int
    decimal: str = "."
    below: str | None = None
    """Regular expression of the line above the table; None: the file has one table."""
