"""From the landing zone into the lake, exactly once: list, inspect, plan, write, clear."""
