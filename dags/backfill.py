"""### Backfill, by hand.

Reads the files of some days again, with today's rules, whether they changed or not, and computes
all that follows. A second backfill of the same days changes no row. To read only what the lake does
not know, backfill the DAGs `readings` and `photos` instead.
"""

from airflow_lake import DAYS, LANDING, LakeJob, Stage, day, lake_dag

PARAMS = {
    "from_day": day("First day", "2021-09-06"),
    "to_day": day("Last day", "2021-09-06"),
}


@lake_dag("backfill", __doc__, None, PARAMS, hours=24)
def tasks(stage: Stage) -> None:
    """Read the files of the days again."""
    LakeJob(job="backfill", args=[*LANDING, *DAYS])
