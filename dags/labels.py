"""### Labels and features, Thursdays at 20:00, and whenever an error list was loaded.

Labels the lots whose readings or lists changed, computes their features and the daily summaries,
and brings SQL up to date. Starts the DAG `verdicts`.
"""

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable
from airflow_lake import LakeJob, Stage, lake_dag

WEEKLY = CronTriggerTimetable("0 20 * * 4", timezone="Asia/Seoul")


def weekly_or_new_lists(stage: Stage) -> AssetOrTimeSchedule:
    """The stage's lists, and no other's, start its run."""
    return AssetOrTimeSchedule(timetable=WEEKLY, assets=[stage.new_lists])


@lake_dag("labels", __doc__, weekly_or_new_lists)
def tasks(stage: Stage) -> None:
    """Label, then compute all that follows from labels."""
    (
        LakeJob(job="label")
        >> LakeJob(job="features", outlets=[stage.lots])
        >> LakeJob(job="summarise")
        >> LakeJob(job="sync")
    )
