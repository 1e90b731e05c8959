"""Bring .venv up to date with the lock files: what `make env` runs.

Needs a Python that fits pyproject.toml and nothing but its standard library. Does nothing where
the environment was made from the same files, by the same Python and Java, in the same place, and
Delta's jars are whole. What cannot go well is refused before anything is changed.
"""

import hashlib
import importlib.util
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # This Python does not have the project installed.

from lakehouse.errors import DISK_FULL, PlatelakeError  # noqa: E402
from lakehouse.spark.installed import jar_faults, jars_of, why_not_fetched  # noqa: E402
from lakehouse.spark.java import Java, find_java  # noqa: E402

VENV = ROOT / ".venv"
STAMP = VENV / ".made-from"
INPUTS = (
    "pyproject.toml",
    "requirements*.lock",
    "conf/jars.sha256",
    "conf/spark-defaults.conf",
    "conf/log4j2.properties",
    "scripts/*.py",
    "lakehouse/spark/installed.py",
    "lakehouse/spark/java.py",
    "ml/photos/weights.py",
)
PIP = (str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input")
NEEDED_BYTES = 8_000_000_000
"""What a .venv takes, most of it PyTorch with what it needs for a GPU."""


def main() -> int:
    """Make or renew the environment; the stamp is written last, so a broken run is repeated."""
    try:
        java = find_java()
    except PlatelakeError as error:
        raise SystemExit(str(error)) from None
    wanted = fingerprint(java)
    if STAMP.is_file() and STAMP.read_text() == wanted and not jar_faults(jars_of(VENV)):
        return 0
    if usable_venv():
        STAMP.unlink(missing_ok=True)
        install_tools()
    else:
        check_room(ROOT, NEEDED_BYTES)
        replace_venv()
    install_packages()
    home = dict(os.environ, JAVA_HOME=str(java.home))
    for step in ("install_jars.py", "install_spark_conf.py"):  # They say themselves what is wrong.
        own = [str(VENV / "bin" / "python"), str(ROOT / "scripts" / step)]
        if code := subprocess.run(own, cwd=ROOT, env=home, stdin=subprocess.DEVNULL).returncode:
            return code
    run(VENV / "bin" / "python", "-m", "ml.photos.weights")
    STAMP.write_text(wanted)
    say("ready: .venv/bin/platelake --help")
    return 0


def fingerprint(java: Java) -> str:
    """What the environment is made from: the place, Python, Java and the files' contents."""
    lines = [str(VENV), "Python {}.{}".format(*sys.version_info), f"{java.home} {java.build}"]
    for pattern in INPUTS:
        for path in sorted(ROOT.glob(pattern)):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append(f"{digest}  {path.relative_to(ROOT)}")
    return "\n".join(lines) + "\n"


def usable_venv() -> bool:
    """Whether .venv runs this Python version and was made where it stands."""
    python, pip = VENV / "bin" / "python", VENV / "bin" / "pip"
    if not (python.exists() and pip.is_file()):
        return False
    ask = "import sys; print(*sys.version_info[:2])"
    answer = subprocess.run([python, "-c", ask], capture_output=True, text=True)
    same = answer.stdout.split() == [str(part) for part in sys.version_info[:2]]
    return same and str(VENV) in pip.read_text()


def check_room(folder: Path, needed: int) -> None:
    """Fail where a new environment would fill the disk; what .venv has now goes first."""
    there = sum(path.lstat().st_size for path in VENV.rglob("*")) if VENV.is_dir() else 0
    free = shutil.disk_usage(folder).free
    if free + there < needed:
        raise SystemExit(
            f"platelake needs {needed / 1e9:.0f} GB of disk for .venv; {folder} has "
            f"{free / 1e9:.1f} GB free. Make room, or clone to a larger disk"
        )


def replace_venv() -> None:
    """A new .venv that can install packages; until it can, the one of before is kept aside."""
    aside = VENV.with_name(".venv.before")
    if VENV.exists() and not aside.exists():  # It is there where a run was killed.
        VENV.rename(aside)
    try:
        create_venv()
        install_tools()
    except BaseException:
        remove(VENV)
        if aside.exists():
            aside.rename(VENV)
        raise
    remove(aside)


def remove(folder: Path) -> None:
    """Remove the folder, or the link to one; what is not there is no fault."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def create_venv() -> None:
    """A new, empty .venv, in the place of any that was there."""
    version = "{}.{}".format(*sys.version_info)
    if importlib.util.find_spec("ensurepip") is None:
        raise SystemExit(
            f"Python {version} at {sys.executable} cannot make virtual environments: it has no "
            f"ensurepip. Install it, for example: apt-get install python{version}-venv"
        )
    say(f"creating .venv with Python {version}")
    base = getattr(sys, "_base_executable", sys.executable)  # We may run in the .venv of before.
    run(base, "-m", "venv", "--clear", VENV)


def install_tools() -> None:
    """What installs the rest, by pip: uv, and the setuptools that build PySpark.

    It is the first to be fetched, so it shows whether there is a network.
    """
    if not (VENV / "bin" / "uv").is_file():
        lock = str(ROOT / "requirements-build.lock")
        run(*PIP, "--only-binary=:all:", "--require-hashes", "-r", lock)


def install_packages() -> None:
    """Exactly what requirements.lock says, every file checked by its hash; then this project.

    PySpark comes as source: it is built with the setuptools of the lock, not with today's.
    uv does it in seconds. Where the network is one that only pip's own configuration knows
    (a mirror, a proxy), pip does it in minutes.
    """
    uv = [str(VENV / "bin" / "uv"), "pip", "sync", "--quiet", "--no-config"]
    locked = ["--no-build-isolation", "--require-hashes", str(ROOT / "requirements.lock")]
    say("installing the packages of requirements.lock")
    done = finished(*uv, "--python", str(VENV / "bin" / "python"), *locked)
    if done.returncode:
        if any(sign in done.stderr for sign in DISK_FULL):
            stop(uv, done)
        say("uv could not; installing with pip")
        run(*PIP, "--no-deps", *locked[:-1], "-r", locked[-1])  # The lock is complete.
    run(*PIP, "--no-build-isolation", "--no-deps", "--no-index", "-e", str(ROOT))


def run(*command: str | Path) -> None:
    """Run a step; where it fails, a sentence says why, or its own last words do."""
    done = finished(*command)
    if done.returncode:
        stop(command, done)


def finished(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """The step done, with what it said."""
    env = dict(os.environ, UV_PYTHON_DOWNLOADS="never", PIP_DISABLE_PIP_VERSION_CHECK="1")
    if Path(ssl.get_default_verify_paths().openssl_cafile).is_file():
        env.setdefault("UV_SYSTEM_CERTS", "1")  # As pip does: a company's own authority counts.
    return subprocess.run(
        command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def stop(command: Sequence[str | Path], done: subprocess.CompletedProcess[str]) -> NoReturn:
    """Say why a step failed, and leave."""
    said = done.stdout + done.stderr
    if why := why_not_fetched(said, "the index that pip takes packages from (`pip config list`)"):
        raise SystemExit(f"platelake: no environment: {why}")
    name = " ".join(Path(part).name for part in command[:3])
    last = "\n".join(said.splitlines()[-20:])
    raise SystemExit(f"{last}\nplatelake: no environment: `{name}` failed, as it says above")


def say(text: str) -> None:
    """One line of progress."""
    print(f"platelake: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
