"""The models' verdicts on pictures. A label comes from the plant: see picture_names."""

from lakehouse.table import Column, Table
from lakehouse.tables.lot_verdicts import CHECKS, VERDICT_COLUMNS

PHOTO_VERDICTS = Table(
    name="photo_verdicts",
    meaning="Each champion's verdict on each picture; verdicts of earlier champions stay",
    columns=(
        Column("pixel_sha256", "string", "The picture; key of pictures"),
        *VERDICT_COLUMNS,
    ),
    key=("pixel_sha256", "model_version"),
    checks=CHECKS,
    changes=True,
)
