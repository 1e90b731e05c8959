"""Sensor readings of one stage, a column a variable."""

from lakehouse.stage import Stage
from lakehouse.table import Column, Table


def readings(stage: Stage) -> Table:
    """The readings table of that stage; variables and units come from its file.

    Their physical ranges are rules of the ingest (`lakehouse.files.readings.rules`), not checks
    of the table: a range that is corrected must not refuse what an earlier one let in.
    """
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
        changes=True,
    )
