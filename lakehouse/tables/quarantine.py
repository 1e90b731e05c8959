"""Quarantined rows and whole files, with rule and reason, until they are replayed."""

from lakehouse.table import Column, Table

QUARANTINE = Table(
    name="quarantine",
    meaning="Rows and files kept out of the tables. An entry is removed after a good replay.",
    columns=(
        Column(
            "quarantine_id",
            "string",
            "Names the entry: hash of kind, file, content, line",
        ),
        Column("kind", "string", "readings, error_lists or photos"),
        Column("file", "string", "Path below the landing directory, as data"),
        Column("sha256", "string", "Hash of the file's content, hexadecimal"),
        Column("line", "bigint", "Line in the file, from 1; 0 for the whole file"),
        Column("rule", "string", "The first rule that was broken"),
        Column("reason", "string", "Every rule that was broken, with the value, in words"),
        Column("day", "date", "Production day of the row, if it could be read"),
        Column("lot", "string", "Lot of the row, if it could be read"),
        Column("raw", "string", "The row as delivered, as JSON of column to text"),
        Column("run_id", "string", "The run that quarantined it", bookkeeping=True),
        Column("quarantined_at", "timestamp", "When", "UTC", bookkeeping=True),
    ),
    key=("quarantine_id",),
)
