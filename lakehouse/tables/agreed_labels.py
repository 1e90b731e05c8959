"""Labels of inspected photos on which two reviewers agree."""

from lakehouse.table import Check, Column, Table

AGREED_LABELS = Table(
    name="agreed_labels",
    meaning="Labels that two reviewers agreed on, one per photo. Rows are never changed",
    columns=(
        Column("sha256", "string", "The photo: hash of its bytes"),
        Column("label", "string", "good or bad"),
        Column("agreed_at", "timestamp", "Time of the second correction", "UTC"),
        Column("first_correction", "string", "The first reviewer's; key of corrections"),
        Column("second_correction", "string", "The second reviewer's; key of corrections"),
    ),
    key=("sha256",),
    checks=(Check("known_label", "label IN ('good', 'bad')"),),
)
