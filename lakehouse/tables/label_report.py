"""How readings and error lists match, day by day."""

from lakehouse.table import Column, Table

LABEL_REPORT = Table(
    name="label_report",
    meaning="One row per day that has readings or a list: coverage, and failed lots not found",
    columns=(
        Column("day", "date", "Production day at the plant"),
        Column("listed", "boolean", "Whether an error list has the day"),
        Column("list_rows", "int", "Rows for the day; check the lists if there are several"),
        Column("list_files", "array<string>", "The lists with these rows, sorted"),
        Column("lots", "int", "Lots with readings"),
        Column("lots_failed", "int", "of these, failed"),
        Column("lots_good", "int", "of these, good"),
        Column("lots_unknown", "int", "of these, unknown"),
        Column(
            "unmatched_lots",
            "array<string>",
            "Failed lots that have no readings, sorted",
        ),
        Column(
            "coverage",
            "double",
            "Labelled share of the lots with readings; null without lots",
        ),
        Column(
            "disagreeing_lots",
            "array<string>",
            "Lots that are failed in the list or in the sensor files, and good in the other; "
            "sorted. They count as failed. Null if the stage has no `result`",
        ),
        Column(
            "unread_lots",
            "array<string>",
            "Lots with a result in the sensor files that cannot be read, or in a quarantined "
            "row; sorted. None is good. Null if the stage has no `result`",
        ),
    ),
    key=("day",),
)
