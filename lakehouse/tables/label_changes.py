"""Changes of labels by later or corrected files."""

from lakehouse.table import Column, Table

LABEL_CHANGES = Table(
    name="label_changes",
    meaning="Difference report of relabelling: one row per lot whose label changed",
    columns=(
        Column(
            "lots_version",
            "bigint",
            "Version of lots with the change",
            bookkeeping=True,
        ),
        Column("day", "date", "Production day at the plant"),
        Column("lot", "string", "Lot"),
        Column("before", "string", "Label before"),
        Column("after", "string", "Label after; null: the lot's readings are gone"),
        Column("changed_at", "timestamp", "Commit of that version", "UTC", bookkeeping=True),
    ),
    key=("lots_version", "day", "lot"),
)
