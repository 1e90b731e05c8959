"""Every split that a model was made with: which items train it, and which evaluate it."""

from lakehouse.table import Check, Column, Table

SPLITS = Table(
    name="splits",
    meaning="One row per item of a split. A split is made once, before anything is fitted.",
    columns=(
        Column("split_id", "string", "Names the split: hash of the columns below"),
        Column("kind", "string", "What the items are: lots or photos"),
        Column("protocol", "string", "kfold, forward or leave_one_group_out"),
        Column("seed", "int", "Seed of the shuffle"),
        Column("folds", "int", "Number of folds"),
        Column("versions", "string", "Delta version of each table it was made from, as JSON"),
        Column("item", "string", "day/lot, or a picture's pixel_sha256"),
        Column("label", "int", "1: failed or bad, 0: good"),
        Column("group", "string", "Items of one group are never on both sides"),
        Column("fold", "int", "The fold whose model is evaluated on the item; -1: it only trains"),
    ),
    key=("split_id", "item"),
    checks=(
        Check("known_kind", "kind IN ('lots', 'photos')"),
        Check("known_label", "label IN (0, 1)"),
    ),
)
