"""Bring .venv up to date with the lock files: what `make env` runs.

Needs a Python 3.11 or 3.12 and nothing but its standard library. Does nothing where the
environment was made from the same files, by the same Python and Java, in the same place.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from java import Java, find_java

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".made-from"
INPUTS = ("pyproject.toml", "requirements*.lock", "conf/jars.sha256", "conf/*.conf")
INPUTS += ("conf/log4j2.properties", "scripts/*.py")


def main() -> int:
    """Make or renew the environment; the stamp is written last, so a broken run is repeated."""
    java = find_java()
    wanted = fingerprint(java)
    if STAMP.is_file() and STAMP.read_text() == wanted:
        return 0
    STAMP.unlink(missing_ok=True)
    if not usable_venv():
        create_venv()
    install_packages()
    home = dict(os.environ, JAVA_HOME=str(java.home))
    for step in ("install_jars.py", "install_spark_conf.py"):
        run(VENV / "bin" / "python", ROOT / "scripts" / step, env=home)
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


def install_packages() -> None:
    """Exactly what requirements.lock says, every file checked by its hash; then this project.

    PySpark comes as source: it is built with the setuptools of the lock, not with today's.
    """
    uv, python = VENV / "bin" / "uv", VENV / "bin" / "python"
    quiet = dict(os.environ, UV_PYTHON_DOWNLOADS="never", PIP_DISABLE_PIP_VERSION_CHECK="1")
    if not uv.is_file():
        lock = ROOT / "requirements-build.lock"
        pip = [python, "-m", "pip", "install", "--quiet", "--no-input"]
        run(*pip, "--only-binary=:all:", "--require-hashes", "-r", lock, env=quiet)
    say("installing the packages of requirements.lock")
    install = [uv, "pip", "--quiet", "--no-config"]
    there = ["--python", python, "--no-build-isolation"]
    lock = ROOT / "requirements.lock"
    run(*install, "sync", *there, "--require-hashes", lock, env=quiet)
    run(*install, "install", *there, "--no-deps", "--no-index", "-e", ROOT, env=quiet)


def run(*command: str | Path, env: dict[str, str] | None = None) -> None:
    """Run a step; its own words on standard error say what failed."""
    done = subprocess.run(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL)
    if done.returncode:
        name = " ".join(Path(part).name for part in command[:3])
        raise SystemExit(f"platelake: no environment: `{name}` failed, as it says above")


def say(text: str) -> None:
    """One line of progress."""
    print(f"platelake: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
