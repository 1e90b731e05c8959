"""Daily summary of the photos."""

from lakehouse.table import Column, Table

PICTURE_DAYS = Table(
    name="picture_days",
    meaning="Pictures of one day of capture and label",
    columns=(
        Column("day", "date", "Day of capture at the plant"),
        Column("label", "string", "What the plant says"),
        Column("pictures", "bigint", "Different pictures"),
        Column("names", "bigint", "Names they stand under"),
    ),
    key=("day", "label"),
    changes=True,
    mirrored=True,
)
