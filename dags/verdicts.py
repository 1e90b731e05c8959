"""### Verdicts, after labelling and after new photos.

The champions judge the lots and pictures that are new to them. Where there is no champion yet,
nothing is judged.
"""

from airflow_lake import LOTS, NEW_PICTURES, LakeJob, lake_dag

with lake_dag("verdicts", __doc__, LOTS | NEW_PICTURES):
    (
        LakeJob(job="score_lots", args=["--if-champion"])
        >> LakeJob(job="score_photos", args=["--if-champion"])
        >> LakeJob(job="sync")
    )
