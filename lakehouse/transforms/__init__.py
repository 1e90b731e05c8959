"""What is computed from the tables: data frames to data frames, nothing read or written."""
