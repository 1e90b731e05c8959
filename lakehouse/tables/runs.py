"""One reconciliation row per run: what came in was loaded, duplicate or quarantined."""

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
        Column("files_duplicate", "bigint", "of these, with the content of another file"),
        Column("files_quarantined", "bigint", "of these, quarantined as a whole"),
        Column("files_known", "bigint", "Files already in the ledger, not read again"),
        Column("rows_read", "bigint", "Rows in the files seen"),
        Column("rows_stored", "bigint", "of these, in a table"),
        Column("rows_quarantined", "bigint", "of these, quarantined"),
        Column("reconciled", "boolean", "Whether files and rows both reconcile"),
    ),
    key=("run_id",),
    changes=True,
    mirrored=True,
)
