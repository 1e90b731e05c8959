"""The challenger becomes champion, if it is better on the same items.

    spark-submit jobs/promote.py chromate-lots --stage chromate [--if-better]

Reads the predictions of both in MLflow, and the lake if the champion must be evaluated again;
writes the champion's alias and the record of why. A second run finds it champion already.
"""

import sys

from jobs.submit import leave, submit


def main(argv: list[str]) -> int:
    """Entry point for spark-submit; returns the exit code."""
    return submit("promote", argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
