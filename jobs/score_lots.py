"""The champion's verdicts on the lots whose readings changed.

    spark-submit jobs/score_lots.py --stage chromate [--if-champion]

Reads the champion in MLflow, and lot_features, or readings if the features are older or of other
bands; writes lot_verdicts, in one commit.
A second run finds nothing changed and writes nothing. A new champion gives each lot a verdict.
"""

import sys

import structlog

from jobs.context import RunContext
from jobs.submit import leave, submit
from jobs.train import champion_for
from ml.use.score import score_lots


def run(context: RunContext) -> None:
    """Score, and say how many verdicts changed."""
    model = champion_for(context, "lots")
    if model is None:
        return
    changed = score_lots(context.lake, context.stage, model)
    structlog.get_logger().info(
        "scored", model=model.name, version=model.version, verdicts_changed=changed
    )


def main(argv: list[str]) -> int:
    """Entry point for spark-submit; returns the exit code."""
    return submit("score-lots", argv)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
