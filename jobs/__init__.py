"""The jobs: thin entry points for spark-submit, and the command line that runs them together."""
