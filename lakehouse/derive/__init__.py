"""What is computed from the tables: labels, features, summaries. Arrow in, Arrow out."""
