"""A trained model in use: predict, score the lake, explain."""
