"""Labels of inspected photos on which two reviewers agree."""

from lakehouse.table import Check, Column, Table

AGREED_LABELS = Table(
    name="agreed_labels",
    meaning="Labels that two reviewers agreed on, one a photo. Rows are never changed",
    columns=(
        Column("sha256", "string", "The photo: hash of its bytes"),
        Column("label", "string", "good or bad"),
        Column("agreed_at", "timestamp", "When the second of them said so", "UTC"),
        Column("first_correction", "string", "What the first said; key of corrections"),
        Column("second_correction", "string", "What the second said; key of corrections"),
    ),
    key=("sha256",),
    checks=(Check("known_label", "label IN ('good', 'bad')"),),
)
