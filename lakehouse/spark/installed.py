"""What `make env` installs and `platelake doctor` checks: Delta's jars, the archive of classes.

It uses the standard library only, because `make env` calls it before anything is installed.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from lakehouse.errors import DISK_FULL
from lakehouse.spark.java import Java, find_java, java_of

ROOT = Path(__file__).resolve().parents[2]
SUMS = ROOT / "conf" / "jars.sha256"

NO_NETWORK = (
    *("Failed to establish a new connection", "NameResolutionError", "ConnectTimeoutError"),
    *("ProxyError", "ReadTimeoutError", "ConnectException", "UnknownHostException"),
    *("unresolved dependency:", "localCanonicalHostName"),
    *(
        "(from versions: none)",
        "NoRouteToHostException",
        "SocketTimeoutException",
        "HttpConnectTimeoutException",
    ),
)
"""Texts of pip and Spark that mean that a server does not answer."""


def why_not_fetched(said: str, source: str) -> str:
    """Return the one sentence that a person needs about a step's output; empty if unknown."""
    if any(sign in said for sign in DISK_FULL):
        return "the disk is full: make room, then run `make env` again"
    if any(sign in said for sign in NO_NETWORK):
        return (
            f"{source} does not answer, or lacks the package: check the network, then run "
            "`make env` again"
        )
    return ""


def spark_java(venv: Path) -> Java:
    """Return the Java that starts Spark: JAVA_HOME's, else the one that `make env` found.

    Raises PlatelakeError with one sentence if it cannot run Spark.
    """
    note = venv / "bin" / "find-spark-home"
    if os.environ.get("JAVA_HOME") or not note.is_file():
        return find_java()
    ask = ["sh", "-c", '. "$0" && printf %s "$JAVA_HOME"', str(note)]
    home = subprocess.run(ask, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    return java_of(home, f"{home}, which `make env` found,", "Run `make env`")


def jars_of(venv: Path) -> Path:
    """Return the folder of Spark's jars in an environment of this Python's version."""
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return venv / "lib" / python / "site-packages" / "pyspark" / "jars"


def listed(sums: Path = SUMS) -> dict[str, str]:
    """Return each jar's name and the sha256 that it must have."""
    pairs = (line.split() for line in sums.read_text().splitlines() if line.strip())
    return {name: sha256 for sha256, name in pairs}


def digest(path: Path) -> str:
    """Return the file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def jar_faults(jars: Path, sums: Path = SUMS) -> list[str]:
    """Return what is wrong with Delta's jars among Spark's: exactly the listed ones must exist."""
    wanted = listed(sums)
    faults = []
    for name in sorted({path.name for path in jars.glob("delta-*.jar")} | wanted.keys()):
        if not (jars / name).is_file():
            faults.append(f"{name} is missing")
        elif name not in wanted:
            faults.append(f"{name} is of another version")
        elif digest(jars / name) != wanted[name]:
            faults.append(f"{name} is not as it was published")
    return faults


def archive_of(venv: Path) -> tuple[Path, Path]:
    """Return the archive of Spark's classes, and the note that says what it was made from."""
    archive = venv / "spark-classes.jsa"
    return archive, archive.with_suffix(".made-from")


def archive_made_from(java: Java, jars: Path) -> str:
    """Describe what an archive is made from: Java, jars as the JVM compares them, small job."""
    lines = [f"{java}\n"]
    for jar in sorted(jars.glob("*.jar")):
        lines.append(f"{jar} {jar.stat().st_size} {jar.stat().st_mtime_ns}\n")
    lines.append((ROOT / "scripts" / "warm_up.py").read_text())
    return "".join(lines)


def archive_fits(venv: Path, java: Java, jars: Path) -> bool:
    """Return whether the archive exists and was made from this Java and these jars."""
    archive, note = archive_of(venv)
    if not (archive.is_file() and note.is_file()):
        return False
    return note.read_text() == archive_made_from(java, jars)
