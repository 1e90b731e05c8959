"""`platelake doctor`: sound where all is well, a line and no traceback where something is not."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from jobs import doctor
from jobs.cli.main import invoke
from lakehouse.errors import PlatelakeError
from lakehouse.settings import load_settings
from tests.conftest import let_others_in, unavailable

BIN = Path(sys.executable).parent


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    """By what was looked at: the mark and the value."""
    out = capsys.readouterr().out.splitlines()
    return {line[6:20].strip(): (line[:6].strip(), line[20:]) for line in out}


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.heavy
def test_a_sound_installation_is_ok_and_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["doctor", "--lake", str(tmp_path / "lake")]) == 0
    found = lines(capsys)
    assert [*found] == [
        *("Python", "Java", "Spark", "Delta", "Delta's jars", "class archive"),
        *("lake", "disk", "SQL", "MLflow"),
    ]
    assert {mark for mark, _ in found.values()} == {"ok"}
    assert list(tmp_path.iterdir()) == []


def test_it_is_a_process_without_spark_and_mlflow() -> None:
    code = (
        "import sys; from jobs.cli.main import invoke; invoke(['doctor']);"
        "sys.exit(str({'pyspark', 'mlflow', 'delta', 'torch'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"


def test_everything_broken_is_a_line_each_and_exit_code_1(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    closed_port: int,
) -> None:
    (tmp_path / "file").touch()
    away = f"127.0.0.1:{closed_port}"
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "no-java"))
    monkeypatch.setenv("PLATELAKE_SQL_URL", f"mysql+pymysql://me:geheim@{away}/lake")
    monkeypatch.setenv("PLATELAKE_MLFLOW_URI", f"http://me:geheim@{away}")
    assert invoke(["doctor", "--lake", str(tmp_path / "file")]) == 1
    captured = capsys.readouterr()
    assert "geheim" not in captured.out + captured.err and "Traceback" not in captured.err
    wrong = {line[6:20].strip(): line[20:] for line in captured.out.splitlines() if "WRONG" in line}
    assert [*wrong] == ["Java", "class archive", "lake", "SQL", "MLflow"]
    assert "no-java has no working bin/java. Correct or unset JAVA_HOME" in wrong["Java"]
    assert "cannot be written: Not a directory. Name another by --lake" in wrong["lake"]
    assert "Connection refused" in wrong["SQL"] and "check PLATELAKE_SQL_URL" in wrong["SQL"]
    assert f"http://{away} does not answer: " in wrong["MLflow"]


def test_settings_that_cannot_be_meant_are_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLATELAKE_LAEK", "typo")
    assert invoke(["doctor"]) == 1
    mark, value = lines(capsys)["settings"]
    assert mark == "WRONG" and "PLATELAKE_LAEK is not a setting" in value


def test_an_address_that_is_none_does_not_show_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for uri in ("http://me:ge/heim@host", "mysql+pymysql://me:ge@heim@host/x", "sqlite:geheim"):
        monkeypatch.setenv("PLATELAKE_MLFLOW_URI", uri)
        assert invoke(["doctor", "--lake", str(tmp_path)]) == 1
        mark, value = lines(capsys)["MLflow"]
        assert mark == "WRONG" and not {"geheim", "heim"} & {*value.replace("@", " ").split()}
        assert "ge" not in value.split("://")[-1].split("@")[0].split()


def test_a_lake_at_a_url_does_not_show_its_password(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["doctor", "--lake", "s3://me:geheim@host/lake"]) == 1
    out = capsys.readouterr().out
    assert "s3://host/lake, not looked at" in out and "geheim" not in out
    assert "the lake is at s3://host/lake, so the summaries need their own database" in out


def test_delta_jars_are_compared_with_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for jar in doctor.jars_folder().glob("delta-*.jar"):
        shutil.copy(jar, tmp_path)
    monkeypatch.setattr(doctor, "jars_folder", lambda: tmp_path)
    first, second, *_ = sorted(doctor.listed())
    assert doctor.look("jars", doctor.jars).well
    (tmp_path / first).unlink()
    with (tmp_path / second).open("ab") as file:
        file.write(b"x")
    (tmp_path / "delta-old.jar").touch()
    found = doctor.look("jars", doctor.jars)
    assert not found.well and doctor.REPAIR in found.value
    assert f"{first} is missing" in found.value
    assert f"{second} is not as it was published" in found.value
    assert "delta-old.jar is of another version" in found.value


@pytest.mark.heavy
def test_an_archive_of_other_jars_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "jars_folder", lambda: tmp_path)
    found = doctor.look("class archive", doctor.class_archive)
    assert not found.well and "another Java or other jars" in found.value
    monkeypatch.setattr(doctor, "VENV", tmp_path)
    found = doctor.look("class archive", doctor.class_archive)
    assert not found.well and "spark-classes.jsa is missing" in found.value


def test_the_java_of_the_installation_that_is_gone_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    (tmp_path / "bin").mkdir()
    note = tmp_path / "bin" / "find-spark-home"
    note.write_text(f'[ -n "${{JAVA_HOME:-}}" ] || export JAVA_HOME={tmp_path}/gone\n')
    found = doctor.look("Java", lambda: doctor.said(doctor.spark_java(tmp_path)))
    assert not found.well and f"{tmp_path}/gone, which `make env` found, has no" in found.value


def test_a_package_and_a_python_that_do_not_fit_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PlatelakeError, match="no-such-package is not installed"):
        doctor.package("no-such-package")
    monkeypatch.setattr(doctor.metadata, "version", lambda _: "4.1.3")
    with pytest.raises(PlatelakeError, match=r"4\.1\.3 is not pyspark~=4\.2\.0"):
        doctor.package("pyspark")
    for version in ((3, 10, 13), (3, 14, 0)):
        monkeypatch.setattr(sys, "version_info", version)
        with pytest.raises(PlatelakeError, match=f"this is 3.{version[1]}"):
            doctor.python()


def test_a_disk_with_too_little_room_is_said(tmp_path: Path) -> None:
    assert "GB free in" in doctor.room([tmp_path], 1)
    with pytest.raises(PlatelakeError, match="Make room"):
        doctor.room([tmp_path], 1 << 60)


def test_a_lake_on_a_disk_that_takes_no_writes_is_said(tmp_path: Path) -> None:
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(tmp_path)], capture_output=True
    )
    if not mounted or mounted.returncode:
        unavailable("a small disk can only be mounted as root; run the tests as root")
    try:
        with pytest.raises(PlatelakeError, match="cannot be written: Read-only file system"):
            doctor.writable(tmp_path / "lake")
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)])


def test_a_table_of_another_user_is_said(tmp_path: Path) -> None:
    """In a process of an ordinary user, since root may write everywhere."""
    table = tmp_path / "chromate" / "lots"
    table.mkdir(parents=True)
    table.chmod(0o555)
    code = (
        "import os, sys, pathlib; from jobs import doctor\n"
        "os.getuid() == 0 and os.setuid(65534)\n"
        f"print(doctor.look('lake', lambda: doctor.writable(pathlib.Path({str(tmp_path)!r}))))"
    )
    let_others_in(tmp_path)
    for folder in (tmp_path, table.parent):
        folder.chmod(0o777)
    env = dict(os.environ, TMPDIR=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert f"WRONG lake          {table} cannot be written: Permission denied" in done.stdout


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    settings = load_settings(lake=str(tmp_path))
    (tmp_path / "summaries.db").write_text("this is no database at all" * 100)
    found = doctor.look("SQL", lambda: doctor.sql(settings))
    assert not found.well and "summaries.db: file is not a database" in found.value
    (tmp_path / "summaries.db").unlink()
    sqlite3.connect(tmp_path / "summaries.db").close()
    assert doctor.look("SQL", lambda: doctor.sql(settings)).well
    assert (tmp_path / "summaries.db").stat().st_size == 0  # Nothing was migrated.


@pytest.mark.heavy
def test_the_database_of_the_settings_answers(
    sql_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PLATELAKE_SQL_URL", sql_url)
    assert invoke(["doctor", "--lake", str(tmp_path)]) == 0
    assert lines(capsys)["SQL"][0] == "ok"


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Health) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{one.server_port}"
        one.shutdown()


def test_a_tracking_server_answers_for_its_health(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATELAKE_MLFLOW_URI", f"http://me:geheim@{server}")
    found = doctor.look("MLflow", lambda: doctor.mlflow(load_settings()))
    assert (found.well, found.value) == (True, f"http://{server}")
    monkeypatch.setenv("PLATELAKE_MLFLOW_URI", f"http://{server}/other")
    found = doctor.look("MLflow", lambda: doctor.mlflow(load_settings()))
    assert not found.well and "answers 404 at /health" in found.value


def test_hdfs_that_is_away_is_said(
    closed_port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["doctor", "--lake", f"hdfs://127.0.0.1:{closed_port}/lake"]) == 1
    found = lines(capsys)
    assert found["lake"][0] == "WRONG" and "cannot be reached: " in found["lake"][1]
    assert found["lake"][1].startswith("the lake hdfs://127.0.0.1")
    assert "set PLATELAKE_SQL_URL" in found["SQL"][1] and found["disk"][0] == "ok"


def test_the_apps_folder_is_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = load_settings(lake=str(tmp_path), app_folder=str(tmp_path / "file" / "app"))
    found = doctor.look("lake", lambda: doctor.lake_writable(settings))
    assert not found.well and "file cannot be written: Not a directory" in found.value
    assert "PLATELAKE_APP_FOLDER" in found.value
