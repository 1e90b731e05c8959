"""Delta tables: the only reader and writer, and the engine that computes rows."""
