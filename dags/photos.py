"""### Photos, every day at 20:30.

Reads the photos that are new or changed into `photos`, `pictures` and `picture_names`, then brings
SQL up to date. Photos that were loaded start the DAG `verdicts`. A backfill of a day reads the
photos of that day, by the time of the file, and no others.
"""

from airflow_lake import DAY_PARAMS, DAYS, LANDING, LakeJob, Stage, lake_dag


@lake_dag("photos", __doc__, "30 20 * * *", DAY_PARAMS, hours=6)
def tasks(stage: Stage) -> None:
    """Load the photos, then bring SQL up to date."""
    photos = LakeJob(job="ingest_photos", args=[*LANDING, *DAYS], announce=stage.new_pictures)
    photos >> LakeJob(job="sync")
