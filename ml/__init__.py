"""Models: splits, trees, photo networks, metrics, explanations and the registry."""
