"""### Maintenance, Sundays at 03:00.

Writes the small files of each table together and removes those that no kept version needs.
"""

from airflow_lake import LakeJob, Stage, lake_dag


@lake_dag("maintenance", __doc__, "0 3 * * 0")
def tasks(stage: Stage) -> None:
    """Maintain the tables."""
    LakeJob(job="maintain")
