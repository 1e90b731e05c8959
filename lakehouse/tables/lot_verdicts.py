"""What models say of lots. A label is what the plant says: see lots."""

from lakehouse.table import Check, Column, Table

VERDICT_COLUMNS = (
    Column("model_version", "int", "Version of the registered model that says so"),
    Column("model", "string", "Name of the registered model"),
    Column("model_sha256", "string", "Hash of the model's file"),
    Column("verdict", "string", "good, bad, needs_human or unreadable"),
    Column("probability", "double", "Probability of failed or bad; null if unreadable"),
    Column("low", "double", "Below it the verdict is good"),
    Column("high", "double", "From it on the verdict is bad; between, a person looks"),
    Column("reason", "string", "Why it is unreadable"),
    Column("data_version", "bigint", "Delta version of the table that was judged"),
    Column("scored_at", "timestamp", "When", "UTC", bookkeeping=True),
)
"""What the verdicts on lots and on photos have in common."""

CHECKS = (
    Check("known_verdict", "verdict IN ('good', 'bad', 'needs_human', 'unreadable')"),
    Check(
        "has_probability",
        "(verdict <> 'unreadable' OR probability IS NULL)"
        " AND (verdict = 'unreadable' OR probability IS NOT NULL)",
    ),
)

LOT_VERDICTS = Table(
    name="lot_verdicts",
    meaning="What each champion said of each lot; verdicts of earlier champions stay",
    columns=(
        Column("day", "date", "Production day at the plant"),
        Column("lot", "string", "Lot, unique within its day"),
        *VERDICT_COLUMNS,
    ),
    key=("day", "lot", "model_version"),
    checks=CHECKS,
    changes=True,
)
