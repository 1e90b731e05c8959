"""What platelake itself took out of the landing zone, so that it never counts as withdrawn."""

from lakehouse.table import Check, Column, Table

CLEARED_FILES = Table(
    name="cleared_files",
    meaning="Files that were archived or removed at the source, once the lake held their content. "
    "Written before that is done",
    columns=(
        Column("kind", "string", "readings, error_lists or photos"),
        Column("file", "string", "Path below the landing directory, as data"),
        Column("sha256", "string", "Hash of the content, hexadecimal"),
        Column("size", "bigint", "Size of the content", "bytes"),
        Column("modified_at", "timestamp", "Modification time in the landing zone", "UTC"),
        Column("outcome", "string", "archived or removed"),
        Column("run_id", "string", "The run that first did so", bookkeeping=True),
        Column("cleared_at", "timestamp", "When it began to", "UTC", bookkeeping=True),
    ),
    key=("kind", "file", "sha256"),
    checks=(Check("known_outcome", "outcome IN ('archived', 'removed')"),),
)
