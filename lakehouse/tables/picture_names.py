"""The names and labels under which the plant delivered a picture."""

from lakehouse.table import Column, Table

PICTURE_NAMES = Table(
    name="picture_names",
    meaning="One row per name of a picture, without pictures that have conflicting labels.",
    columns=(
        Column("pixel_sha256", "string", "The picture"),
        Column(
            "label",
            "string",
            "The plant's label, by folder; 'unlabelled' if there is none",
        ),
        Column("name", "string", "Name of the file, as the camera or the plant gave it"),
        Column("file", "string", "Path below the landing directory; the first if several"),
        Column("sha256", "string", "The photo: hash of that file's bytes"),
        Column("captured_at", "timestamp", "When it was taken", "UTC"),
        Column("captured_from", "string", "Source of that time: exif or file time"),
        Column("day", "date", "Day of capture at the plant"),
    ),
    key=("pixel_sha256", "label", "name"),
    changes=True,
)
