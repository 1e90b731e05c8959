"""Spark: its session, its Java, and the jars that it needs."""
