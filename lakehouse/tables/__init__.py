"""The tables, one module per table."""

from lakehouse.stage import Stage
from lakehouse.table import Table
from lakehouse.tables.agreed_labels import AGREED_LABELS
from lakehouse.tables.bands import BANDS
from lakehouse.tables.cleared_files import CLEARED_FILES
from lakehouse.tables.control_limits import CONTROL_LIMITS
from lakehouse.tables.corrections import CORRECTIONS
from lakehouse.tables.doubted_days import DOUBTED_DAYS
from lakehouse.tables.error_lists import ERROR_LISTS
from lakehouse.tables.files import FILES
from lakehouse.tables.inspections import INSPECTIONS
from lakehouse.tables.label_changes import LABEL_CHANGES
from lakehouse.tables.label_report import LABEL_REPORT
from lakehouse.tables.lot_features import lot_features
from lakehouse.tables.lot_verdicts import LOT_VERDICTS
from lakehouse.tables.lots import LOTS
from lakehouse.tables.photo_verdicts import PHOTO_VERDICTS
from lakehouse.tables.photos import PHOTOS
from lakehouse.tables.picture_days import PICTURE_DAYS
from lakehouse.tables.picture_names import PICTURE_NAMES
from lakehouse.tables.pictures import PICTURES
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings
from lakehouse.tables.runs import RUNS
from lakehouse.tables.splits import SPLITS
from lakehouse.tables.unmatched_files import UNMATCHED_FILES
from lakehouse.tables.variable_days import VARIABLE_DAYS

COMMON = (
    FILES,
    CLEARED_FILES,
    QUARANTINE,
    UNMATCHED_FILES,
    RUNS,
    ERROR_LISTS,
    DOUBTED_DAYS,
    PHOTOS,
    PICTURES,
    PICTURE_NAMES,
    LOTS,
    LABEL_REPORT,
    LABEL_CHANGES,
    BANDS,
    CONTROL_LIMITS,
    VARIABLE_DAYS,
    PICTURE_DAYS,
    SPLITS,
    LOT_VERDICTS,
    PHOTO_VERDICTS,
    INSPECTIONS,
    CORRECTIONS,
    AGREED_LABELS,
)
"""The tables that are the same in every stage."""

MIRRORED = tuple(table for table in COMMON if table.mirrored)
"""The tables that are copied to SQL."""

COLLECTED = (INSPECTIONS, CORRECTIONS, AGREED_LABELS)
"""The tables whose rows the app writes to SQL, and that are copied from there."""


def all_tables(stage: Stage) -> tuple[Table, ...]:
    """Return every table of the stage."""
    return (*COMMON, readings(stage), lot_features(stage))
