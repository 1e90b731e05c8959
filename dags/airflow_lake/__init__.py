"""What the DAGs of the lake share. It knows Airflow and the names of the jobs, nothing else."""

from airflow_lake.dag import DAY_PARAMS, LOTS, NEW_LISTS, NEW_PICTURES, day, lake_dag
from airflow_lake.job import DAYS, LANDING, LakeJob

__all__ = [
    "DAYS",
    "DAY_PARAMS",
    "LANDING",
    "LOTS",
    "NEW_LISTS",
    "NEW_PICTURES",
    "LakeJob",
    "day",
    "lake_dag",
]
