"""### Sensor readings, every day at 19:00.

Reads the sensor files that are new or changed into `readings`, then brings SQL up to date. A file
that comes late is read by the next run. A backfill of a day reads the files
of that day and no others; what is known is not read again.
"""

from airflow_lake import DAY_PARAMS, DAYS, LANDING, LakeJob, Stage, lake_dag


@lake_dag("readings", __doc__, "0 19 * * *", DAY_PARAMS)
def tasks(stage: Stage) -> None:
    """Load the sensor files, then bring SQL up to date."""
    LakeJob(job="ingest_readings", args=[*LANDING, *DAYS]) >> LakeJob(job="sync")
