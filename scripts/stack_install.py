"""What `make stack` needs beside the project's own environment: Airflow's, and two jars.

Airflow and the process manager get `.venv-airflow`, exactly as requirements-airflow.lock says. HDFS
is one jar that runs beside Spark's own; lineage is another. Their sums stand in
conf/stack/jars.sha256; `.venv/bin/python scripts/stack_install.py --record` writes them anew.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lakehouse.spark.installed import digest, listed

ROOT = Path(__file__).resolve().parent.parent
VENV = Path(sys.prefix)
AIRFLOW_VENV = ROOT / ".venv-airflow"
LOCK = ROOT / "requirements-airflow.lock"
JARS = AIRFLOW_VENV / "jars"
SUMS = ROOT / "conf" / "stack" / "jars.sha256"
PACKAGES = (
    "org.apache.hadoop:hadoop-client-minicluster:3.5.0",  # The Hadoop that Spark 4.2 brings.
    "io.openlineage:openlineage-spark_2.13:1.53.0",
)


def install() -> None:
    """Bring both up to date; nothing to do, nothing done."""
    stamp = AIRFLOW_VENV / ".made-from"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not (stamp.is_file() and stamp.read_text() == wanted):
        _install_airflow()
        stamp.write_text(wanted)
    if {name: digest(JARS / name) for name in listed(SUMS) if (JARS / name).is_file()} != listed(
        SUMS
    ):
        _install_jars()


def jar(start: str) -> Path:
    """The jar whose name begins like this."""
    return next(JARS / name for name in listed(SUMS) if name.startswith(start))


def mariadbd() -> str:
    """The path of the MariaDB server; raises SystemExit with the line that installs it."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    found = shutil.which("mariadbd", path=path)
    if found is None:
        raise SystemExit(
            "The stack needs a MariaDB server. Install it and run again: "
            "sudo apt-get install mariadb-server"
        )
    return found


def _install_airflow() -> None:
    _say("installing Airflow into .venv-airflow")
    env = dict(os.environ, UV_PYTHON_DOWNLOADS="never", UV_SYSTEM_CERTS="1")
    uv, python = str(VENV / "bin" / "uv"), str(AIRFLOW_VENV / "bin" / "python")
    run_step([sys.executable, "-m", "venv", "--clear", str(AIRFLOW_VENV)], env)
    locked = ["--require-hashes", str(LOCK)]
    sync = [uv, "pip", "sync", "--quiet", "--no-config", "--python", python, *locked]
    if subprocess.run(sync, env=env, stdin=subprocess.DEVNULL, capture_output=True).returncode:
        _say("uv could not; installing with pip")
        pip = [python, "-m", "pip", "install", "--quiet", "--no-input", "--no-deps"]
        run_step([*pip, "--require-hashes", "-r", str(LOCK)], env)


def _install_jars() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        found, wanted = _fetch(Path(scratch)), listed(SUMS)
        sums = {name: digest(path) for name, path in found.items()}
        if sums != wanted:
            raise SystemExit(
                f"The jars fetched are {sums}; conf/stack/jars.sha256 lists {wanted}. After a "
                "change of version: scripts/stack_install.py --record"
            )
        JARS.mkdir(exist_ok=True)
        for name, path in found.items():
            part = JARS / f".{name}.part"
            shutil.copyfile(path, part)
            part.replace(JARS / name)


def _fetch(scratch: Path) -> dict[str, Path]:
    """Let Spark download the packages; their own jars by name, without what they depend on."""
    _say(f"fetching {' and '.join(PACKAGES)}")
    nothing = scratch / "nothing.py"
    nothing.touch()
    submit = [str(VENV / "bin" / "spark-submit"), "--master", "local[1]"]
    ivy = ["--packages", ",".join(PACKAGES), "--conf", f"spark.jars.ivy={scratch / 'ivy'}"]
    run_step([*submit, *ivy, str(nothing)], dict(os.environ))
    artifacts = tuple(package.split(":")[1] for package in PACKAGES)
    files = (scratch / "ivy" / "jars").glob("*.jar")
    named = {path.name.split("_", 1)[1]: path for path in files}  # organisation_name-version.jar
    return {name: path for name, path in named.items() if name.startswith(artifacts)}


def run_step(command: Sequence[str | Path], env: dict[str, str]) -> None:
    """Run it; raises SystemExit with its last lines where it fails."""
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise SystemExit(f"{last}\n`{Path(command[0]).name}` failed; its last lines are above")


def _say(text: str) -> None:
    print(f"platelake: {text}", file=sys.stderr, flush=True)


def _record() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        found = _fetch(Path(scratch))
        SUMS.write_text("".join(f"{digest(found[n])}  {n}\n" for n in sorted(found)))


if __name__ == "__main__":
    _record() if sys.argv[1:] == ["--record"] else install()
