"""Different pictures, decoded once."""

from lakehouse.table import Column, Table

PICTURES = Table(
    name="pictures",
    meaning="Pictures by their pixels, decoded for training and scoring. Rows are never changed.",
    columns=(
        Column("pixel_sha256", "string", "Hash of width, height and upright RGB pixels"),
        Column("phash", "string", "Perceptual hash, 64 bits, hexadecimal: near means alike"),
        Column("width", "int", "Width of the upright picture", "pixels"),
        Column("height", "int", "Height of the upright picture", "pixels"),
        Column("tensor_width", "int", "Width of the tensor", "pixels"),
        Column("tensor_height", "int", "Height of the tensor", "pixels"),
        Column("tensor", "binary", "RGB, uint8, rows first: height × width × 3 bytes"),
    ),
    key=("pixel_sha256",),
    compress=False,
)
