"""How good a model is: metrics with intervals, cross-validation, plots."""
