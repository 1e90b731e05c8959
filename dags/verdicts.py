"""### Verdicts, after labelling and after new photos.

The champions give verdicts on new lots and pictures. If there is no champion yet, nothing happens.
"""

from airflow_lake import LOTS, NEW_PICTURES, LakeJob, lake_dag

with lake_dag("verdicts", __doc__, LOTS | NEW_PICTURES):
    (
        LakeJob(job="score_lots", args=["--if-champion"])
        >> LakeJob(job="score_photos", args=["--if-champion"])
        >> LakeJob(job="sync")
    )
