"""The operators' app: accounts, verdicts and review. This process runs no Spark."""
