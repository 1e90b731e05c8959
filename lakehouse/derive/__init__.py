"""Compute labels, features and summaries from the tables. Arrow in, Arrow out."""
