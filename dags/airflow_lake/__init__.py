"""What the DAGs of the lake share. It knows Airflow and the names of jobs and stages, no more."""

from airflow_lake.dag import DAY_PARAMS, day, lake_dag
from airflow_lake.job import DAYS, LANDING, LakeJob
from airflow_lake.stages import Stage

__all__ = [
    "DAYS",
    "DAY_PARAMS",
    "LANDING",
    "LakeJob",
    "Stage",
    "day",
    "lake_dag",
]
