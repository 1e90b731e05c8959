"""### Maintenance, Sundays at 03:00.

Writes the small files of each table together and removes those that no kept version needs.
"""

from airflow_lake import LakeJob, lake_dag

with lake_dag("maintenance", __doc__, "0 3 * * 0"):
    LakeJob(job="maintain")
