"""Bring landed files into the lake exactly once: list, inspect, plan, write, clear."""
