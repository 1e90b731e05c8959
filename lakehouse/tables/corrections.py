"""People's corrections of inspected photos: never a verdict, and a label only if two agree."""

from lakehouse.table import Check, Column, Table

CORRECTIONS = Table(
    name="corrections",
    meaning="What operators and reviewers say about inspected photos. Rows are never changed",
    columns=(
        Column("correction_id", "string", "Names the correction"),
        Column("inspection_id", "string", "The corrected inspection; key of inspections"),
        Column("sha256", "string", "The photo: hash of its bytes"),
        Column("corrected_at", "timestamp", "When", "UTC"),
        Column("user_name", "string", "Who made the correction"),
        Column("role", "string", "operator, reviewer, engineer or admin, at that time"),
        Column("says", "string", "good or bad"),
        Column("reason", "string", "Why, in the person's words"),
        Column("verdict", "string", "The model's verdict"),
        Column("model", "string", "Name of the registered model that gave it"),
        Column("model_version", "int", "Its version"),
        Column("defect", "string", "Kind of defect, by its name in the stage file; null: not said"),
    ),
    key=("correction_id",),
    checks=(Check("known_word", "says IN ('good', 'bad')"),),
)
