"""Stored verdicts: inspections, corrections, and rows that wait for SQL."""
