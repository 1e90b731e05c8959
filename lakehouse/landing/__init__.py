"""The landing zone: which files lie there, on which machine, and how they leave it."""
