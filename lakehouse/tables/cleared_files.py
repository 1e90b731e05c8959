"""Files that platelake itself cleared from the landing zone; they never count as withdrawn."""

from lakehouse.table import Check, Column, Table

CLEARED_FILES = Table(
    name="cleared_files",
    meaning="Files that were archived or removed at the source, after the lake held their content. "
    "Written before the file is moved",
    columns=(
        Column("kind", "string", "readings, error_lists or photos"),
        Column("file", "string", "Path below the landing directory, as data"),
        Column("sha256", "string", "Hash of the content, hexadecimal"),
        Column("size", "bigint", "Size of the content", "bytes"),
        Column("modified_at", "timestamp", "Modification time in the landing zone", "UTC"),
        Column("outcome", "string", "archived or removed"),
        Column("run_id", "string", "The run that cleared it first", bookkeeping=True),
        Column("cleared_at", "timestamp", "When that began", "UTC", bookkeeping=True),
    ),
    key=("kind", "file", "sha256"),
    checks=(Check("known_outcome", "outcome IN ('archived', 'removed')"),),
)
