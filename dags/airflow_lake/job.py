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

REPORT = "report"
"""The XCom that holds a job's report, of a job that failed too."""

FIRST = "2000-01-01"
LANDING = ["--landing", "{{ var.value.platelake_landing }}"]
DAYS = ["--from", "{{ first_day(dag_run, params) }}", "--to", "{{ last_day(dag_run, params) }}"]
NO_RETRY = {2: "cannot be meant as written", 3: "quality gate"}
"""Exit codes of the jobs that another try would only repeat."""


def run_day(dag_run: Any) -> str:
    """The day of a run on the plant's calendar: what `ds` is for the hours of these schedules."""
    moment = dag_run.logical_date or dag_run.run_after
    return f"{moment.astimezone(ZoneInfo('Asia/Seoul')):%Y-%m-%d}"


def first_day(dag_run: Any, params: Any) -> str:
    """All that is new up to the run's day; a backfill takes its own day alone."""
    return run_day(dag_run) if dag_run.run_type == "backfill" else params["first_day"]


def last_day(dag_run: Any, params: Any) -> str:
    """The run's day, or the one that a person named."""
    return params["last_day"] or run_day(dag_run)


class LakeJob(SparkSubmitOperator):
    """One of jobs/*.py, by the connection `spark_default`.

    `args` follow `--stage`. With `announce`, that asset is updated when the job has loaded files.
    A job whose exit code says that another try would end the same is not tried again.
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
            self.application_args = [*self.application_args, "--json", str(file)]
            try:
                super().execute(context)
            except Exception as error:
                report = self._keep(file, context)
                if report.get("exit_code") in NO_RETRY:
                    raise AirflowFailException(report["error"]) from error
                raise
            report = self._keep(file, context)
        if self.announce and report.get("files", {}).get("loaded"):
            context["outlet_events"][AssetAlias(self.announce.name)].add(self.announce)

    def _keep(self, file: Path, context: Any) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        if report:
            context["ti"].xcom_push(REPORT, report)
        return report
