"""Daily summary of each variable."""

from lakehouse.table import Column, Table

VARIABLE_DAYS = Table(
    name="variable_days",
    meaning="Each variable over one production day",
    columns=(
        Column("day", "date", "Production day at the plant"),
        Column("variable", "string", "Variable of the stage"),
        Column("unit", "string", "Its unit"),
        Column("readings", "bigint", "Readings of the day"),
        Column("mean", "double", "Mean", "unit"),
        Column("std", "double", "Sample standard deviation; null for one reading", "unit"),
        Column("minimum", "double", "Smallest value", "unit"),
        Column("maximum", "double", "Largest value", "unit"),
    ),
    key=("day", "variable"),
    changes=True,
    mirrored=True,
)
