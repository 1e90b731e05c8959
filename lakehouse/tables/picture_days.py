"""Daily summary of the photos."""

from lakehouse.table import Column, Table

PICTURE_DAYS = Table(
    name="picture_days",
    meaning="Pictures of one day of capture with one label",
    columns=(
        Column("day", "date", "Day of capture at the plant"),
        Column("label", "string", "The plant's label"),
        Column("pictures", "bigint", "Different pictures"),
        Column("names", "bigint", "Names of these pictures"),
    ),
    key=("day", "label"),
    changes=True,
    mirrored=True,
)
