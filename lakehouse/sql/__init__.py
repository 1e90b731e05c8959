"""Summaries in SQL: pushed from the lake to SQL, and what the app wrote pulled back."""
