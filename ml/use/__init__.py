"""Use a trained model: predict, score the lake, explain."""
