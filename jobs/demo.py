"""The main job on a small generated plant, or on real input: what `make demo` runs."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from jobs.accounts import open_accounts
from jobs.options import Options
from jobs.report import show
from jobs.runner import CHAIN, begin, run_jobs
from jobs.serve import demo_admin
from lakehouse.errors import UsageError
from lakehouse.landing.sample_plant import make_sample_plant
from ml.photos.recipe import PATCHES, recipe_for

SAMPLE_STAGE = "chromate"
FOLDS = 3
TREES = ("decision_tree", "extra_trees", "lightgbm", "logistic")


def run_demo(
    landing: str | None,
    stage: str | None,
    stage_file: Path | None,
    lake: str,
    sample: Path,
    serve: bool,
) -> None:
    """Make the sample plant unless there is real input, run all jobs, show what came of it."""
    console = Console(soft_wrap=True)
    if landing is None:
        if stage or stage_file:
            raise UsageError("a stage needs its input: give the plant's folder by --landing")

        console.print(f"No --landing is given, so this is a [bold]generated[/] plant: {sample}")
        make_sample_plant(sample)
        landing, stage = str(sample), SAMPLE_STAGE
        lake = f"{lake}-sample"
    options = Options(stage, stage_file, landing, lake)
    show(run_jobs(CHAIN, options))
    make_champions(options, console)
    console.print(f"The tables are in {lake}; `platelake --help` says what else there is.")
    if serve:
        open_the_app(options, console)


def open_the_app(options: Options, console: Console) -> NoReturn:
    """Serve the app on this lake, with a password that is shown here and nowhere else.

    The app takes this process's place, and Spark ends with it.
    """
    from pyspark.sql import SparkSession

    name, password = demo_admin(open_accounts(options.lake, options.sql_url))
    console.print(f"Log in as {name} with the password {password}")
    where = ["--landing", str(options.landing), *options.place]
    port = ["--port", str(free_port(7860))]
    program = str(Path(sys.executable).with_name("platelake"))
    sys.stdout.flush()
    sys.stderr.flush()
    if session := SparkSession.getActiveSession():
        session.stop()
    os.execv(program, [program, "serve", *where, *port])  # noqa: S606 No shell is wanted.


def free_port(wanted: int) -> int:
    """That port, or where it is taken, a free one."""
    for port in (wanted, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = listener.getsockname()[1]
            return found
    return wanted


def make_champions(options: Options, console: Console) -> None:
    """Train, promote and score with both kinds of model, where there is no champion yet."""
    from jobs.models import compare, promote_challenger
    from jobs.train import open_registry, train_photos, train_trees
    from ml.data.errors import TooFewError
    from ml.study.context import Protocol

    context = begin(options)
    registry = open_registry(context)
    for kind in ("lots", "photos"):
        name = f"{context.stage.name}-{kind}"
        if registry.version(name) is None:
            console.print(f"Training {name}")
            try:
                if kind == "lots":
                    train_trees(options, list(TREES), Protocol("kfold", FOLDS), "lot", 0)
                else:
                    train_photos(options, [recipe_for(PATCHES)], Protocol("kfold", FOLDS))
            except TooFewError as error:
                console.print(f"No model of {kind}: {error}")
                continue
            promote_challenger(options, name, None)
        run_jobs([f"score_{kind}"], replace(options, landing=None))
    compare(options, None, 10)
