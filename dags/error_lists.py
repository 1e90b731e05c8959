"""### Error lists, every day at 19:30.

Reads the plant's error lists that are new or changed into `error_lists`, then brings SQL up to
date. A list that was loaded starts the DAG `labels` at once.
"""

from airflow_lake import LANDING, LakeJob, Stage, lake_dag


@lake_dag("error_lists", __doc__, "30 19 * * *")
def tasks(stage: Stage) -> None:
    """Load the lists, then bring SQL up to date."""
    lists = LakeJob(job="ingest_error_lists", args=LANDING, announce=stage.new_lists)
    lists >> LakeJob(job="sync")
