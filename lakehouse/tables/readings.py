"""Sensor readings of one stage, a column a variable."""

from lakehouse.stage import Stage
from lakehouse.table import Check, Column, Table


def readings(stage: Stage) -> Table:
    """The readings table of that stage; variables, units and ranges come from its file."""
    variables = stage.readings.variables
    return Table(
        name="readings",
        meaning=f"Sensor readings of {stage.title}, one row a moment",
        columns=(
            Column("day", "date", "Production day at the plant", stage.time_zone),
            Column("lot", "string", "Lot, unique within its day"),
            Column("measured_at", "timestamp", "Moment of the measurement", "UTC"),
            *(Column(v.name, "double", v.meaning or v.column[0], v.unit) for v in variables),
            Column("file", "string", "The file that brought the row"),
            Column("line", "bigint", "Its line in that file, the first is 1"),
        ),
        key=("day", "lot", "measured_at"),
        checks=tuple(
            Check(
                f"{v.name}_physical",
                f"{v.name} BETWEEN {v.minimum!r} AND {v.maximum!r}",
            )
            for v in variables
        ),
        changes=True,
    )
