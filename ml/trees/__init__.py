"""Models for lots: trees of several kinds, and a logistic baseline."""
