"""What a model is worth: metrics with intervals, cross-validation, plots."""
