"""Sensor readings of one stage, one column per variable."""

from lakehouse.stage import Stage
from lakehouse.table import Column, Table

RESULT = "What the row says about its lot: failed, good, or unread; null if nothing"
SEQUENCE = "Number of the row among those of its moment in its file, from 0"


def readings(stage: Stage) -> Table:
    """Return the stage's readings table; variables and units come from the stage file.

    Physical ranges are rules of the ingest (`lakehouse.files.readings.rules`), not checks of the
    table: a corrected range must not refuse rows that an earlier range accepted.
    """
    keys = list(stage.readings.key.items()) if stage.readings else []
    numbered = stage.readings is not None and stage.readings.sequence
    has_result = stage.readings is not None and stage.readings.result is not None
    return Table(
        name="readings",
        meaning=f"Sensor readings of {stage.title}, one row per moment",
        columns=(
            Column("day", "date", "Production day at the plant", stage.time_zone),
            Column("lot", "string", "Lot, unique within its day"),
            Column("measured_at", "timestamp", "Moment of the measurement", "UTC"),
            *(Column(name, "string", f"Column {of[0]}, part of the key") for name, of in keys),
            *([Column("sequence", "bigint", SEQUENCE)] if numbered else []),
            *(Column(v.name, "double", v.meaning or v.column[0], v.unit) for v in stage.variables),
            *([Column("result", "string", RESULT)] if has_result else []),
            Column("file", "string", "The file that brought the row"),
            Column("line", "bigint", "Its line in that file, from 1"),
        ),
        key=("day", "lot", *(name for name, _ in keys), *["sequence"] * numbered, "measured_at"),
        changes=True,
    )
