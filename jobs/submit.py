"""Run a job's command from its script, for spark-submit."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def submit(command: str, argv: Sequence[str]) -> int:
    """Run `platelake COMMAND ARGV`; returns the exit code."""
    cli = importlib.import_module("jobs.cli.main")  # By name, since it imports the jobs.
    return int(cli.invoke([command, *argv]))


def leave(code: int) -> NoReturn:
    """End the process with that exit code, once its work is done.

    Leaves without the interpreter's tidying up: threads of the native libraries that read the
    Delta logs may still run then, and would abort the process.
    """
    if "pyspark" in sys.modules:
        from pyspark.sql import SparkSession

        if session := SparkSession.getActiveSession():
            session.stop()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
