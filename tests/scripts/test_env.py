"""`make env` where it cannot go well: one sentence, and nothing is changed. No network, no JVM."""

import os
import shutil
import socket
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from lakehouse.errors import PlatelakeError
from lakehouse.spark import java as java_module
from lakehouse.spark.installed import SUMS, jar_faults, why_not_fetched
from lakehouse.spark.java import find_java
from scripts import make_env

ROOT = Path(__file__).parents[2]
FIT = ("3.11", "3.12", "3.13")


def script(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def fake_python(path: Path, version: str) -> Path:
    """It says that version, and of what else it is to run only the name."""
    return script(path, f'[ "$1" = -c ] && echo {version} || echo runs "$@"')


def fake_java(home: Path, version: str, vectors: bool = True) -> Path:
    """A java that answers as that version does, with or without Spark's module."""
    refuse = "" if vectors else 'case "$1" in --add-modules*) exit 1 ;; esac'
    script(home / "bin" / "java", f"{refuse}\necho 'openjdk version \"{version}\"' >&2")
    return home


def env_sh(project: Path, path: str, asked: str = "") -> subprocess.CompletedProcess[str]:
    """`make env` in that folder with that PATH."""
    (project / "scripts").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "scripts" / "env.sh", project / "scripts")
    shutil.copy(ROOT / "pyproject.toml", project)
    command = ["/bin/sh", str(project / "scripts" / "env.sh"), asked]
    return subprocess.run(command, env={"PATH": path}, capture_output=True, text=True)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with what env.sh runs besides Python, so that no Python of this machine is met."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("sed", "dirname"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return folder


@pytest.mark.parametrize("version", ["2.7", "3.9", "3.10", *FIT, "3.14", "4.0"])
def test_the_pythons_of_pyproject_are_taken_and_no_others(
    tmp_path: Path, tools: Path, version: str
) -> None:
    python = fake_python(tmp_path / "bin" / "python", version)
    done = env_sh(tmp_path / "project", str(tools), str(python))
    allowed = SpecifierSet(metadata.metadata("platelake")["Requires-Python"])
    assert (done.returncode == 0) == (version in FIT) == allowed.contains(f"{version}.1")
    if version in FIT:
        assert done.stdout == "runs -B scripts/make_env.py\n"
    else:
        sentence = f"platelake needs Python 3.11 to 3.13; {python} is {version}. Name another: "
        assert done.stderr == f"{sentence}make env PYTHON=/path/to/python3.13\n"


def test_a_python_that_fits_is_found_behind_one_that_does_not(tmp_path: Path, tools: Path) -> None:
    fake_python(tools / "python3", "3.14")
    done = env_sh(tmp_path / "project", str(tools))
    assert done.returncode == 1 and "none is on PATH (python3 is 3.14)" in done.stderr
    fake_python(tools / "python3.12", "3.12")
    assert env_sh(tmp_path / "project", str(tools)).returncode == 0


def test_no_python_is_said(tmp_path: Path, tools: Path) -> None:
    done = env_sh(tmp_path / "project", str(tools))
    assert done.returncode == 1 and "none is on PATH (no python3 runs)" in done.stderr
    done = env_sh(tmp_path / "project", str(tools), "3.12")
    assert done.returncode == 1 and "; python3.12 does not run. Name another" in done.stderr


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Java; the folder is the only usual one."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(java_module, "USUAL_FOLDERS", (str(tmp_path / "jvm"),))
    return tmp_path


def test_no_java_is_one_sentence(bare: Path) -> None:
    with pytest.raises(PlatelakeError, match=r"found none \(java is not on PATH") as no:
        find_java()
    assert str(no.value).endswith("for example: apt-get install openjdk-17-jre-headless")
    script(bare / "bin" / "java", "exit 1")
    with pytest.raises(PlatelakeError, match=r"found none \(java on PATH, \S+, does not run"):
        find_java()


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.22", "16.0.2"])
def test_an_old_java_is_one_sentence(
    bare: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    major = "8" if version.startswith("1.8") else version.partition(".")[0]
    home = fake_java(bare, version)
    with pytest.raises(PlatelakeError, match=rf"found {major} \(java on PATH, .+apt-get"):
        find_java()
    monkeypatch.setenv("JAVA_HOME", str(home))
    with pytest.raises(PlatelakeError, match=rf"found {major} \(JAVA_HOME={home}\)"):
        find_java()
    fits = fake_java(bare / "jvm" / "new", "21.0.2")
    with pytest.raises(PlatelakeError, match=f"There is one that fits: JAVA_HOME={fits}"):
        find_java()
    monkeypatch.delenv("JAVA_HOME")
    assert find_java().home == fits


def test_a_java_without_sparks_module_is_one_sentence(bare: Path) -> None:
    fake_java(bare, "17.0.2", vectors=False)
    with pytest.raises(PlatelakeError, match=r"with the module jdk\.incubator\.vector; found one"):
        find_java()


def test_make_env_begins_with_java(tmp_path: Path) -> None:
    """The whole script, by a bare Python: it ends with the sentence, and makes nothing."""
    project = tmp_path / "project"
    for name in ("scripts", "lakehouse"):
        shutil.copytree(ROOT / name, project / name)
    home = fake_java(tmp_path / "java", "11.0.22")
    done = make_env_in(project, {"JAVA_HOME": str(home)})
    assert done.returncode == 1
    assert done.stderr.startswith("platelake needs Java 17 or newer; found 11 (JAVA_HOME=")
    assert {path.name for path in project.iterdir()} == {"scripts", "lakehouse"}


def make_env_in(project: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", "-I", str(project / "scripts" / "make_env.py")]
    return subprocess.run(
        command, env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """make_env, at work in a folder of its own."""
    monkeypatch.setattr(make_env, "ROOT", tmp_path)
    monkeypatch.setattr(make_env, "VENV", tmp_path / ".venv")
    python = str(tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(make_env, "PIP", (python, *make_env.PIP[1:], "--retries", "0"))
    shutil.copy(ROOT / "requirements-build.lock", tmp_path)
    return tmp_path


def test_a_disk_without_room_is_one_sentence(project: Path) -> None:
    make_env.check_room(project, 1)
    with pytest.raises(SystemExit, match=r"needs \d+ GB of disk .+ has [\d.]+ GB free"):
        make_env.check_room(project, 1 << 60)
    assert not (project / ".venv").exists()


@pytest.mark.heavy
def test_without_a_network_all_stays_as_it_was(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the real pip, told to take packages from a port where nobody listens."""
    (project / ".venv").mkdir()
    (project / ".venv" / "mark").touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        index = f"http://me:geheim@127.0.0.1:{free.getsockname()[1]}/simple"
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", index)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    with pytest.raises(SystemExit, match=r"the index that .+ does not answer") as stopped:
        make_env.replace_venv()
    assert "geheim" not in str(stopped.value) and "\n" not in str(stopped.value)
    assert [path.name for path in (project / ".venv").iterdir()] == ["mark"]
    assert not (project / ".venv.before").exists()


def test_a_python_without_ensurepip_is_one_sentence(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_env.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"cannot make virtual environments: .+-venv$"):
        make_env.replace_venv()
    assert not (project / ".venv").exists()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("ERROR: [Errno 28] No space left on device", "the disk is full: make room"),
        (
            "Failed to establish a new connection: [Errno 111] Connection refused",
            "X does not answer",
        ),
        ("satisfies the requirement setuptools==84 (from versions: none)", "X does not answer"),
        (
            "Server access error (java.net.ConnectException: Connection refused)",
            "X does not answer",
        ),
        ("(java.net.UnknownHostException: jars.example)", "X does not answer"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", ""),
    ],
)
def test_what_pip_and_spark_say_comes_to_a_sentence(said: str, sentence: str) -> None:
    found = why_not_fetched(f"many lines\n{said}\nmore", "X")
    assert found.startswith(sentence) and bool(found) == bool(sentence)


def test_jars_that_are_not_as_listed_are_named(tmp_path: Path) -> None:
    sums = tmp_path / SUMS.name
    sums.write_text(f"{make_env.hashlib.sha256(b'a').hexdigest()}  delta-a.jar\n")
    assert jar_faults(tmp_path, sums) == ["delta-a.jar is missing"]
    (tmp_path / "delta-a.jar").write_bytes(b"b")
    assert jar_faults(tmp_path, sums) == ["delta-a.jar is not as it was published"]
    (tmp_path / "delta-a.jar").write_bytes(b"a")
    assert jar_faults(tmp_path, sums) == []
    (tmp_path / "delta-b.jar").touch()
    assert jar_faults(tmp_path, sums) == ["delta-b.jar is of another version"]


def test_a_venv_of_this_python_is_used_again(project: Path) -> None:
    assert not make_env.usable_venv()
    venv.create(project / ".venv", with_pip=False)
    (project / ".venv" / "bin" / "pip").write_text(f"#!{project}/.venv/bin/python\n")
    assert make_env.usable_venv()
    (project / ".venv" / "bin" / "pip").write_text("#!/elsewhere/.venv/bin/python\n")
    assert not make_env.usable_venv()
