"""What the app said of each photo that a person or machine put in."""

from lakehouse.table import Check, Column, Table

INSPECTIONS = Table(
    name="inspections",
    meaning="Each look of the app at a photo: who put it in, and what the model said",
    columns=(
        Column("inspection_id", "string", "Names the inspection; part of its permanent link"),
        Column("inspected_at", "timestamp", "When", "UTC"),
        Column("user_name", "string", "Who put the photo in"),
        Column("file_name", "string", "What the photo was called there"),
        Column("sha256", "string", "Hash of the photo's bytes; key of photos once it is ingested"),
        Column("size", "bigint", "Length of the photo", "bytes"),
        Column("day", "date", "Production day of the part's lot, if one was named"),
        Column("lot", "string", "Lot of the part, if one was named"),
        Column("model_version", "int", "Version of the registered model that says so"),
        Column("model", "string", "Name of the registered model"),
        Column("model_sha256", "string", "Hash of the model's file"),
        Column("verdict", "string", "good, bad or needs_human"),
        Column("probability", "double", "Probability of bad"),
        Column("low", "double", "Below it the verdict is good"),
        Column("high", "double", "From it on the verdict is bad; between, a person looks"),
        Column("heat", "string", "Where the model looked: a grey PNG, base64, over the photo"),
        Column("sampled", "boolean", "A good verdict that people look at by random choice"),
    ),
    key=("inspection_id",),
    checks=(Check("known_verdict", "verdict IN ('good', 'bad', 'needs_human')"),),
)
