"""Models: splits, trees, the photo network, metrics, explanations and the registry (to come)."""
