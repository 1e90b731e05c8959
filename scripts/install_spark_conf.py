"""Make the environment's Spark start with the project's settings, and start fast.

Runs in the environment: `.venv/bin/python scripts/install_spark_conf.py`. Writes, all inside
.venv, what spark-submit and a session in a Python process both read:

- pyspark/conf/spark-defaults.conf: conf/spark-defaults.conf and two lines of this machine;
- pyspark/conf/log4j2.properties, and spark-env.sh with the Java and Python to run;
- bin/find-spark-home, so that .venv/bin/spark-submit works without an activated environment;
- spark-classes.jsa: an archive of the classes a small job loads, which the JVM maps into memory
  in place of reading, checking and linking them. It belongs to one Java and one set of jars;
  where it does not match, the JVM runs without it.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from lakehouse.spark.installed import ROOT, archive_fits, archive_made_from, archive_of
from lakehouse.spark.java import java_of

VENV = Path(sys.prefix)
ARCHIVE, MADE_FROM = archive_of(VENV)
# The log is off because it goes to standard output, when an archive does not match.
USE = f'"-XX:SharedArchiveFile={ARCHIVE}" -Xshare:auto -Xlog:cds*=off'


def main() -> int:
    """Write the settings, then the archive, then the line that uses it."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise SystemExit("PySpark is not installed in this environment: run `make env`")
    spark = Path(spec.origin).parent
    conf = spark / "conf"
    conf.mkdir(exist_ok=True)
    replace(conf / "log4j2.properties", (ROOT / "conf" / "log4j2.properties").read_text())
    if " " not in str(conf):  # Spark's own script stumbles over a space before that file's name.
        replace(conf / "spark-env.sh", shell_defaults())
    home = f"export SPARK_HOME={shlex.quote(str(spark))}\n"
    replace(VENV / "bin" / "find-spark-home", shell_defaults() + home)
    defaults = spark_defaults(spark / "jars")
    replace(conf / "spark-defaults.conf", defaults)
    if make_archive(spark):
        line = f"spark.driver.defaultJavaOptions {USE}\n"
        replace(conf / "spark-defaults.conf", defaults + line)
    return 0


def spark_defaults(jars: Path) -> str:
    """The project's settings with the jars named before the settings' folder.

    The JVM archives no class that it finds after a folder with files on its class path, and
    Spark puts its conf folder before its own jars.
    """
    ours = (ROOT / "conf" / "spark-defaults.conf").read_text()
    note = "# Written by `make env` from conf/spark-defaults.conf: edit that one.\n"
    return f"{note}{ours}\n# This machine.\nspark.driver.extraClassPath {jars}/*\n"


def shell_defaults() -> str:
    """The Java found at install and this environment's Python, where nobody names others."""
    lines = ["# Written by `make env`.\n"]
    values = {"JAVA_HOME": os.environ["JAVA_HOME"], "PYSPARK_PYTHON": str(VENV / "bin" / "python")}
    for name, value in values.items():
        lines.append(f'[ -n "${{{name}:-}}" ] || export {name}={shlex.quote(value)}\n')
    return "".join(lines)


def make_archive(spark: Path) -> bool:
    """Run a small job and archive its classes. Without an archive all works, only slower."""
    home = os.environ["JAVA_HOME"]
    java = java_of(home, f"JAVA_HOME={home}", "Run `make env`")
    if archive_fits(VENV, java, spark / "jars"):
        return True
    print("platelake: archiving Spark's classes for a faster start", file=sys.stderr, flush=True)
    part = ARCHIVE.with_suffix(".part")
    for old in (ARCHIVE, MADE_FROM, part):
        old.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        # The job is short: compiling it well would take longer than running it.
        options = f'"-XX:ArchiveClassesAtExit={part}" -XX:TieredStopAtLevel=1 -Xlog:cds*=off'
        submit, job = str(VENV / "bin" / "spark-submit"), str(ROOT / "scripts" / "warm_up.py")
        setting = f"spark.driver.defaultJavaOptions={options}"
        done = run([submit, "--conf", setting, job, scratch], scratch)
    if done.returncode == 0 and part.is_file() and starts(spark, part):
        part.replace(ARCHIVE)
        MADE_FROM.write_text(archive_made_from(java, spark / "jars"))
        return True
    part.unlink(missing_ok=True)
    last = "\n".join(done.stderr.splitlines()[-5:])
    print(f"{last}\nplatelake: no archive; Spark starts slower", file=sys.stderr)
    return False


def starts(spark: Path, archive: Path) -> bool:
    """Whether a JVM accepts the archive: a torn one would crash each session."""
    java = Path(os.environ["JAVA_HOME"], "bin", "java")
    command = [str(java), f"-XX:SharedArchiveFile={archive}", "-Xshare:on"]
    command += ["-cp", f"{spark}/jars/*:{spark}/conf/", "-version"]
    return run(command, spark).returncode == 0


def run(command: list[str], folder: str | Path) -> subprocess.CompletedProcess[str]:
    """The finished command, run in `folder` with what it said."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_")}
    return subprocess.run(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def replace(path: Path, text: str) -> None:
    """Write a new file in the place of the old, which may be shared with a package cache."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    if path.exists():
        shutil.copymode(path, part)
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
