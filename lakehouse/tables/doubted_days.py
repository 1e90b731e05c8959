"""Days that an error list may judge by what of it was held back."""

from lakehouse.table import Column, Table

DOUBTED_DAYS = Table(
    name="doubted_days",
    meaning="Days that a held-back row or error list may mean. No lot of such a day is good.",
    columns=(
        Column("day", "date", "Production day at the plant that may be meant"),
        Column(
            "lots",
            "array<string>",
            "Failed lots that the row names all the same, where its day is known; sorted",
        ),
        Column("file", "string", "The list"),
        Column("line", "bigint", "The row's line in that file; 0: the whole file is held back"),
    ),
    key=("file", "line", "day"),
    changes=True,
)
"""Of a file that is held back as a whole, the days are those that it judged before."""
