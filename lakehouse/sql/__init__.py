"""Summaries in SQL: push them from the lake to SQL, and pull back the app's rows."""
