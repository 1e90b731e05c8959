"""One reconciliation row a run: what came in equals what was kept, doubled or held back."""

from lakehouse.table import Column, Table

RUNS = Table(
    name="runs",
    meaning="Reconciliation of every run; the only table that grows when nothing is new.",
    columns=(
        Column("run_id", "string", "Names the run"),
        Column("jobs", "string", "The jobs it ran, in order"),
        Column("started_at", "timestamp", "Start", "UTC"),
        Column("ended_at", "timestamp", "End, before the sync to SQL", "UTC"),
        Column("files_seen", "bigint", "Files that were new, changed or asked for again"),
        Column("files_loaded", "bigint", "of these, loaded"),
        Column("files_duplicate", "bigint", "of these, the content of another file"),
        Column("files_quarantined", "bigint", "of these, held back whole"),
        Column("files_known", "bigint", "Files already in the ledger, not read again"),
        Column("rows_read", "bigint", "Rows in the files seen"),
        Column("rows_stored", "bigint", "of these, in a table"),
        Column("rows_quarantined", "bigint", "of these, held back"),
        Column("reconciled", "boolean", "Whether both sums add up"),
    ),
    key=("run_id",),
    changes=True,
    mirrored=True,
)
