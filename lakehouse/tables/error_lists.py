"""The plant's lists of failed lots, as delivered."""

from lakehouse.table import Column, Table

ERROR_LISTS = Table(
    name="error_lists",
    meaning="Rows of the error lists. The plant checked each day with a row; lots in it failed.",
    columns=(
        Column("day", "date", "Production day at the plant that the row is about"),
        Column(
            "lots",
            "array<string>",
            "Failed lots of that day, sorted; empty: none failed",
        ),
        Column("file", "string", "The list that brought the row"),
        Column("line", "bigint", "Its line in that file, from 1"),
    ),
    key=("file", "line"),
    changes=True,
)
