"""A DAG as all of the lake's are: its clock, its parameters, its retries, its alerts."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import (
    DAG,
    Asset,
    DeadlineAlert,
    DeadlineReference,
    Param,
    SyncCallback,
)

from airflow_lake.alerts import Alert
from airflow_lake.job import day_option

ZONE = "Asia/Seoul"

NEW_LISTS = Asset("new_error_lists", uri="platelake://lake/error_lists")
NEW_PICTURES = Asset("new_pictures", uri="platelake://lake/pictures")
LOTS = Asset("lots", uri="platelake://lake/lots")


def lake_dag(
    dag_id: str,
    about: str | None,
    schedule: Any,
    params: Mapping[str, Param] | None = None,
    hours: int = 3,
) -> DAG:
    """A DAG of that name, each task of at most so many hours; `about` is its file's docstring.

    One run at a time, and no run for what was missed. Whoever waits for a run that is not done
    `hours` after its time is told; without a time (an asset) there is none to miss.
    """
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
        params={"stage": STAGE, **(params or {})},
        user_defined_macros={"day": day_option},
        on_success_callback=[Alert("success")],
        on_failure_callback=[Alert("failure")],
        deadline=DeadlineAlert(DeadlineReference.DAGRUN_LOGICAL_DATE, timedelta(hours=hours), late),
        doc_md=about,
        tags=["platelake"],
    )


def day(title: str, default: str | None = None) -> Param:
    """A parameter that is a day."""
    kind = "string" if default else ["null", "string"]
    return Param(default, type=kind, format="date", title=title)


STAGE = Param("chromate", type="string", pattern="^[a-z0-9_]+$", title="Stage of the plant")
DAY_PARAMS = {
    "from_day": day("Files of earlier days are left alone"),
    "to_day": day("Files of later days are left alone"),
}
