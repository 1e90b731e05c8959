"""The plant's lists of failed lots, as delivered."""

from lakehouse.table import Column, Table

ERROR_LISTS = Table(
    name="error_lists",
    meaning="Rows of the error lists. A day that stands here was judged; its lots failed.",
    columns=(
        Column("day", "date", "Production day at the plant that the row judges"),
        Column(
            "lots",
            "array<string>",
            "Failed lots of that day, sorted; empty: none failed",
        ),
        Column("file", "string", "The list that brought the row"),
        Column("line", "bigint", "Its line in that file, the first is 1"),
    ),
    key=("file", "line"),
    changes=True,
)
