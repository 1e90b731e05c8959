"""Features of each lot of one stage: every statistic of every variable."""

from collections.abc import Sequence

from lakehouse.stage import Stage
from lakehouse.statistics import DISTANCES, TOGETHER, VALUES
from lakehouse.table import Column, Table


def lot_features(stage: Stage) -> Table:
    """Return the stage's features table; its columns are the statistics' names."""
    return features_of([v.name for v in stage.variables], stage.title)


def features_of(variables: Sequence[str], title: str = "the stage") -> Table:
    """Return the features table for these variables."""
    return Table(
        name="lot_features",
        meaning=f"Statistics of each lot of {title}",
        columns=(
            Column("day", "date", "Production day at the plant"),
            Column("lot", "string", "Lot, unique within its day"),
            Column("bands_id", "string", "The bands that define excursions"),
            Column("readings", "bigint", "Readings of the lot"),
            *(
                Column(f"{name}_{s.name}", s.type, f"{name}: {s.meaning}")
                for name in variables
                for s in (*VALUES, *DISTANCES)
            ),
            *(Column(s.name, s.type, s.meaning[0].upper() + s.meaning[1:]) for s in TOGETHER),
        ),
        key=("day", "lot"),
        changes=True,
    )
