"""The real stack on this machine: `make stack`.

    .venv/bin/python scripts/stack.py [FOLDER]

HDFS, Spark standalone, MariaDB, MLflow, Airflow and the app, each as its own process on a loopback
port that is free. Shows how each is; Ctrl-C stops them all. The data stay in the folder.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import fsspec
from stack_files import processes, write_files
from stack_install import AIRFLOW_VENV, ROOT, install, mariadbd, run_step

from lakehouse.errors import PlatelakeError

START_SECONDS = 180
AIRFLOW = ("airflow-api", "airflow-scheduler", "airflow-dag-processor")


def main(argv: list[str]) -> int:
    """Start the stack in the folder, show its health, and stop it on Ctrl-C."""
    folder = Path(argv[0] if argv else "stack").resolve()
    check(folder)
    install()
    env = write_files(folder)
    prepare(folder, env)
    for sign in (signal.SIGTERM, signal.SIGHUP):  # The latter: its terminal was closed.
        signal.signal(sign, lambda *_: _interrupt())
    supervisor = subprocess.Popen(
        [AIRFLOW_VENV / "bin" / "supervisord", "-c", folder / "conf" / "supervisord.conf"],
        env=env,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is ours: we stop them in order.
    )
    try:
        start(env)
        show_addresses(env)
        watch(env, supervisor)
        say(f"supervisord has ended; see {folder}/logs/supervisord.log")
        return 1
    except KeyboardInterrupt:
        say("stopping")
        return 0
    finally:
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # Once is enough.
            signal.signal(sign, signal.SIG_IGN)
        supervisor.terminate()
        supervisor.wait()
        end_jobs(env, supervisor.pid)


def end_jobs(env: dict[str, str], session: int) -> None:
    """End what supervisor does not know: jobs of Airflow, workers of a scheduler that was killed.

    The former have sessions of their own, and our surroundings. The latter the reverse, since they
    write their title over them; they heed SIGTERM only from a scheduler that lives.
    """
    mark = f"SUPERVISOR_SOCKET={env['SUPERVISOR_SOCKET']}".encode()
    for file in Path("/proc").glob("[0-9]*/environ"):
        process = int(file.parent.name)
        with contextlib.suppress(OSError):  # Gone meanwhile, or somebody else's.
            if os.getsid(process) == session:
                os.kill(process, signal.SIGKILL)
            elif mark in file.read_bytes().split(b"\0"):
                os.kill(process, signal.SIGTERM)


def check(folder: Path) -> None:
    """Say what would make the start fail before anything is fetched or made."""
    if any(character.isspace() or character == "%" for character in f"{ROOT}{folder}"):
        raise SystemExit(f"the stack needs paths without spaces and %: {ROOT} and {folder}")
    mariadbd()
    control = AIRFLOW_VENV / "bin" / "supervisorctl"
    conf = folder / "conf" / "supervisord.conf"
    if control.is_file() and conf.is_file():
        asked = [str(control), "-c", str(conf), "pid"]
        if subprocess.run(asked, capture_output=True).returncode == 0:
            raise SystemExit(
                f"a stack runs in {folder} already. Stop it there with Ctrl-C, or by\n"
                f"  {control} -c {conf} shutdown\nor name another folder by STACK=DIR"
            )


def prepare(folder: Path, env: dict[str, str]) -> None:
    """What is done once, before the first start: MariaDB's data, and HDFS's own file system."""
    if not (folder / "mariadb").is_dir():
        say("making MariaDB's data folder")
        options = f"--defaults-file={folder}/conf/mariadb.cnf"
        part = folder / "mariadb.part"  # What is cut off is begun anew.
        shutil.rmtree(part, ignore_errors=True)
        run_step(["mariadb-install-db", options, f"--datadir={part}", "--skip-test-db"], env)
        part.rename(folder / "mariadb")
    if not (folder / "hdfs" / "name" / "current" / "VERSION").is_file():
        say("formatting HDFS")
        name_node = "org.apache.hadoop.hdfs.server.namenode.NameNode"
        java = [env["JAVA"], "-cp", env["HDFS_CLASSPATH"], name_node]
        run_step([*java, "-format", "-force", "-nonInteractive"], env)


def start(env: dict[str, str]) -> None:
    """Start all, each when what it needs is there, and wait until all are well."""
    until(lambda: control(env, "pid").returncode == 0, "supervisord")
    first = [name for name in processes(env) if name not in (*AIRFLOW, "mlflow", "app")]
    control(env, "start", *first)
    prepare_airflow(env)
    await_well(first, env)
    make_folders(env)
    control(env, "start", *AIRFLOW, "mlflow")
    await_well(["mlflow"], env)
    control(env, "start", "app")
    await_well([*AIRFLOW, "app"], env)


def await_well(names: Sequence[str], env: dict[str, str]) -> None:
    """Wait for these, and say so."""
    for name in names:
        until(partial(is_well, name, env), name)
        say(f"{name} is well")


def prepare_airflow(env: dict[str, str]) -> None:
    """Airflow's database, and the pools of its tasks."""
    say("bringing Airflow's database up to date")
    run_step([AIRFLOW_VENV / "bin" / "airflow", "db", "migrate"], env)
    pools = {"lake": {"slots": 1, "description": "Jobs that write the lake's tables"}}
    file = Path(env["STACK"], "airflow", "pools.json")
    file.write_text(json.dumps(pools | {"training": {"slots": 1, "description": "Trainings"}}))
    run_step([AIRFLOW_VENV / "bin" / "airflow", "pools", "import", file], env)


def make_folders(env: dict[str, str]) -> None:
    """The folders that the lake and Spark's event logs want to be there."""
    os.environ["HADOOP_CONF_DIR"] = env["HADOOP_CONF_DIR"]
    hdfs = fsspec.filesystem("hdfs", host="platelake")
    for folder in ("/lake", "/spark-logs", "/landing"):
        hdfs.makedirs(folder, exist_ok=True)


def watch(env: dict[str, str], supervisor: "subprocess.Popen[bytes]") -> None:
    """Say whenever one is no longer well, or is well again."""
    before = dict.fromkeys(processes(env), True)
    while supervisor.poll() is None:
        time.sleep(5)
        now = health(env)
        for name, well in now.items():
            if well != before[name]:
                say(f"{name} is {'well again' if well else 'not well'}; logs/{name}.log")
        before = now


def health(env: dict[str, str]) -> dict[str, bool]:
    """Whether each process does its work."""
    return {name: is_well(name, env) for name in processes(env)}


def is_well(name: str, env: dict[str, str]) -> bool:
    """Ask the process itself, or who knows of it."""
    with contextlib.suppress(OSError, URLError, HTTPException, ValueError, LookupError, TypeError):
        return CHECKS[name](env)
    return False


def _name_node(env: dict[str, str]) -> dict[str, Any]:
    beans = "/jmx?qry=Hadoop:service=NameNode,name="
    info = get(env, "NAMENODE_PAGES", f"{beans}NameNodeInfo")["beans"][0]
    live = json.loads(info["LiveNodes"])
    return {"safe_mode": info["Safemode"], "live": len(live)}


def _airflow(part: str) -> Callable[[dict[str, str]], bool]:
    def check(env: dict[str, str]) -> bool:
        found = get(env, "AIRFLOW", "/api/v2/monitor/health")[part]["status"]
        return bool(found == "healthy")

    return check


def _mariadb(env: dict[str, str]) -> bool:
    with socket.create_connection(("127.0.0.1", int(env["PORT_MARIADB"])), timeout=2) as server:
        return bool(server.recv(64))


def _workers(env: dict[str, str]) -> int:
    return int(get(env, "SPARK_PAGES", "/json/")["aliveworkers"])


# Who knows of workers and DataNodes knows only how many there are: of two, neither is well alone.
CHECKS: dict[str, Callable[[dict[str, str]], bool]] = {
    "namenode": lambda env: not _name_node(env)["safe_mode"],
    "datanode-1": lambda env: _name_node(env)["live"] >= 2,
    "datanode-2": lambda env: _name_node(env)["live"] >= 2,
    "spark-master": lambda env: get(env, "SPARK_PAGES", "/json/")["status"] == "ALIVE",
    "spark-worker-1": lambda env: _workers(env) >= 2,
    "spark-worker-2": lambda env: _workers(env) >= 2,
    "mariadb": _mariadb,
    "airflow-api": _airflow("metadatabase"),
    "airflow-scheduler": _airflow("scheduler"),
    "airflow-dag-processor": _airflow("dag_processor"),
    "mlflow": lambda env: get(env, "MLFLOW", "/version", as_json=False) is not None,
    "app": lambda env: get(env, "APP", "/healthz", as_json=False) is not None,
}


def get(env: dict[str, str], port: str, path: str, as_json: bool = True) -> Any:
    """What the server on that port answers."""
    with urlopen(f"http://127.0.0.1:{env[f'PORT_{port}']}{path}", timeout=5) as answer:
        body = answer.read()
    return json.loads(body) if as_json else body


def show_addresses(env: dict[str, str]) -> None:
    """Where a person finds what."""
    pages = {"Airflow": "AIRFLOW", "MLflow": "MLFLOW", "the app": "APP"}
    pages |= {"Spark": "SPARK_PAGES", "HDFS": "NAMENODE_PAGES"}
    for name, port in pages.items():
        say(f"{name} is at http://127.0.0.1:{env[f'PORT_{port}']}/")
    say(f"Airflow's user is admin, the password is in {env['STACK']}/airflow/passwords.json")
    say(f"by hand: . {env['STACK']}/env; files of the plant go to {env['STACK']}/landing")
    say("Ctrl-C stops all of it; the data stay")


def control(env: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    """A word to supervisor, such as `stop datanode-1`."""
    ctl = str(AIRFLOW_VENV / "bin" / "supervisorctl")
    conf = f"{env['STACK']}/conf/supervisord.conf"
    return subprocess.run([ctl, "-c", conf, *words], env=env, capture_output=True, text=True)


def until(done: Callable[[], bool], what: str) -> None:
    """Wait for it; raises SystemExit where it does not come."""
    end = time.monotonic() + START_SECONDS
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"{what} is not well after {START_SECONDS} s; see logs/{what}.log")
        time.sleep(0.5)


def say(text: str) -> None:
    """One line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def _interrupt() -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except PlatelakeError as error:
        sys.exit(str(error))
