"""The ledger: what happened to every file that the plant delivered, one row per event."""

from lakehouse.table import Check, Column, Table

FILES = Table(
    name="files",
    meaning="Ledger of the landing zone. A file's row with the highest event is its state now.",
    columns=(
        Column("kind", "string", "readings, error_lists or photos"),
        Column("file", "string", "Path below the landing directory, as data"),
        Column(
            "event",
            "int",
            "1 for the first event of this file, then 2, …",
        ),
        Column("sha256", "string", "Hash of the content, hexadecimal"),
        Column("size", "bigint", "Size of the content", "bytes"),
        Column("modified_at", "timestamp", "Modification time in the landing zone", "UTC"),
        Column("status", "string", "loaded, duplicate, quarantined or withdrawn"),
        Column("duplicate_of", "string", "The file that brought the same content first"),
        Column("label", "string", "The plant's label by the photo's folder"),
        Column("rows_read", "bigint", "Rows in the content"),
        Column("rows_stored", "bigint", "Its rows in the table, counted after the commit"),
        Column("rows_quarantined", "bigint", "Its rows in quarantine, counted after the commit"),
        Column("note", "string", "What was unusual but accepted, such as an extra column"),
        Column("run_id", "string", "The run that wrote this event", bookkeeping=True),
        Column("seen_at", "timestamp", "When it was written", "UTC", bookkeeping=True),
    ),
    key=("kind", "file", "event"),
    checks=(
        Check(
            "known_status",
            "status IN ('loaded', 'duplicate', 'quarantined', 'withdrawn')",
        ),
        Check("rows_add_up", "rows_read = rows_stored + rows_quarantined"),
    ),
)
