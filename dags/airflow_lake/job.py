"""A job of the lake as a task: spark-submit, and what became of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.exceptions import AirflowFailException

from airflow_lake.alerts import REPORT

LANDING = ["--landing", "{{ var.value.platelake_landing }}"]
DAYS = ["{{ day(dag_run, params, 'from') }}", "{{ day(dag_run, params, 'to') }}"]
NO_RETRY = (2, 3)
"""Exit codes that another try would only repeat: usage, quality gate."""


def day_option(dag_run: Any, params: Any, end: str) -> str:
    """`--from` or `--to` of a run: what a person named; of a backfill its own day; else nothing.

    Without days a job takes all that is new, late files and those of a wrong clock too.
    """
    named = params[f"{end}_day"]
    if not named and dag_run.run_type == "backfill":
        # What `ds` is at the hours of these schedules, on the plant's calendar at any hour.
        named = f"{dag_run.logical_date.astimezone(ZoneInfo('Asia/Seoul')):%Y-%m-%d}"
    return f"--{end}={named}" if named else ""


class LakeJob(SparkSubmitOperator):
    """One of jobs/*.py, by the connection `spark_default`.

    `args` come before `--stage`; what renders to nothing is left out. With `announce`, that asset
    is updated when the job has loaded files, or when an earlier try may have. A job whose exit code
    says that another try would end the same is not tried again.
    """

    def __init__(
        self,
        job: str,
        args: Sequence[str] = (),
        *,
        task_id: str | None = None,
        pool: str = "lake",
        announce: Asset | None = None,
        **kwargs: Any,
    ) -> None:
        """Name the task after the job, unless `task_id` says otherwise."""
        if announce:
            kwargs["outlets"] = [AssetAlias(announce.name)]
        super().__init__(
            task_id=task_id or job,
            application="{{ var.value.platelake_home }}/jobs/" + f"{job}.py",
            application_args=[*args, "--stage", "{{ params.stage }}"],
            name="{{ dag.dag_id }}.{{ task.task_id }}",
            pool=pool,
            **kwargs,
        )
        self.announce = announce

    def execute(self, context: Any) -> None:
        """Submit, and keep the report."""
        with TemporaryDirectory() as folder:
            file = Path(folder) / "report.json"
            given = [one for one in self.application_args if one]
            self.application_args = [*given, "--json", str(file)]
            try:
                super().execute(context)
            except Exception as error:
                report = self._keep(file, context)
                if report.get("exit_code") in NO_RETRY:
                    raise AirflowFailException(report["error"]) from error
                raise
            report = self._keep(file, context)
        loaded = report.get("files", {}).get("loaded") or context["ti"].try_number > 1
        if self.announce and loaded:
            context["outlet_events"][AssetAlias(self.announce.name)].add(self.announce)

    def _keep(self, file: Path, context: Any) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        if report:
            context["ti"].xcom_push(REPORT, report)
        return report
