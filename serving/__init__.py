"""The operators' app, accounts, verdicts and the predictor; no Spark in this process (to come)."""
