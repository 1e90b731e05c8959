"""### Photos, every day at 20:30.

Reads the photos that are new or changed into `photos`, `pictures` and `picture_names`, then brings
SQL up to date. Photos that were loaded start the DAG `verdicts`. A backfill of a day reads the
photos of that day, by the time of the file, and no others.
"""

from airflow_lake import DAY_PARAMS, DAYS, LANDING, NEW_PICTURES, LakeJob, lake_dag

with lake_dag("photos", __doc__, "30 20 * * *", DAY_PARAMS, hours=6):
    photos = LakeJob(job="ingest_photos", args=[*LANDING, *DAYS], announce=NEW_PICTURES)
    photos >> LakeJob(job="sync")
