"""Labelled lots."""

from lakehouse.table import Check, Column, Table

LOTS = Table(
    name="lots",
    meaning="Every lot that has readings, with the plant's label",
    columns=(
        Column("day", "date", "Production day at the plant"),
        Column("lot", "string", "Lot, unique within its day"),
        Column("readings", "bigint", "Readings of the lot"),
        Column("started_at", "timestamp", "First reading", "UTC"),
        Column("ended_at", "timestamp", "Last reading", "UTC"),
        Column("label", "string", "failed, good, or unknown: no list surely has that day"),
    ),
    key=("day", "lot"),
    checks=(Check("known_label", "label IN ('failed', 'good', 'unknown')"),),
    changes=True,
    mirrored=True,
)
