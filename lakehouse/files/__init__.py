"""Turn one file of the plant into rows: sensor files, error lists, photos, and their rules."""
