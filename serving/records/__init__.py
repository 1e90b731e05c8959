"""What is kept of verdicts: inspections, corrections, and what waits for SQL."""
