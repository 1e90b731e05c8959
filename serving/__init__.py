"""The operators' app: accounts, verdicts and review; no Spark in this process (the app to come)."""
