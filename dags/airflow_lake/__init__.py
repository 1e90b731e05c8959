"""What the DAGs of the lake share. It knows Airflow and the names of the jobs, nothing else."""

from airflow_lake.alerts import Alert
from airflow_lake.dag import LOTS, NEW_LISTS, NEW_PICTURES, lake_dag
from airflow_lake.job import DAYS, LANDING, LakeJob

__all__ = [
    "DAYS",
    "LANDING",
    "LOTS",
    "NEW_LISTS",
    "NEW_PICTURES",
    "Alert",
    "LakeJob",
    "lake_dag",
]
