"""The app's verdict on each photo that a person or machine uploaded."""

from lakehouse.table import Check, Column, Table

INSPECTIONS = Table(
    name="inspections",
    meaning="Each inspection of a photo by the app: who uploaded it, and the model's verdict",
    columns=(
        Column("inspection_id", "string", "Names the inspection; part of its permanent link"),
        Column("inspected_at", "timestamp", "When", "UTC"),
        Column("user_name", "string", "Who uploaded the photo"),
        Column("file_name", "string", "Name of the uploaded file"),
        Column("sha256", "string", "Hash of the photo's bytes; key of photos once it is ingested"),
        Column("size", "bigint", "Length of the photo", "bytes"),
        Column("day", "date", "Production day of the part's lot, if one was named"),
        Column("lot", "string", "Lot of the part, if one was named"),
        Column("model_version", "int", "Version of the registered model that gave the verdict"),
        Column("model", "string", "Name of the registered model"),
        Column("model_sha256", "string", "Hash of the model's file"),
        Column("verdict", "string", "good, bad or needs_human"),
        Column("probability", "double", "Probability of bad"),
        Column("low", "double", "Below it the verdict is good"),
        Column("high", "double", "At or above it the verdict is bad; between, a person inspects"),
        Column("heat", "string", "Where the model looked: a grey PNG, base64, over the photo"),
        Column("sampled", "boolean", "A good verdict, chosen at random, that people also inspect"),
        Column("reason", "string", "Why the verdict is needs_human, such as unlike; null: unsure"),
    ),
    key=("inspection_id",),
    checks=(Check("known_verdict", "verdict IN ('good', 'bad', 'needs_human')"),),
)
