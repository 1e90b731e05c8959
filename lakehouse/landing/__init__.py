"""The landing zone: which files are there, on which machine, and how they leave it."""
