"""What people are told of a run: to Slack, to any webhook, to both or to nobody.

The connection `platelake_slack` (type Slack Incoming Webhook) has Slack's token as password;
`platelake_webhook` (type HTTP) has a whole URL as host, and a bearer token, if any, as password.
Who has set neither is told nothing, which is no error. Set them in Airflow's environment
(AIRFLOW_CONN_PLATELAKE_SLACK) or a secrets backend: what tells of a missed run sees no others.
"""

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
from airflow.sdk import BaseNotifier, Connection
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import (
    AirflowNotFoundException,
    AirflowSecretsBackendAccessDenied,
)

SLACK, WEBHOOK = "platelake_slack", "platelake_webhook"
REPORT = "report"
"""The XCom that holds a job's report, of a job that failed too."""
SECONDS = 15


class Alert(BaseNotifier):
    """Tell how a run ended: its tasks' reconciliation, or what failed; and where to look."""

    def __init__(self, state: str) -> None:
        """`state`: success or failure."""
        super().__init__()
        self.state = state

    def notify(self, context: Any) -> None:
        """Tell both channels."""
        dag, run_id = context["dag"], context["run_id"]
        reports = _reports(context)
        said = {name: line for name, report in reports.items() if (line := sentence(report))}
        link = run_link(dag.dag_id, run_id)
        lines = [f"{dag.dag_id}: {self.state}", *(f"{name}: {line}" for name, line in said.items())]
        if self.state == "failure":
            lines.append(f"why: {context.get('reason') or 'unknown'}; {_failed(context)}")
        tell(
            "\n".join([*lines, link]),
            {
                "dag": dag.dag_id,
                "run": run_id,
                "state": self.state,
                "reports": reports,
                "link": link,
            },
        )


def tell_late(context: Any = None, **about: Any) -> None:
    """Tell that a run is not done so many hours after its time."""
    dag_id, run = about["dag_id"], (context or {}).get("dag_run") or {}
    if run.get("state") in ("success", "failed") or run.get("run_type") == "backfill":
        return  # That was told, or it is of a day long past and nobody waits for it.
    run_id = run.get("dag_run_id", "")
    link = run_link(dag_id, run_id)
    text = f"{dag_id}: missed\nnot done {about['hours']} hours after its time\n{link}"
    tell(text, {"dag": dag_id, "run": run_id, "state": "missed", "link": link})


def sentence(report: Mapping[str, Any]) -> str:
    """A job's report in a line: what went wrong, what was reconciled, or which model it made."""
    if "error" in report:
        return f"exit code {report['exit_code']}: {report['error']}"
    if "model" in report:
        return f"{report['model']} {report.get('version', '')} {report.get('reason', '')}".strip()
    files, rows = report.get("files", {}), report.get("rows", {})
    parts = []
    if any(job.startswith("ingest") for job in report.get("seconds", ())):
        parts.append(
            "{seen} files seen = {loaded} loaded + {duplicate} duplicate + {quarantined} "
            "quarantined; {known} known".format(**files)
        )
    if rows.get("read"):
        parts.append(
            "{read} rows read = {stored} stored + {quarantined} quarantined".format(**rows)
        )
    parts += [f"{count} rows of {name} in SQL" for name, count in report.get("sql", {}).items()]
    parts += [
        f"{name}: {of['files_before']} files of {of['mean_bytes_before']:,} bytes before, "
        f"{of['files_after']} of {of['mean_bytes_after']:,} after"
        for name, of in report.get("maintained", {}).items()
    ]
    return "; ".join(parts)


def tell(text: str, about: Mapping[str, Any]) -> None:
    """Send it to whoever is set; a channel that fails does not silence the other."""
    for channel, send in ((SLACK, _to_slack), (WEBHOOK, _to_webhook)):
        try:
            connection = Connection.get(channel)
        except (AirflowNotFoundException, AirflowSecretsBackendAccessDenied):
            continue  # The latter: to tell what is late, only connections of the environment.
        try:
            send(connection, text, about)
        except Exception:
            logging.getLogger(__name__).exception("the alert did not reach %s", channel)


def run_link(dag_id: str, run_id: str) -> str:
    """Where the run is seen in Airflow's pages."""
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    return f"{base}/dags/{dag_id}" + (f"/runs/{quote(run_id, safe='')}" if run_id else "")


def _reports(context: Any) -> dict[str, dict[str, Any]]:
    """What the run's tasks have reported, by task, in their order."""
    ti, dag = context.get("ti"), context["dag"]
    if ti is None:
        return {}
    names = [task.task_id for task in dag.topological_sort()]
    found = ti.xcom_pull(task_ids=names, key=REPORT)
    return {name: report for name, report in zip(names, found, strict=True) if report}


def _failed(context: Any) -> str:
    ti, dag = context.get("ti"), context["dag"]
    if ti is None:
        return "no task was run"
    states = ti.get_task_states(dag.dag_id, run_ids=[context["run_id"]])[context["run_id"]]
    failed = [name for name, state in states.items() if state == "failed"]
    return f"failed: {', '.join(failed)}" if failed else "no task failed"


def _to_slack(connection: Any, text: str, about: Mapping[str, Any]) -> None:
    from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier

    SlackWebhookNotifier(slack_webhook_conn_id=SLACK, text=text, timeout=SECONDS).notify({})


def _to_webhook(connection: Any, text: str, about: Mapping[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {connection.password}"} if connection.password else {}
    answer = httpx.post(
        connection.host, json={"text": text, **about}, headers=headers, timeout=SECONDS
    )
    answer.raise_for_status()
