"""The lake: its tables, the steps that fill them, and the checks that keep them correct."""
