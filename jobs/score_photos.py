"""The champion's verdicts on the pictures that it has no verdict on yet.

    spark-submit jobs/score_photos.py --stage chromate [--if-champion]

Reads pictures and the champion in MLflow; writes photo_verdicts, in a commit for each
4,096 pictures. A run that is killed goes on from its last commit.
A second run finds nothing new and writes nothing. A new champion gives each picture a new verdict.
"""

import sys

import structlog

from jobs.context import RunContext
from jobs.submit import leave, submit
from jobs.train import champion_for
from ml.use.score import score_photos


def run(context: RunContext) -> None:
    """Score, and say how many verdicts were added."""
    model = champion_for(context, "photos")
    if model is None:
        return
    changed = score_photos(context.lake, model)
    structlog.get_logger().info(
        "scored", model=model.name, version=model.version, verdicts_changed=changed
    )


def main(argv: list[str]) -> int:
    """Entry point for spark-submit; returns the exit code."""
    return submit("score-photos", argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
