"""DAGs as all of the lake's are: one a stage, with its clock, parameters, retries and alerts."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import (
    DAG,
    DeadlineAlert,
    DeadlineReference,
    Param,
    SyncCallback,
)

from airflow_lake.alerts import Alert
from airflow_lake.job import day_option
from airflow_lake.stages import Stage, all_stages

ZONE = "Asia/Seoul"

Tasks = Callable[[Stage], object]
"""Makes the tasks of a stage's DAG."""


def lake_dag(
    name: str,
    about: str | None,
    schedule: Any,
    params: Mapping[str, Param] | None = None,
    hours: int = 3,
) -> Callable[[Tasks], None]:
    """Make a DAG of that name for each stage, with the tasks of the decorated function.

    `about` is the docstring of the DAG's file; `schedule` may be a function of the stage. With
    several stages, the stage is in the DAG's id. A DAG has one run at a time, and a task may take
    `hours` at most. Missed runs are not made up for. If a run is not done `hours` after its time,
    people are told. A DAG that an asset starts has no time, so it cannot be late.
    """

    def make(tasks: Tasks) -> None:
        for stage in all_stages():
            when = schedule(stage) if callable(schedule) else schedule
            with _dag(stage, name, about, when, params or {}, hours):  # Airflow finds it by this.
                tasks(stage)

    return make


def _dag(
    stage: Stage,
    name: str,
    about: str | None,
    schedule: Any,
    params: Mapping[str, Param],
    hours: int,
) -> DAG:
    dag_id = stage.named(name)
    of_stage = Param(stage.name, type="string", enum=[stage.name], title="Stage of the plant")
    late = SyncCallback("airflow_lake.alerts.tell_late", {"dag_id": dag_id, "hours": hours})
    return DAG(
        dag_id,
        schedule=schedule,
        start_date=pendulum.datetime(2021, 1, 1, tz=ZONE),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=4 * hours),
        default_args={
            "retries": 3,
            "retry_delay": timedelta(seconds=30),
            "retry_exponential_backoff": 2.0,
            "max_retry_delay": timedelta(minutes=15),
            "execution_timeout": timedelta(hours=hours),
        },
        params={"stage": of_stage, **params},
        user_defined_macros={"day": day_option},
        on_success_callback=[Alert("success")],
        on_failure_callback=[Alert("failure")],
        deadline=DeadlineAlert(DeadlineReference.DAGRUN_LOGICAL_DATE, timedelta(hours=hours), late),
        doc_md=about,
        tags=["platelake", stage.name],
    )


def day(title: str, default: str | None = None) -> Param:
    """A parameter that is a day."""
    kind = "string" if default else ["null", "string"]
    return Param(default, type=kind, format="date", title=title)


DAY_PARAMS = {
    "from_day": day("Files of earlier days are left alone"),
    "to_day": day("Files of later days are left alone"),
}
