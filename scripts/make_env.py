"""Bring .venv up to date with the lock files: what `make env` runs.

Needs a Python 3.11 to 3.13 and nothing but its standard library. Does nothing where the
environment was made from the same files, by the same Python and Java, in the same place.
"""

import hashlib
import importlib.util
import os
import ssl
import subprocess
import sys
from pathlib import Path

from java import Java, find_java

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".made-from"
INPUTS = (
    "pyproject.toml",
    "requirements*.lock",
    "conf/jars.sha256",
    "conf/spark-defaults.conf",
    "conf/log4j2.properties",
    "scripts/*.py",
    "ml/weights.py",
)


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
    run(VENV / "bin" / "python", "-m", "ml.weights")
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
    uv does it in seconds. Where the network is one that only pip's own configuration knows
    (a mirror, a proxy), pip does it in minutes.
    """
    env = dict(os.environ, UV_PYTHON_DOWNLOADS="never", PIP_DISABLE_PIP_VERSION_CHECK="1")
    if Path(ssl.get_default_verify_paths().openssl_cafile).is_file():
        env.setdefault("UV_SYSTEM_CERTS", "1")  # As pip does: a company's own authority counts.
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"]
    uv = [str(VENV / "bin" / "uv"), "pip", "sync", "--quiet", "--no-config"]
    locked = ["--no-build-isolation", "--require-hashes", str(ROOT / "requirements.lock")]
    say("installing the packages of requirements.lock")
    if not Path(uv[0]).is_file():
        lock = str(ROOT / "requirements-build.lock")
        run(*pip, "--only-binary=:all:", "--require-hashes", "-r", lock, env=env)
    sync = [*uv, "--python", pip[0], *locked]
    if subprocess.run(sync, env=env, stdin=subprocess.DEVNULL, capture_output=True).returncode:
        say("uv could not; installing with pip")
        run(*pip, "--no-deps", *locked[:-1], "-r", locked[-1], env=env)  # The lock is complete.
    run(*pip, "--no-build-isolation", "--no-deps", "--no-index", "-e", str(ROOT), env=env)


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
