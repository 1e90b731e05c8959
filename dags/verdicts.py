"""### Verdicts, after labelling and after new photos.

The champions give verdicts on new lots and pictures. If there is no champion yet, nothing happens.
"""

from airflow_lake import LakeJob, Stage, lake_dag


@lake_dag("verdicts", __doc__, lambda stage: stage.lots | stage.new_pictures)
def tasks(stage: Stage) -> None:
    """Give verdicts, then bring SQL up to date."""
    (
        LakeJob(job="score_lots", args=["--if-champion"])
        >> LakeJob(job="score_photos", args=["--if-champion"])
        >> LakeJob(job="sync")
    )
