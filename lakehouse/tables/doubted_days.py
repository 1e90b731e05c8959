"""Days that the quarantined part of an error list may mean."""

from lakehouse.table import Column, Table

DOUBTED_DAYS = Table(
    name="doubted_days",
    meaning="Days that a quarantined row or error list may mean. No lot of such a day is good.",
    columns=(
        Column("day", "date", "Production day at the plant that may be meant"),
        Column(
            "lots",
            "array<string>",
            "Failed lots that the row names, if its day is known; sorted",
        ),
        Column("file", "string", "The list"),
        Column("line", "bigint", "The row's line in that file; 0: the whole file is quarantined"),
    ),
    key=("file", "line", "day"),
    changes=True,
)
"""If a file is quarantined as a whole, its days are those that its earlier content had."""
