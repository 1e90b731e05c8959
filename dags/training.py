"""### Training and promotion, Fridays at 22:00.

Trains trees on the labelled lots and patches on the labelled photos, and makes the best of each
champion if it is better than the champion on the same items. A champion that stays is no failure.
"""

from airflow.sdk import Param
from airflow_lake import LakeJob, Stage, lake_dag

PARAMS = {
    "folds": Param(5, type="integer", minimum=2, title="Folds of the cross-validation"),
}
FOLDS = ["--folds", "{{ params.folds }}"]


def promote(kind: str) -> LakeJob:
    """The task that asks whether the challenger of `lots` or `photos` is better."""
    model = ["{{ params.stage }}-" + kind, "--if-better"]
    return LakeJob(job="promote", args=model, task_id=f"promote_{kind}", pool="training")


@lake_dag("training", __doc__, "0 22 * * 5", PARAMS, hours=24)
def tasks(stage: Stage) -> None:
    """Train, then promote, for models of lots and of photos."""
    trees, photos = ["trees", *FOLDS], ["photos", *FOLDS]
    LakeJob(job="train", args=trees, task_id="train_trees", pool="training") >> promote("lots")
    LakeJob(job="train", args=photos, task_id="train_photos", pool="training") >> promote("photos")
