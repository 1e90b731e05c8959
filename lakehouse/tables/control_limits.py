"""The control limits that people set, each from a stated period."""

from lakehouse.table import Check, Column, Table

CONTROL_LIMITS = Table(
    name="control_limits",
    meaning="Control limits from a stated period, with reason and person. Rows are never changed",
    columns=(
        Column("version", "int", "1, 2, … in the stage; a variable's highest is in use"),
        Column("variable", "string", "Variable of the stage"),
        Column(
            "chart",
            "string",
            "individuals: also gives moving_range and ewma. means: also gives deviations",
        ),
        Column("centre", "double", "Centre line", "the variable's"),
        Column(
            "sigma",
            "double",
            "Standard deviation: of a lot's mean, or for means of a reading within its lot",
            "the variable's",
        ),
        Column("low", "double", "Lower limit; null for means: by the lot's size", "the variable's"),
        Column("high", "double", "Upper limit; null as above", "the variable's"),
        Column("first_day", "date", "First production day of the period"),
        Column("last_day", "date", "Last production day of the period"),
        Column("lots", "int", "Lots of the period that made the limits: not failed by the plant"),
        Column("reason", "string", "Why this period, in the person's words"),
        Column("who", "string", "User of the machine who set them"),
        Column("set_at", "timestamp", "When", "UTC"),
    ),
    key=("version", "variable", "chart"),
    checks=(Check("known_chart", "chart IN ('individuals', 'means')"),),
)
