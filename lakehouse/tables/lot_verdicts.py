"""The models' verdicts on lots. A label comes from the plant: see lots."""

from lakehouse.table import Check, Column, Table

VERDICT_COLUMNS = (
    Column("model_version", "int", "Version of the registered model that gave the verdict"),
    Column("model", "string", "Name of the registered model"),
    Column("model_sha256", "string", "Hash of the model's file"),
    Column("verdict", "string", "good, bad, needs_human or unreadable"),
    Column("probability", "double", "Probability of failed or bad; null if unreadable"),
    Column("low", "double", "Below it the verdict is good"),
    Column("high", "double", "At or above it the verdict is bad; between, a person inspects"),
    Column("reason", "string", "Why it is unreadable, or why a human is needed"),
    Column("data_version", "bigint", "Delta version of the table that the model read"),
    Column("scored_at", "timestamp", "When", "UTC", bookkeeping=True),
)
"""The columns that verdicts on lots and on photos share."""

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
    meaning="Each champion's verdict on each lot; verdicts of earlier champions stay",
    columns=(
        Column("day", "date", "Production day at the plant"),
        Column("lot", "string", "Lot, unique within its day"),
        *VERDICT_COLUMNS,
    ),
    key=("day", "lot", "model_version"),
    checks=CHECKS,
    changes=True,
)
