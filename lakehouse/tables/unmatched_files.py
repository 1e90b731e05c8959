"""Files of the landing zone that no glob of the stage names."""

from lakehouse.table import Column, Table

UNMATCHED_FILES = Table(
    name="unmatched_files",
    meaning="What lay in the landing zone at the last run and was not read",
    columns=(
        Column("file", "string", "Path below the landing directory, as data"),
        Column("reason", "string", "Why it was not read"),
        Column("run_id", "string", "The run that found it first", bookkeeping=True),
    ),
    key=("file",),
)
"""A folder that cannot be listed has a row, too; its name ends with a slash."""
