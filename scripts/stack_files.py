"""The files of `make stack`: ports that are free, passwords, and each part's own configuration.

All lie in the stack's folder. Ports and passwords are chosen once and kept; a port that somebody
else has taken meanwhile is chosen anew. `env` has what a shell needs to use the stack by hand.
"""

import base64
import getpass
import json
import os
import re
import secrets
import shlex
import socket
import tempfile
from hashlib import sha256
from pathlib import Path
from string import Template
from urllib.parse import quote

from stack_install import AIRFLOW_VENV, ROOT, VENV, jar, mariadbd

from lakehouse.spark.installed import jars_of
from lakehouse.spark.java import find_java

PORTS = (
    *("NAMENODE", "NAMENODE_PAGES", "SPARK", "SPARK_PAGES"),
    *("MARIADB", "MLFLOW", "AIRFLOW", "APP"),
)
PASSWORDS = ("mariadb", "mlflow", "spark", "airflow", "airflow_tokens", "airflow_pages")
FOLDERS = (
    *("conf/hadoop", "conf/spark", "hdfs", "lineage", "logs", "mlflow", "app", "landing"),
    *("spark/worker-1", "spark/worker-2", "airflow"),
)


def write_files(stack: Path) -> dict[str, str]:
    """Make the stack's folder complete; the environment in which its processes run."""
    for folder in FOLDERS:
        (stack / folder).mkdir(parents=True, exist_ok=True)
    stack.chmod(0o700)  # There are passwords and the plant's data in it.
    ports = _kept_ports(stack / "ports.json")
    passwords = _kept_passwords(stack / "passwords.json")
    places = _places(stack, ports)
    own = {**_platelake(places, passwords), **_airflow(places, passwords)}
    for name in ("hadoop/core-site.xml", "hadoop/hdfs-site.xml", "mariadb.cnf"):
        text = (ROOT / "conf" / "stack" / Path(name).name).read_text()
        _write(stack / "conf" / name, Template(text).substitute(places))
    _write(stack / "conf" / "mariadb.sql", _databases(passwords))
    _write(
        stack / "conf" / "spark" / "spark-defaults.conf",
        _spark_defaults(places, passwords["spark"]),
    )
    log4j = (ROOT / "conf" / "log4j2.properties").read_text()
    _write(stack / "conf" / "spark" / "log4j2.properties", log4j)
    _write(stack / "airflow" / "passwords.json", json.dumps({"admin": passwords["airflow"]}))
    _write(stack / "conf" / "supervisord.conf", _supervisor(stack, places))
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(own.items())]
    about = "# To use the stack by hand: `. stack/env`. Written at each start.\n"
    _write(stack / "env", about + "".join(lines))
    return {**os.environ, **places, **own}


def _kept_ports(file: Path) -> dict[str, str]:
    ports: dict[str, int] = json.loads(file.read_text()) if file.is_file() else {}
    for name in PORTS:
        if name not in ports or not _is_free(ports[name]):
            ports[name] = _free_port(set(ports.values()))
    _write(file, json.dumps(ports))
    return {f"PORT_{name}": str(port) for name, port in ports.items()}


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_port(taken: set[int]) -> int:
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
        if port not in taken:
            return port


def _kept_passwords(file: Path) -> dict[str, str]:
    kept: dict[str, str] = json.loads(file.read_text()) if file.is_file() else {}
    made = {name: kept.get(name) or secrets.token_urlsafe(32) for name in PASSWORDS}
    key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    made["airflow_fernet"] = kept.get("airflow_fernet") or key
    _write(file, json.dumps(made))
    return made


def _places(stack: Path, ports: dict[str, str]) -> dict[str, str]:
    """What the templates name. Sockets lie in a short folder: their paths may have 107 letters."""
    short = Path(tempfile.gettempdir()) / f"platelake-{sha256(bytes(stack)).hexdigest()[:12]}"
    short.mkdir(mode=0o700, exist_ok=True)
    if short.stat().st_uid != os.getuid():
        raise SystemExit(f"{short} belongs to somebody else; set TMPDIR to a folder of your own")
    jars = f"{jars_of(VENV)}/*"
    hadoop = (str(stack / "conf" / "hadoop"), str(jar("hadoop-client-minicluster")), jars)
    return {
        **ports,
        "STACK": str(stack),
        "ME": getpass.getuser(),
        "SUPERVISOR_SOCKET": str(short / "supervisor.sock"),
        "MARIADB_SOCKET": str(short / "mariadb.sock"),
        "JAVA": str(find_java().home / "bin" / "java"),
        "VENV": str(VENV),
        "AIRFLOW_VENV": str(AIRFLOW_VENV),
        "MARIADBD": mariadbd(),
        "HDFS_CLASSPATH": ":".join(hadoop),
    }


def _platelake(places: dict[str, str], passwords: dict[str, str]) -> dict[str, str]:
    """What jobs, MLflow and the app read."""
    database = f"127.0.0.1:{places['PORT_MARIADB']}"
    user, mlflow = (quote(passwords[name], safe="") for name in ("mariadb", "mlflow"))
    stack = places["STACK"]
    return {
        "PLATELAKE_SETTINGS": str(ROOT / "conf" / "cluster.toml"),
        "PLATELAKE_SQL_URL": f"mysql+pymysql://platelake:{user}@{database}/platelake",
        "PLATELAKE_MLFLOW_URI": f"http://127.0.0.1:{places['PORT_MLFLOW']}",
        "PLATELAKE_APP_FOLDER": f"{stack}/app",
        "MLFLOW_BACKEND_STORE_URI": f"mysql+pymysql://mlflow:{mlflow}@{database}/mlflow",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # Its background jobs are of no use here.
        "HADOOP_CONF_DIR": f"{stack}/conf/hadoop",
        "SPARK_CONF_DIR": f"{stack}/conf/spark",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "JAVA_HOME": str(Path(places["JAVA"]).parent.parent),
        "PATH": f"{VENV / 'bin'}:{AIRFLOW_VENV / 'bin'}:{os.environ['PATH']}",
    }


def _airflow(places: dict[str, str], passwords: dict[str, str]) -> dict[str, str]:
    """Airflow's configuration, its connections and the variables of the DAGs."""
    stack, address = places["STACK"], f"http://127.0.0.1:{places['PORT_AIRFLOW']}"
    master = {"conn_type": "spark", "host": "spark://127.0.0.1", "port": int(places["PORT_SPARK"])}
    lineage = {"type": "file", "log_file_path": f"{stack}/lineage/airflow.jsonl", "append": True}
    configuration = {
        "core": {
            "dags_folder": str(ROOT / "dags"),
            "default_timezone": "Asia/Seoul",
            "executor": "LocalExecutor",
            "parallelism": "4",
            "load_examples": "False",
            "execution_api_server_url": f"{address}/execution/",
            "fernet_key": passwords["airflow_fernet"],
            "simple_auth_manager_users": "admin:admin",
            "simple_auth_manager_passwords_file": f"{stack}/airflow/passwords.json",
        },
        "database": {"sql_alchemy_conn": f"sqlite:///{stack}/airflow/airflow.db"},
        "api": {"base_url": address, "secret_key": passwords["airflow_pages"]},
        "api_auth": {"jwt_secret": passwords["airflow_tokens"]},
        "logging": {"base_log_folder": f"{stack}/logs/airflow"},
        # A task of a scheduler that died is begun anew after a minute, not after five.
        "scheduler": {
            "orphaned_tasks_check_interval": "60",
            "task_instance_heartbeat_timeout": "60",
        },
        "openlineage": {"namespace": "platelake", "transport": json.dumps(lineage)},
        "usage_data_collection": {"enabled": "False"},
    }
    return {
        "AIRFLOW_HOME": f"{stack}/airflow",
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(master),
        "AIRFLOW_VAR_PLATELAKE_HOME": str(ROOT),
        "AIRFLOW_VAR_PLATELAKE_LANDING": f"{stack}/landing",
        **{
            f"AIRFLOW__{section.upper()}__{key.upper()}": value
            for section, keys in configuration.items()
            for key, value in keys.items()
        },
    }


def _databases(passwords: dict[str, str]) -> str:
    """What MariaDB runs at each start, before it lets anybody in."""
    lines = []
    for name, password in (("platelake", "mariadb"), ("mlflow", "mlflow")):
        lines += [
            f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4;",
            f"CREATE USER IF NOT EXISTS {name}@'127.0.0.1' IDENTIFIED BY '{passwords[password]}';",
            f"GRANT ALL ON {name}.* TO {name}@'127.0.0.1';",
        ]
    return "\n".join(lines) + "\n"


def _spark_defaults(places: dict[str, str], secret: str) -> str:
    """Of a setting that stands there twice, Spark takes the last.

    Executors map the archive of Spark's classes as the driver does: that halves their start.
    """
    jars = Path(places["HDFS_CLASSPATH"].split(":")[-1]).parent
    installed = (jars.parent / "conf" / "spark-defaults.conf").read_text()
    archive = re.search(r"^spark\.driver\.defaultJavaOptions (.+)$", installed, re.MULTILINE)
    own = {
        "spark.master": f"spark://127.0.0.1:{places['PORT_SPARK']}",
        "spark.driver.host": "127.0.0.1",
        "spark.pyspark.python": f"{VENV}/bin/python",
        "spark.executor.extraClassPath": f"{jars}/*",
        **({"spark.executor.defaultJavaOptions": archive[1]} if archive else {}),
        # Any user of the machine could have an application run as this one otherwise.
        "spark.authenticate": "true",
        "spark.authenticate.secret": secret,
        "spark.worker.cleanup.enabled": "true",  # Copies of the jars, of applications that ended.
        "spark.worker.cleanup.appDataTtl": "86400",
        # Not by spark.jars: the driver alone needs it, and each executor would copy its 43 MB.
        "spark.driver.extraClassPath": f"{jars}/*:{jar('openlineage-spark')}",
        "spark.extraListeners": "io.openlineage.spark.agent.OpenLineageSparkListener",
        "spark.openlineage.namespace": "platelake",
        "spark.openlineage.transport.type": "file",
        "spark.openlineage.transport.location": f"{places['STACK']}/lineage/spark.jsonl",
    }
    cluster = (ROOT / "conf" / "spark-cluster.conf").read_text()
    return "\n".join([installed, cluster, *(f"{name} {value}" for name, value in own.items())])


def _supervisor(stack: Path, places: dict[str, str]) -> str:
    """Supervisord's configuration from conf/stack/Procfile."""
    parts = [
        f"[supervisord]\nnodaemon=true\nsilent=true\nlogfile={stack}/logs/supervisord.log\n"
        f"pidfile={stack}/supervisord.pid\n",
        f"[unix_http_server]\nfile={places['SUPERVISOR_SOCKET']}\nchmod=0700\n",
        f"[supervisorctl]\nserverurl=unix://{places['SUPERVISOR_SOCKET']}\n",
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n",
    ]
    for name, command in processes(places).items():
        parts.append(
            f"[program:{name}]\ncommand={command}\nautostart=false\nautorestart=true\n"
            f"stopasgroup=true\nkillasgroup=true\nstopwaitsecs=20\nredirect_stderr=true\n"
            f"directory={stack}\nstdout_logfile={stack}/logs/{name}.log\n"
        )
    return "\n".join(parts)


def processes(places: dict[str, str]) -> dict[str, str]:
    """Name and command of each process."""
    text = (ROOT / "conf" / "stack" / "Procfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pairs = (line.partition(": ") for line in lines)
    return {name: Template(command).substitute(places) for name, _, command in pairs}


def _write(path: Path, text: str) -> None:
    """Only for its owner to read."""
    path.touch(mode=0o600)
    path.write_text(text)
