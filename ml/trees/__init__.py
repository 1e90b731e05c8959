"""Models on lots: trees of several kinds, and a logistic baseline."""
