"""The bands outside which a reading is an excursion."""

from lakehouse.table import Column, Table

BANDS = Table(
    name="bands",
    meaning="Centre and scale of each variable, each fit kept with its days",
    columns=(
        Column("bands_id", "string", "Names the fit: hash of its parameters"),
        Column("variable", "string", "Variable of the stage"),
        Column("centre", "double", "Median", "the variable's"),
        Column(
            "scale",
            "double",
            "5th to 95th percentile / 3.29",
            "the variable's",
        ),
        Column("width", "double", "Scales from the centre to the edge of the band"),
        Column("first_day", "date", "First production day of the readings it was fitted on"),
        Column("last_day", "date", "Last production day of these readings"),
        Column("readings", "bigint", "Number of readings it was fitted on"),
        Column(
            "fit",
            "int",
            "1 for the stage's first fit, then 2, …; the highest is in use",
        ),
    ),
    key=("fit", "variable"),
)
