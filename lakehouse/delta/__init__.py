"""Delta tables: the only reader and writer, and where rows are computed."""
