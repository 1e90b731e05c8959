"""Put Delta's jars beside Spark's own, so that no session has to look for them.

Runs in the environment: `.venv/bin/python scripts/install_jars.py [--record]`. Spark resolves
the version of the installed delta-spark; `conf/jars.sha256` says what the files must be.
A second run finds them there and does nothing. `--record` writes that file anew, after a
change of version.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from lakehouse.spark.installed import SUMS, digest, jar_faults, listed, why_not_fetched

DELTA = "io.delta"


def main(arguments: list[str]) -> int:
    """Install what conf/jars.sha256 lists, or record what Spark resolves."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise SystemExit("PySpark is not installed in this environment: run `make env`")
    spark = Path(spec.origin).parent
    recording = arguments == ["--record"]
    if not recording and not jar_faults(spark / "jars"):
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        found = resolve(spark, Path(scratch))
        if recording:
            SUMS.write_text("".join(f"{digest(found[n])}  {n}\n" for n in sorted(found)))
        install(found, listed(), spark / "jars")
    return 0


def resolve(spark: Path, scratch: Path) -> dict[str, Path]:
    """Let Spark download Delta; Delta's own files, by name.

    Delta's dependencies stay out: Spark has newer versions of them, and a class path must not hold
    two versions of a library. Unity Catalog's client is needed only for tables of Unity Catalog.
    """
    line = ".".join(version("pyspark").split(".")[:2])
    package = f"io.delta:delta-spark_{line}_2.13:{version('delta-spark')}"
    nothing = scratch / "nothing.py"
    nothing.touch()
    command = [str(spark / "bin" / "spark-submit"), "--master", "local[1]", "--packages", package]
    command += ["--conf", f"spark.jars.ivy={scratch / 'ivy'}", str(nothing)]
    env = dict(os.environ, SPARK_HOME=str(spark), SPARK_CONF_DIR=str(scratch))
    env["PYSPARK_PYTHON"] = env["PYSPARK_DRIVER_PYTHON"] = sys.executable
    print(f"platelake: fetching {package}", file=sys.stderr, flush=True)
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        said = done.stdout + done.stderr
        if why := why_not_fetched(said, f"the Maven repository with {package}"):
            raise SystemExit(f"platelake: {why}")
        last = "\n".join(said.splitlines()[-20:])
        raise SystemExit(f"{last}\nSpark could not fetch {package}; its last lines are above")
    jars = (path.name.split("_", 1) for path in (scratch / "ivy" / "jars").glob("*.jar"))
    return {
        name: scratch / "ivy" / "jars" / f"{organisation}_{name}"
        for organisation, name in jars
        if organisation == DELTA
    }


def install(found: dict[str, Path], wanted: dict[str, str], jars: Path) -> None:
    """Copy the jars after checking each one; older Delta jars go."""
    sums = {name: digest(path) for name, path in found.items()}
    if sums != wanted:
        lines = [
            f"  {name}: listed {wanted.get(name, 'nowhere')}, fetched {sums.get(name, 'nowhere')}"
            for name in sorted(sums.keys() | wanted.keys())
            if sums.get(name) != wanted.get(name)
        ]
        raise SystemExit(
            "The jars fetched for Delta are not those that conf/jars.sha256 lists:\n"
            + "\n".join(lines)
            + "\nAfter a change of delta-spark's version: scripts/install_jars.py --record"
        )
    for old in jars.glob("delta-*.jar"):
        old.unlink()
    for name, path in found.items():
        part = jars / f".{name}.part"
        shutil.copyfile(path, part)
        part.replace(jars / name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
