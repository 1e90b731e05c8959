"""One file of the plant becomes rows: sensor files, error lists, photos, and their rules."""
