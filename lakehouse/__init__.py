"""The lake: its tables, what fills them, and what keeps them honest."""
