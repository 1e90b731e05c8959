"""Original bytes of every different photo file."""

from lakehouse.table import Column, Table

PHOTOS = Table(
    name="photos",
    meaning="Photo files by content: original bytes, unchanged. Rows are never changed.",
    columns=(
        Column("sha256", "string", "Hash of the bytes, hexadecimal"),
        Column("pixel_sha256", "string", "The picture these bytes show; key of pictures"),
        Column(
            "format",
            "string",
            "PNG, JPEG, … from the content, not from the file's name",
        ),
        Column("mode", "string", "Pixel format in the file: RGB, RGBA, L, I;16, CMYK, …"),
        Column(
            "taken_at",
            "timestamp",
            "EXIF's time of capture, if any, read in the stage's zone",
            "UTC",
        ),
        Column("size", "bigint", "Length of bytes", "bytes"),
        Column("bytes", "binary", "The file"),
    ),
    key=("sha256",),
    compress=False,
)
