"""### Error lists, every day at 19:30.

Reads the plant's error lists that are new or changed into `error_lists`, then brings SQL up to
date. A list that was loaded starts the DAG `labels` at once.
"""

from airflow_lake import LANDING, NEW_LISTS, LakeJob, lake_dag

with lake_dag("error_lists", __doc__, "30 19 * * *"):
    LakeJob(job="ingest_error_lists", args=LANDING, announce=NEW_LISTS) >> LakeJob(job="sync")
