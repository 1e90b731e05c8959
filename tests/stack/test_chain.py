"""A plant's week on the real stack: every DAG by the scheduler, and what came of it."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import expect, sync_playwright

from jobs.cli.jobs import JOBS
from lakehouse.delta.lake import Lake
from lakehouse.sql.summaries import SummaryStore
from lakehouse.stage import load_stage
from lakehouse.tables import MIRRORED, all_tables
from lakehouse.tables.lots import LOTS
from lakehouse.tables.readings import readings
from ml.registry import Registry
from tests.digest import digests
from tests.serving.test_browser import DONE, FLAGS, PROGRAM, TIMEOUT, inspect_upload
from tests.stack.conftest import STAGE
from tests.stack.real import BIN, ROOT, Sink, Stack, until
from tests.test_chain import mirrored

DAGS = {
    "readings": "0 19 * * *",
    "error_lists": "30 19 * * *",
    "photos": "30 20 * * *",
    "labels": "0 20 * * 4",
    "verdicts": None,
    "training": "0 22 * * 5",
    "maintenance": "0 3 * * 0",
    "backfill": None,
}
HISTORY = {"label_changes", "splits", "lot_verdicts", "photo_verdicts"}
"""Tables that tell of the way, or that only the DAGs make."""


def test_every_dag_is_there_as_it_should_be(stack: Stack, landed: Path) -> None:
    """By what Airflow has made of the files; the times are of Asia/Seoul."""
    airflow = stack.airflow
    until(lambda: len(airflow.get("/dags")["dags"]) == len(DAGS), 90, "the DAGs")
    assert airflow.get("/importErrors")["total_entries"] == 0
    for dag, cron in DAGS.items():
        about = airflow.get(f"/dags/{dag}/details")
        assert about["max_active_runs"] == 1 and about["catchup"] is False
        assert about["timezone"] == "Asia/Seoul" and "stage" in about["params"]
        assert about["doc_md"] and about["dag_run_timeout"]
        if cron:
            assert cron in about["timetable_summary"]
        for task in airflow.get(f"/dags/{dag}/tasks")["tasks"]:
            assert task["pool"] in ("lake", "training") and task["execution_timeout"]
            assert task["retries"] == 3 and task["retry_exponential_backoff"]
            assert task["operator_name"] == "LakeJob"
    slots = {pool["name"]: pool["slots"] for pool in airflow.get("/pools")["pools"]}
    assert slots["lake"] == slots["training"] == 1


def test_the_scheduler_runs_the_daily_dags_and_what_follows(
    stack: Stack, landed: Path, sink: Sink
) -> None:
    """Each at its own time, which was in the past; the list that came labels the lots."""
    for dag in ("readings", "error_lists", "photos", "labels", "verdicts"):
        stack.airflow.pause(dag, False)
    for dag in ("readings", "error_lists", "photos"):
        run = until(lambda dag=dag: stack.airflow.runs(dag), 60, dag)[0]
        assert run["run_type"] == "scheduled" and run["triggered_by"] == "timetable"
        assert stack.airflow.wait(dag, run["dag_run_id"]) == "success"
    runs = until(lambda: _by_assets(stack, "labels"), 60, "labels by an asset")
    assert stack.airflow.wait("labels", runs[0]["dag_run_id"]) == "success"
    runs = until(lambda: _by_assets(stack, "verdicts"), 60, "verdicts by an asset")
    assert stack.airflow.wait("verdicts", runs[0]["dag_run_id"]) == "success"
    _at_rest(stack)


def _by_assets(stack: Stack, dag: str) -> list[dict[str, Any]]:
    return [run for run in stack.airflow.runs(dag) if run["run_type"] == "asset_triggered"]


def _at_rest(stack: Stack) -> None:
    """Wait until no run is left."""

    def none() -> bool:
        states = ("queued", "running")
        return not stack.airflow.get("/dags/~/dagRuns", state=states)["total_entries"]

    until(none, 1500, "all runs")


def test_a_dag_file_is_parsed_in_less_than_a_second(stack: Stack) -> None:
    """Once what was started together with it, and the runs, leave it a processor."""
    for dag in DAGS:

        def seconds(dag: str = dag) -> float:
            return float(stack.airflow.get(f"/dags/{dag}/details")["last_parse_duration"])

        until(lambda seconds=seconds: seconds() < 1, 60, f"{dag}: parsed in {seconds()} s")


def test_people_are_told_with_the_reconciliation(stack: Stack, sink: Sink) -> None:
    for way in ("/webhook", "/slack/T0/B0/x"):
        for dag in ("readings", "error_lists", "photos", "labels", "verdicts"):
            until(lambda way=way, dag=dag: sink.told(dag, "success", by=way), 60, f"{dag} {way}")
    told = sink.told("readings", "success")[0]
    assert told["headers"]["Authorization"] == "Bearer a token"
    files = told["reports"]["ingest_readings"]["files"]
    rows = told["reports"]["ingest_readings"]["rows"]
    assert files["seen"] == files["loaded"] > 0 and rows["read"] == rows["stored"] > 0
    assert f"{files['seen']} files seen = {files['loaded']} loaded" in told["text"]
    assert told["link"].startswith(f"http://127.0.0.1:{stack.ports['AIRFLOW']}/dags/readings/runs/")
    assert told["link"] in told["text"]
    assert httpx.get(told["link"]).status_code == 200


def test_where_nothing_is_set_nobody_is_told_and_nothing_fails(stack: Stack, sink: Sink) -> None:
    env = {n: value for n, value in stack.env.items() if not n.startswith("AIRFLOW_CONN_PLATELAKE")}
    code = "from airflow_lake.alerts import tell; tell('readings: silence', {})"
    python = ROOT / ".venv-airflow" / "bin" / "python"
    subprocess.run([python, "-c", code], env={**env, "PYTHONPATH": str(ROOT / "dags")}, check=True)
    assert not sink.told("readings", "silence")


def test_the_cluster_has_what_a_laptop_has(stack: Stack, lake: Lake, laptop: Any) -> None:
    stage = load_stage(STAGE)
    here, there = digests(laptop(), stage), digests(lake, stage)
    assert {n: d for n, d in here.items() if n not in HISTORY} == {
        n: d for n, d in there.items() if n not in HISTORY
    }


def rows_of(file: Path) -> int:
    """Rows of a sensor file, by its lines."""
    return len(file.read_text("utf-8-sig").splitlines()) - 1


def test_mariadb_has_what_the_lake_has(stack: Stack, lake: Lake) -> None:
    assert_mirrored(stack, lake)


def assert_mirrored(stack: Stack, lake: Lake) -> None:
    """Every mirrored table: the same rows, in every column."""
    store = SummaryStore(stack.env["PLATELAKE_SQL_URL"])
    try:
        for table in MIRRORED:
            assert mirrored(lake, store, table), table.name
    finally:
        store.close()


def task_state(stack: Stack, dag: str, run: str, task: str) -> str | None:
    state: str | None = stack.airflow.tasks(dag, run)[task]["state"]
    return state


def test_training_makes_champions_in_the_mlflow_server(stack: Stack, sink: Sink) -> None:
    """Two folds and one epoch, asked for as parameters of the run. That of last Friday, with all
    folds, is begun by the scheduler, and given up."""
    stack.airflow.pause("training", False)
    (last_friday,) = until(lambda: stack.airflow.runs("training"), 60, "training")
    trees = partial(task_state, stack, "training", last_friday["dag_run_id"], "train_trees")
    until(lambda: trees() == "running", 120, "its first task")
    stack.airflow.fail("training", last_friday["dag_run_id"])
    run = stack.airflow.run("training", folds=2)
    registry = Registry(stack.env["PLATELAKE_MLFLOW_URI"])
    for kind in ("lots", "photos"):
        champion = registry.version(f"{STAGE}-{kind}")
        assert champion, kind
        assert stack.airflow.report("training", run, f"promote_{kind}")["action"] == "promote"
    assert f"{STAGE}-lots" in until(lambda: sink.told("training", "success"), 60, "told")[0]["text"]


def test_verdicts_follow(stack: Stack, lake: Lake) -> None:
    stack.airflow.run("verdicts")
    tables = {table.name: table for table in all_tables(load_stage(STAGE))}
    assert lake.count(tables["lot_verdicts"]) == lake.count(LOTS)
    assert lake.count(tables["photo_verdicts"]) == lake.count(tables["pictures"]) > 0


def test_maintenance_says_what_it_did(stack: Stack, lake: Lake, sink: Sink) -> None:
    stage = load_stage(STAGE)
    before = digests(lake, stage)
    stack.airflow.pause("maintenance", False)
    (run,) = until(lambda: stack.airflow.runs("maintenance"), 60, "maintenance")
    assert stack.airflow.wait("maintenance", run["dag_run_id"]) == "success"
    figures = stack.airflow.report("maintenance", run["dag_run_id"], "maintain")["maintained"]
    files = figures["files"]
    assert files["files_before"] > files["files_after"] == 1
    assert files["mean_bytes_before"] < files["mean_bytes_after"]
    assert digests(lake, stage) == before
    until(lambda: sink.told("maintenance", "success"), 60, "told")
    print("files and mean bytes, before and after:", figures)


def test_a_run_that_comes_long_after_its_time_is_told(sink: Sink) -> None:
    """These were: last week's labels and maintenance were not there three hours later."""
    weekly = ("labels", "maintenance")  # Whenever this runs, one of them is late.
    told = until(lambda: [one for dag in weekly for one in sink.told(dag, "missed")], 60, "missed")
    assert "not done 3 hours after its time" in told[0]["text"]
    assert re.search("/dags/(labels|maintenance)/runs/scheduled__", told[0]["link"])


def test_the_cluster_page_submits_each_job(stack: Stack, lake: Lake) -> None:
    """The commands of the page, as they stand there. They find nothing new, so the tables stay
    as they are."""
    stage = load_stage(STAGE)
    page = (ROOT / "docs" / "how-to" / "run-on-a-cluster.md").read_text()
    commands = re.findall(r"^spark-submit (jobs/\S+\.py) (.*)$", page, re.MULTILINE)
    assert {f"jobs/{name}.py" for name in JOBS} <= {job for job, _ in commands}
    before = digests(lake, stage)
    for job, options in commands:
        # These the DAGs have run; a training just as it stands there takes an hour.
        if not job.endswith(("train.py", "maintain.py")):
            stack.shell(f"spark-submit {job} {options}".replace("LANDING", str(stack.landing)))
    assert digests(lake, stage) == before


def test_an_operator_gets_a_verdict_in_a_browser(stack: Stack, plant: Path) -> None:
    """From the app of the stack: the champion of MLflow, the lake on HDFS, MariaDB."""
    command = [BIN / "platelake", "users", "add", "kim", "--role", "operator"]
    made = subprocess.run(command, env=stack.env, capture_output=True, text=True, check=True)
    password = re.search(r"with the password (\S+),", made.stdout)
    assert password, made.stdout
    photo = sorted((plant / "photos").rglob("*.png"))[0]
    address = f"http://127.0.0.1:{stack.ports['APP']}"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        page = chromium.new_context(base_url=address, locale="en-GB").new_page()
        page.set_default_timeout(TIMEOUT)
        page.goto("/login?next=/inspect")
        page.fill("[name=name]", "kim")
        page.fill("[name=password]", password[1])
        page.press("[name=password]", "Enter")
        inspect_upload(page, photo)
        expect(page.locator(DONE)).to_contain_text(re.compile("Good|Bad|Check by hand"))
        chromium.close()


def test_files_are_collected_from_hdfs(stack: Stack, lake: Lake, plant: Path) -> None:
    """Into a lake of its own; archived once its rows are read back. One that grows is left."""
    import fsspec

    hdfs = fsspec.filesystem("hdfs", host="platelake")
    file, growing = sorted((plant / "sensor").iterdir())[:2]
    hdfs.makedirs("/landing/sensor", exist_ok=True)
    hdfs.put_file(str(file), f"/landing/sensor/{file.name}")
    where = ["--landing", "hdfs://platelake/landing", "--lake", "hdfs://platelake/collected"]
    stack.env["PLATELAKE_AFTER_INGEST"] = "archive"
    try:
        with written_slowly(growing, hdfs, f"/landing/sensor/{growing.name}"):
            said = stack.submit("jobs/ingest_readings.py", "--stage", STAGE, *where)
    finally:
        del stack.env["PLATELAKE_AFTER_INGEST"]
    assert f'"file": "sensor/{growing.name}"' in said and "still growing" in said
    found = Lake("hdfs://platelake/collected", STAGE, lambda: None)  # type: ignore[arg-type,return-value]
    assert found.count(readings(load_stage(STAGE))) == rows_of(file)
    archived = f"/landing/platelake-archived/sensor/{file.name}"
    assert sorted(hdfs.find("/landing")) == [archived, f"/landing/sensor/{growing.name}"]
    assert hdfs.cat_file(archived) == file.read_bytes()


def test_lineage_is_kept(stack: Stack) -> None:
    events = (stack.folder / "lineage" / "airflow.jsonl").read_text().splitlines()
    assert {"START", "COMPLETE"} <= {json.loads(line)["eventType"] for line in events}


@contextmanager
def written_slowly(file: Path, there: Any, path: str) -> Iterator[None]:
    """Meanwhile the file's content comes there, some bytes at a time."""
    content, over = file.read_bytes(), threading.Event()
    there.pipe_file(path, content[:100])

    def write() -> None:
        for size in count(200, 100):
            if over.wait(0.5):
                return
            there.pipe_file(path, content[:size])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()
