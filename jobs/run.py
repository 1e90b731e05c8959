"""The main job: landing zone to labelled lots, features and SQL summaries, in one session.

    spark-submit jobs/run.py --stage chromate --landing DIR [--json FILE]

Reads and writes what the jobs of `jobs.runner.CHAIN` do, in their order.
A second run finds nothing new: it adds its row of runs, here and in SQL, and nothing else.
"""

import sys

from jobs.submit import leave, submit


def main(argv: list[str]) -> int:
    """Entry point for spark-submit; returns the exit code."""
    return submit("run", argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
