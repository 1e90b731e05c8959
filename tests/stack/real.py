"""The real stack as a test sees it: its processes, its Airflow, and who is told of its runs."""

import contextlib
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from tests.conftest import BY_SPARK

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
ENDED = ("success", "failed")


class Sink:
    """An HTTP server that keeps what it is sent."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = dict(self.headers)
                sink.messages.append({"path": self.path, "headers": headers, **json.loads(body)})
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def told(self, dag: str, state: str, *, by: str = "/webhook") -> list[dict[str, Any]]:
        """The messages of that DAG and state which came that way."""
        return [
            one
            for one in self.messages
            if one["path"].startswith(by) and one["text"].startswith(f"{dag}: {state}")
        ]


class Stack:
    """A running `make stack`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.landing = folder / "landing"
        words = shlex.split((folder / "env").read_text(), comments=True)
        pairs = (word.partition("=") for word in words if "=" in word)
        self.env = {**surroundings(), **{name: value for name, _, value in pairs}}
        self.env["PYTHONPATH"] = str(ROOT)
        self.ports = json.loads((folder / "ports.json").read_text())
        self.airflow = Airflow(f"http://127.0.0.1:{self.ports['AIRFLOW']}", self._password())

    def _password(self) -> str:
        found: str = json.loads((self.folder / "airflow" / "passwords.json").read_text())["admin"]
        return found

    def submit(self, job: str, *args: str, code: int | None = 0) -> str:
        """A job by spark-submit, as a data engineer does; what it said."""
        return self.finish(self.start(job, *args), code)

    def start(
        self, job: str, *args: str, conf: Sequence[str] = (), by_spark: bool = False
    ) -> "subprocess.Popen[str]":
        """A job by spark-submit that is under way, with these settings of Spark besides.

        `by_spark`: Spark computes what is otherwise too little for it.
        """
        env = {**self.env, **(BY_SPARK if by_spark else {})}
        settings = [word for one in conf for word in ("--conf", one)]
        command = [str(BIN / "spark-submit"), *settings, str(ROOT / job), *args]
        pipe, both = subprocess.PIPE, subprocess.STDOUT  # Spark gives a driver's errors to either.
        return subprocess.Popen(
            command, env=env, cwd=self.folder, text=True, stdout=pipe, stderr=both
        )

    def finish(self, job: "subprocess.Popen[str]", code: int | None = 0) -> str:
        """Wait for the job; what it said. Fails unless it ended with that code (None: any)."""
        said = job.communicate(timeout=600)[0]
        assert code is None or job.returncode == code, said[-4000:]
        return said

    def shell(self, command: str) -> None:
        """A line as a person types it, in a shell of the stack and the project's own folder."""
        line = f". {self.folder}/env && {command}"
        env, pipe = surroundings(), subprocess.PIPE
        job = subprocess.Popen(
            ["bash", "-c", line],
            env=env,
            cwd=ROOT,
            text=True,
            stdout=pipe,
            stderr=subprocess.STDOUT,
        )
        self.finish(job)

    def ctl(self, *words: str) -> str:
        """A word to the process manager."""
        program = ROOT / ".venv-airflow" / "bin" / "supervisorctl"
        command = [program, "-c", self.folder / "conf" / "supervisord.conf", *words]
        return subprocess.run(command, env=self.env, capture_output=True, text=True).stdout

    def pid(self, name: str) -> int:
        """The process of that name."""
        return int(self.ctl("pid", name))

    def kill(self, name: str) -> None:
        """kill -9; the process manager starts it anew."""
        os.kill(self.pid(name), 9)

    def hdfs(self, *words: str) -> str:
        """An administrator's command, such as `-safemode enter`."""
        words = ("org.apache.hadoop.hdfs.tools.DFSAdmin", *words)
        command = ["java", "-cp", self.classpath(), *words]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def classpath(self) -> str:
        """Hadoop's, as the NameNode has it."""
        text = (self.folder / "conf" / "supervisord.conf").read_text()
        line = next(line for line in text.splitlines() if line.endswith("NameNode"))
        return line.split(" -cp ")[1].split()[0]


class Airflow:
    """Airflow's own interface."""

    def __init__(self, address: str, password: str) -> None:
        who = {"username": "admin", "password": password}
        token = httpx.post(f"{address}/auth/token", json=who).raise_for_status().json()
        self.http = httpx.Client(
            base_url=f"{address}/api/v2",
            headers={"Authorization": f"Bearer {token['access_token']}"},
            timeout=60,
        )

    def get(self, path: str, **params: Any) -> Any:
        return self.http.get(path, params=params).raise_for_status().json()

    def pause(self, dag: str, is_paused: bool) -> None:
        self.http.patch(f"/dags/{dag}", json={"is_paused": is_paused}).raise_for_status()

    def trigger(self, dag: str, **conf: Any) -> str:
        """A run of now; its id."""
        when = {"logical_date": datetime.now(UTC).isoformat()}
        made = self.http.post(f"/dags/{dag}/dagRuns", json={**when, "conf": conf})
        return str(made.raise_for_status().json()["dag_run_id"])

    def runs(self, dag: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"/dags/{dag}/dagRuns", limit=100)["dag_runs"]
        return found

    def tasks(self, dag: str, run: str) -> dict[str, dict[str, Any]]:
        """The run's tasks by name."""
        found = self.get(f"{self._path(dag, run)}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}

    def report(self, dag: str, run: str, task: str) -> dict[str, Any]:
        """What the task's job reported."""
        path = f"{self._path(dag, run)}/taskInstances/{task}/xcomEntries/report"
        found: dict[str, Any] = self.get(path, deserialize=True)["value"]
        return found

    def wait(self, dag: str, run: str, seconds: float = 1500) -> str:
        """How the run ends."""

        def ended() -> str:
            state = str(self.get(self._path(dag, run))["state"])
            return state if state in ENDED else ""

        return until(ended, seconds, f"{dag} {run}")

    def fail(self, dag: str, run: str) -> None:
        """Give the run up."""
        self.http.patch(self._path(dag, run), json={"state": "failed"}).raise_for_status()

    def run(self, dag: str, **conf: Any) -> str:
        """Trigger a run that must succeed; its id."""
        run = self.trigger(dag, **conf)
        assert self.wait(dag, run) == "success", self.tasks(dag, run)
        return run

    def clear(self, dag: str, run: str) -> None:
        """Have all of the run's tasks done again."""
        self.http.post(f"{self._path(dag, run)}/clear", json={"dry_run": False}).raise_for_status()

    def backfill(self, dag: str, day: str) -> str:
        """Airflow's own backfill of one day, of a run that was, too; its run, which has ended."""
        asked = {  # As `airflow backfill create --from-date DAY --to-date DAYT23:59` in Seoul.
            "dag_id": dag,
            "from_date": f"{day}T00:00:00+09:00",
            "to_date": f"{day}T23:59:00+09:00",
            "reprocess_behavior": "completed",
            "max_active_runs": 1,
        }
        made = self.http.post("/backfills", json=asked).raise_for_status().json()
        path = f"/backfills/{made['id']}"
        until(lambda: self.get(path)["completed_at"], 300, f"the backfill of {dag}")
        runs = [run for run in self.runs(dag) if run["run_type"] == "backfill"]
        return str(max(runs, key=lambda run: run["start_date"])["dag_run_id"])

    @staticmethod
    def _path(dag: str, run: str) -> str:
        return f"/dags/{dag}/dagRuns/{quote(run, safe='')}"


def until(found: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait for something that is true; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(1)
    return value


@contextlib.contextmanager
def running(folder: Path, sink: Sink) -> Iterator[Stack]:
    """`make stack` in that folder, with both channels of alerts to the sink, until the end."""
    slack = {"conn_type": "slackwebhook", "host": f"{sink.address}/slack", "password": "T0/B0/x"}
    hook = {"conn_type": "http", "host": f"{sink.address}/webhook", "password": "a token"}
    env = dict(
        surroundings(),
        AIRFLOW_CONN_PLATELAKE_SLACK=json.dumps(slack),
        AIRFLOW_CONN_PLATELAKE_WEBHOOK=json.dumps(hook),
    )
    command = [sys.executable, str(ROOT / "scripts" / "stack.py"), str(folder)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
            if "Ctrl-C stops" in line:
                break
        else:
            raise AssertionError("the stack does not start; what it said is above")
        threading.Thread(target=_pass_on, args=[process.stdout], daemon=True).start()
        try:
            yield Stack(folder)
        finally:
            session = int((folder / "supervisord.pid").read_text())
            process.terminate()
            process.wait(120)
            until(lambda: not _left_of(folder, session), 60, "the end of every process")


def surroundings() -> dict[str, str]:
    """What a person's shell has: no settings of other tests, nor of the stack."""
    mine = ("PLATELAKE_", "SPARK_CONF_DIR", "HADOOP_CONF_DIR", "AIRFLOW_")
    return {name: value for name, value in os.environ.items() if not name.startswith(mine)}


def _left_of(folder: Path, session: int) -> list[int]:
    """What still runs of the stack: of supervisor's session, or of Airflow's environment."""
    mark, found = f"AIRFLOW_HOME={folder}/airflow".encode(), []
    for file in Path("/proc").glob("[0-9]*/environ"):
        process = int(file.parent.name)
        with contextlib.suppress(OSError):  # Gone meanwhile, or somebody else's.
            given = file.read_bytes()  # Empty of one that has ended and waits to be noticed.
            if given and (os.getsid(process) == session or mark in given.split(b"\0")):
                found.append(process)
    return found


def _pass_on(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, end="", flush=True)
