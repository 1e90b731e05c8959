"""Sensor readings of one stage, one column per variable."""

from lakehouse.stage import Stage
from lakehouse.table import Column, Table


def readings(stage: Stage) -> Table:
    """Return the stage's readings table; variables and units come from the stage file.

    Physical ranges are rules of the ingest (`lakehouse.files.readings.rules`), not checks of the
    table: a corrected range must not refuse rows that an earlier range accepted.
    """
    variables = stage.readings.variables
    return Table(
        name="readings",
        meaning=f"Sensor readings of {stage.title}, one row per moment",
        columns=(
            Column("day", "date", "Production day at the plant", stage.time_zone),
            Column("lot", "string", "Lot, unique within its day"),
            Column("measured_at", "timestamp", "Moment of the measurement", "UTC"),
            *(Column(v.name, "double", v.meaning or v.column[0], v.unit) for v in variables),
            Column("file", "string", "The file that brought the row"),
            Column("line", "bigint", "Its line in that file, from 1"),
        ),
        key=("day", "lot", "measured_at"),
        changes=True,
    )
