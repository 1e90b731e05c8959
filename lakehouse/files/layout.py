"""What is known of the text files of one kind, and what is found about one of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from lakehouse.files.text_form import Form
from lakehouse.settings import Settings
from lakehouse.stage_sections import NamedTable, Text


@dataclass(frozen=True)
class Layout:
    """The columns and limits of one kind of file.

    `fields` are the needed columns, each with the header names it may have; a file may lack those
    in `optional`. `group` are name patterns (* for anything) of columns that belong together; at
    least one must exist. `ignored` are known columns that are not read; other columns are accepted
    and noted. With `has_numbers`, every row has a digit, so a line without one may be a header. The
    rows of an `is_long` file are typed all together. `table` is first, refuse or None; `below` is
    the regular expression of the line above the table, which is the first below that line.
    The others are as `lakehouse.stage_sections.Text` says.
    """

    delimiter: str
    encodings: tuple[str, ...]
    fields: dict[str, tuple[str, ...]]
    group: tuple[str, ...] = ()
    max_line_bytes: int = 1 << 20
    max_file_bytes: int = 1 << 30
    ignored: tuple[str, ...] = ()
    has_numbers: bool = False
    optional: frozenset[str] = frozenset()
    is_long: bool = False
    quote: str = '"'
    sheet: str | None = None
    table: str | None = None
    below: str | None = None
    find_header: bool = False
    header: tuple[str, ...] = ()
    header_rows: int = 1
    skip_after_header: int = 0
    ignore_lines: tuple[str, ...] = ()
    decimal: str = "."
    thousands: str | None = None

    @classmethod
    def of(
        cls,
        source: Text,
        settings: Settings,
        fields: dict[str, tuple[str, ...]],
        group: tuple[str, ...] = (),
        has_numbers: bool = False,
        optional: frozenset[str] = frozenset(),
        is_long: bool = False,
        decimal: str = ".",
        thousands: str | None = None,
    ) -> Self:
        """Return the layout of the files of one kind, as stage and settings describe them."""
        return cls(
            delimiter=source.delimiter,
            encodings=tuple(source.encodings),
            fields=fields,
            group=group,
            max_line_bytes=settings.max_line_bytes,
            max_file_bytes=settings.max_file_bytes,
            ignored=tuple(source.ignore),
            has_numbers=has_numbers,
            optional=optional,
            is_long=is_long,
            quote=source.quote,
            sheet=source.sheet,
            table="first" if isinstance(source.table, NamedTable) else source.table,
            below=source.table.below if isinstance(source.table, NamedTable) else None,
            find_header=source.find_header,
            header=tuple(source.header),
            header_rows=source.header_rows,
            skip_after_header=source.skip_after_header,
            ignore_lines=tuple(source.ignore_lines),
            decimal=decimal,
            thousands=thousands,
        )

    @property
    def form(self) -> Form:
        """What is needed to turn a file of this kind into text."""
        limits = self.sheet, self.max_file_bytes, self.decimal, self.below
        return Form(self.delimiter, self.encodings, *limits)


@dataclass
class FileReport:
    """What `inspect` finds about a file as a whole.

    `header` names the columns: needed fields first, in the layout's order, then the group's, then
    the others. `order` gives the place of each in the file, from 0; -1 for an optional column that
    the file lacks. Rows begin in line `first_line`, and end before `end_line` if it is not 0.
    `mixes_notations`: some numbers are not in the notation that the stage says. `has_extra`: the
    stage does not name some column that has a heading. If there is a `rule`, the file must not be
    read, and `reason` says why.
    """

    sha256: str = ""
    encoding: str = ""
    header: list[str] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    grouped: int = 0
    rows: int = 0
    rule: str | None = None
    reason: str | None = None
    note: str | None = None
    delimiter: str = ","
    first_line: int = 2
    end_line: int = 0
    mixes_notations: bool = False
    has_extra: bool = False

    def fault(self, rule: str, reason: str) -> None:
        """Keep the first fault found."""
        if self.rule is None:
            self.rule, self.reason = rule, reason
