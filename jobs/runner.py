"""What every job shares: one session, one lock, one reconciliation row."""

from __future__ import annotations

import importlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from jobs.context import RunContext
from jobs.logs import set_up_logs
from jobs.options import Options
from jobs.progress import steps
from jobs.report import (
    check_report,
    exit_code,
    failed,
    failure_reported,
    report,
    write_json,
    write_report,
)
from lakehouse.delta.lake import Lake
from lakehouse.errors import QualityGateError
from lakehouse.ingest.shares import too_large
from lakehouse.ingest.unmatched import record_unmatched
from lakehouse.landing.leaving import check_movable
from lakehouse.landing.stable import Looks
from lakehouse.settings import Settings, load_settings
from lakehouse.spark.session import open_session
from lakehouse.stage import Stage, load_stage, stage_names
from lakehouse.tables.runs import RUNS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CHAIN = (
    "ingest_readings",
    "ingest_error_lists",
    "ingest_photos",
    "label",
    "features",
    "summarise",
    "sync",
)
"""The main job: its jobs in order."""

INGESTS = CHAIN[:3]

Shown = Callable[[RunContext], None]
"""What a command shows of a run that is done."""


def run_stages(names: Sequence[str], options: Options, show: Shown | None = None) -> int:
    """Do the jobs for the stage of the options; without one, for each stage of `conf/stages`.

    Of several stages, one that fails does not stop the next; each failure is a sentence on standard
    error. Returns the exit code: the highest of theirs. With one stage, its error is raised.
    """
    named = options.stage is not None or options.stage_file is not None
    stages = [] if named else stage_names()
    if len(stages) < 2:
        context = run_jobs(names, replace(options, stage=stages[0]) if stages else options)
        if show:
            show(context)
        return 0
    with failure_reported(options.json_file, names):  # What is wrong for every stage is said once.
        load_settings(lake=options.lake, sql_url=options.sql_url)
        if options.json_file:
            check_report(options.json_file)
    reports = [run_stage(names, replace(options, stage=stage), show) for stage in stages]
    if options.json_file:
        write_json(options.json_file, {"stages": reports})
    return max(int(one.get("exit_code", 0)) for one in reports)


def run_stage(names: Sequence[str], options: Options, show: Shown | None) -> dict[str, Any]:
    """Do the jobs for one stage of several; its report, or that of its failure."""
    stage = options.stage or ""
    structlog.contextvars.clear_contextvars()  # The stage before this one left its own.
    structlog.contextvars.bind_contextvars(stage=stage)
    try:
        context = run_jobs(names, replace(options, json_file=None))
        if show:
            show(context)
        return report(context) if options.json_file else {}
    except Exception as error:
        exit_code(error, stage)
        return {"stage": stage, **failed(names, error)}


def run_jobs(names: Sequence[str], options: Options) -> RunContext:
    """Begin a run and do these jobs; its report is written where asked for."""
    with failure_reported(options.json_file, names):
        context = begin(options)
        do_jobs(names, context)
        write_report(context)
    return context


def do_jobs(names: Sequence[str], context: RunContext) -> None:
    """Do the jobs in order, one run of the stage at a time; the first that fails ends the run.

    The reconciliation row is written before the sync, which copies it.
    """
    ingests = set(names) & set(INGESTS)
    with context.lake.lock("run") as waited, steps(len(names)) as step:
        if waited and context.looks:
            context.looks.forget()  # The other run may have cleared files since.
        if ingests and context.looks:
            context.unmatched = record_unmatched(context.lake, context.looks, context.run_id)
        for name in names:
            if name == "sync" and ingests:
                write_run_row(context, names)
            start = time.monotonic()
            step(f"{context.stage.name}: {name}")
            with structlog.contextvars.bound_contextvars(job=name):
                log = structlog.get_logger()
                log.info("started")
                importlib.import_module(f"jobs.{name}").run(context)
                context.seconds[name] = round(time.monotonic() - start, 2)
                if not context.counts.reconciled:
                    write_run_row(context, names)  # raises: nothing is computed from such rows
                log.info("done", seconds=context.seconds[name])
        if "sync" not in names and ingests:
            write_run_row(context, names)
        refuse_large_shares(context)


def begin(options: Options, *, lake_must_exist: bool = False) -> RunContext:
    """Settings, stage, session and lake of a run."""
    settings = load_settings(lake=options.lake, sql_url=options.sql_url)
    if options.json_file:
        check_report(options.json_file)
    set_up_logs(settings.log_level)
    stage = load_stage(options.stage, options.stage_file)
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    structlog.contextvars.bind_contextvars(run=run_id, stage=stage.name)
    if options.stage_file and not options.stage:
        log = structlog.get_logger()
        log.info("the stage has the name of its file", file=str(options.stage_file))
    started_at = datetime.now(UTC)
    looks = looks_at(options.landing, stage, settings) if options.landing else None
    lake = Lake(
        settings.lake,
        stage.name,
        session,
        must_exist=lake_must_exist,
        here=settings.here,
    )
    return RunContext(lake, stage, settings, options, run_id, started_at, looks)


def refuse_large_shares(context: RunContext) -> None:
    """Raise QualityGateError if this run quarantined too much of a file or day."""
    found = too_large(context.counts.large_shares, context.settings)
    if found:
        more = f"; {len(found) - 1} more" if len(found) > 1 else ""
        raise QualityGateError(
            f"much is quarantined: {found[0]}{more}. What is right is stored. `platelake "
            f"quarantine list{context.options.advice}` shows the rows; correct the stage file or "
            "the files, then replay; the setting quarantined_share_fails is the limit"
        )


def looks_at(landing: str, stage: Stage, settings: Settings) -> Looks:
    """List the landing zone. A bad one fails before Spark starts and anything is written."""
    looks = Looks(landing, stage, settings.settle_seconds)
    looks.files("readings")
    if settings.after_ingest != "keep":
        check_movable(landing)
    return looks


def session() -> SparkSession:
    """The Spark session, with a line that says so where a person waits for it."""
    structlog.get_logger().info("starting Spark")
    return open_session("platelake")


def write_run_row(context: RunContext, names: Sequence[str]) -> None:
    """Write the run's reconciliation; raises QualityGateError if the counts do not reconcile."""
    c = context.counts
    row = {
        "run_id": context.run_id,
        "jobs": " ".join(names),
        "started_at": context.started_at,
        "ended_at": datetime.now(UTC),
        "files_seen": c.seen,
        "files_loaded": c.loaded,
        "files_duplicate": c.duplicate,
        "files_quarantined": c.quarantined,
        "files_known": c.known,
        "rows_read": c.rows_read,
        "rows_stored": c.rows_stored,
        "rows_quarantined": c.rows_quarantined,
        "reconciled": c.reconciled,
    }
    context.lake.append_rows(RUNS, [row], transaction=context.run_id)
    if not c.reconciled:
        raise QualityGateError(
            f"run {context.run_id} does not reconcile: {c.seen} files seen, {c.loaded} loaded, "
            f"{c.duplicate} duplicate, {c.quarantined} quarantined; {c.rows_read} rows read, "
            f"{c.rows_stored} stored, {c.rows_quarantined} quarantined. The ledger does not know "
            "these files, so the next run reads them again; if it persists, report it with the logs"
        )
