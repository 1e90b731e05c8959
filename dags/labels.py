"""### Labels and features, Thursdays at 20:00, and whenever an error list was loaded.

Labels the lots whose readings or lists changed, computes their features and the daily summaries,
and brings SQL up to date. Starts the DAG `verdicts`.
"""

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable
from airflow_lake import LOTS, NEW_LISTS, LakeJob, lake_dag

WEEKLY = CronTriggerTimetable("0 20 * * 4", timezone="Asia/Seoul")

with lake_dag("labels", __doc__, AssetOrTimeSchedule(timetable=WEEKLY, assets=[NEW_LISTS])):
    (
        LakeJob(job="label")
        >> LakeJob(job="features", outlets=[LOTS])
        >> LakeJob(job="summarise")
        >> LakeJob(job="sync")
    )
