"""The command line: exit codes, one clear sentence, tables as they were."""

import json
import os
import shutil
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pytest

from jobs.cli.jobs import JOBS
from jobs.cli.main import invoke
from jobs.report import failure
from jobs.runner import write_run_row
from lakehouse.errors import QualityGateError
from lakehouse.tables.runs import RUNS
from tests.conftest import Chain, let_others_in, unavailable
from tests.digest import digests
from tests.plant import sensor_lines, write_errors, write_photo, write_sensor

BIN = Path(sys.executable).parent
DAY = date(2021, 9, 6)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("given", "code", "sentence"),
    [
        (["--landing", "/no/such/place"], 1, "does not exist; give the folder"),
        (["--landing", "{file}"], 1, "is a file; give the folder"),
        (["--landing", "{empty}"], 1, "is empty; give the folder"),
        (["--landing", "{full}", "--stage", "nickel"], 2, "no stage 'nickel'"),
        (["--landing", "{full}", "--stage-file", "{file}"], 2, "is not TOML"),
        (["--landing", "{full}", "--lake", "{file}"], 1, "cannot be written"),
        (["--landing", "{full}", "--lake", "/proc/lake"], 1, "cannot be written"),
        ([], 2, "--landing"),
        (["--landing", "{full}", "--json", "{empty}/no/report.json"], 2, "cannot be written: name"),
        (["--landing", "{full}", "--json", "{empty}"], 2, "cannot be written: name"),
        (["--landing", "{full}", "--no-such-option"], 2, "No such option"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_an_exit_code(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    code: int,
    sentence: str,
) -> None:
    places = {name: tmp_path / name for name in ("file", "empty", "full")}
    places["file"].write_text("= no toml =")
    places["empty"].mkdir()
    write_sensor(places["full"], DAY)
    lake = [] if "--lake" in given else ["--lake", str(tmp_path / "lake")]
    stage = [] if {"--stage", "--stage-file"} & set(given) else ["--stage", "chromate"]
    options = [option.format(**places) for option in given]
    assert invoke(["run", *options, *lake, *stage]) == code
    assert sentence in said(capsys)
    assert not (tmp_path / "lake").exists() or not list((tmp_path / "lake").glob("*/readings"))


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for asked in ("-h", "--help"):
        assert invoke([asked]) == 0
        shown = capsys.readouterr().out
        assert shown.index("─ Run ─") < shown.index(" look ") < shown.index("─ Models ─")
        assert shown.index("─ Models ─") < shown.index(" promote ")
    assert invoke(["run", "-h"]) == 0 and "--landing" in capsys.readouterr().out
    assert invoke(["--version"]) == 0
    assert capsys.readouterr().out == f"platelake {version('platelake')}\n"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from jobs.cli.main import invoke; invoke(['--help']);"
        "print({name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"pyspark", "torch", "mlflow", "numpy", "pandas", "pyarrow", "sqlalchemy", "pydantic"}
    assert not {name for name in heavy if f"'{name}'" in done.stdout.splitlines()[-1]}


def test_the_last_table_points_on(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    write_sensor(chain.landing, DAY)
    (chain.landing / "notes.docx").write_bytes(b"x")
    sensor = next(chain.landing.glob("sensor/*.csv"))
    sensor.write_bytes(sensor.read_bytes() + b"1,2,3\r\n")
    where = ["--stage", "chromate", "--lake", str(chain.lake_folder)]
    assert invoke(["run", "--landing", str(chain.landing), *where]) == 0
    shown = capsys.readouterr().out
    assert "see `platelake quarantine list --stage chromate --lake" in shown
    assert "1 not read, since no pattern of the stage names them: notes.docx" in shown
    assert not set("│┃━─┏") & set(shown)  # In a pipe there are no lines.


def test_every_job_reports_how_it_ended(chain: Chain, tmp_path: Path) -> None:
    write_sensor(chain.landing, DAY)
    report = tmp_path / "report.json"
    where = ["--stage", "chromate", "--lake", str(chain.lake_folder), "--json", str(report)]
    assert invoke(["ingest-readings", "--landing", str(chain.landing), *where]) == 0
    found = json.loads(report.read_text())
    assert found["files"] == {"seen": 1, "loaded": 1, "duplicate": 0, "quarantined": 0, "known": 0}
    assert found["rows"] == {"read": 6, "stored": 6, "quarantined": 0}
    assert invoke(["ingest-readings", "--landing", str(tmp_path / "typo"), *where]) == 1
    found = json.loads(report.read_text())
    assert found["jobs"] == ["ingest_readings"] and found["exit_code"] == 1
    assert f"the landing directory {tmp_path / 'typo'} does not exist" in found["error"]


def test_without_a_champion_nothing_is_judged_where_that_was_said(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--stage", "chromate", "--lake", str(chain.lake_folder)]
    assert invoke(["score-lots", *where]) == 2
    assert "MLflow has no chromate-lots@champion" in said(capsys)
    assert invoke(["score-lots", "--if-champion", *where]) == 0


@pytest.mark.parametrize(
    ("java", "sentence"),
    [
        ("o.a.h.hdfs.protocol.DSQuotaExceededException: The DiskSpace quota", "HDFS is full, or"),
        ("File /a could only be written to 0 of the 1 minReplication", "HDFS is full, or"),
        ("written to 0 of the 1 min. There are 0 datanode(s) running", "no DataNode that is alive"),
        ("SafeModeException: Cannot create file. Name node is in safe mode.", "is in safe mode"),
        ("[DELTA_CONCURRENT_APPEND] ConcurrentAppendException: Files were", "another run wrote"),
    ],
)
def test_what_hdfs_and_delta_say_comes_to_a_sentence(java: str, sentence: str) -> None:
    found = failure(RuntimeError(f"An error occurred while calling o1.save.\n: {java}"))
    assert sentence in found["error"] and "as they were at their last commit" in found["error"]
    assert found["exit_code"] == 1


def test_of_javas_words_the_innermost_cause_is_told() -> None:
    text = (
        "An error occurred while calling None.org.apache.spark.api.java.JavaSparkContext.\n"
        ": java.lang.RuntimeException: it did not start\n\tat org.apache.spark.A.b(A.scala:1)\n"
        "Caused by: java.net.ConnectException: Connection refused\n\t... 25 more"
    )
    said = failure(RuntimeError(text))["error"]
    assert said.startswith(
        "RuntimeError: java.net.ConnectException: Connection refused. The tables"
    )


@pytest.mark.parametrize(
    "command", [["score-lots"], ["compare"], ["quarantine", "list"], ["train", "trees"]]
)
def test_without_a_stage_where_one_is_needed_the_stages_are_named(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke([*command, "--lake", str(tmp_path / "lake")]) == 2
    assert "--stage is missing; known: chromate;" in said(capsys)
    assert not (tmp_path / "lake").exists()


def test_the_quarantine_of_a_lake_that_is_not_there_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sensor(tmp_path / "landing", DAY)
    where = ["--stage", "chromate", "--lake", str(tmp_path / "typo")]
    landing = ["--landing", str(tmp_path / "landing")]
    for command in (["list"], ["show", "a"], ["replay", *landing]):
        assert invoke(["quarantine", *command, *where]) == 1
        assert f"there is no lake {tmp_path / 'typo' / 'chromate'}; name" in said(capsys)
    assert not (tmp_path / "typo").exists()


def test_the_quarantine_is_a_line_an_entry_where_no_person_reads(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["quarantine", "list", "--stage", "chromate", "--lake", str(chain.lake_folder)]
    file = write_sensor(chain.landing, DAY, [*sensor_lines(), f"9,1,x,2,{'4' * 200},16"])
    file.rename(file.with_name(f"new\nline\t{file.name}"))
    chain("ingest_readings")
    capsys.readouterr()
    assert invoke(where) == 0
    (line,) = capsys.readouterr().out.splitlines()
    cells = line.split("\t")
    assert cells[1:5] == ["readings", f"sensor/new\\nline\\t{file.name}", "8", "time"]
    assert "not a 12h time: 'x'" in cells[5] and len(cells) == 6


def test_an_unreadable_landing_directory_is_said_so(tmp_path: Path) -> None:
    """In a process of an ordinary user, since nothing is unreadable to root."""
    write_sensor(tmp_path / "landing", DAY)
    (tmp_path / "landing").chmod(0)
    landing = str(tmp_path / "landing")
    code = (
        "import os, sys, encodings.utf_8_sig\n"  # what is imported now need not be readable
        "from jobs.cli.main import invoke\n"
        "import jobs.runner, lakehouse.landing.zone\n"
        "os.getuid() == 0 and os.setuid(65534)\n"
        f"sys.exit(invoke(['run', '--stage', 'chromate', '--landing', {landing!r}]))"
    )
    let_others_in(tmp_path)
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    finally:
        (tmp_path / "landing").chmod(0o755)
    assert done.returncode == 1
    assert "cannot be read" in done.stderr and "Traceback" not in done.stderr


def test_an_unknown_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sensor(tmp_path, DAY)
    monkeypatch.setenv("PLATELAKE_LAEK", "typo")
    assert invoke(["run", "--landing", str(tmp_path), "--stage", "chromate"]) == 2
    assert "PLATELAKE_LAEK" in said(capsys)


def test_each_job_is_a_script_and_a_command() -> None:
    for name in [*JOBS, "run", "backfill"]:
        script = Path(__file__).parents[3] / "jobs" / f"{name}.py"
        text = script.read_text()
        assert "spark-submit jobs/" in text and "def main(argv: list[str]) -> int:" in text


def test_counts_that_do_not_add_up_fail_the_run_and_are_kept(chain: Chain) -> None:
    write_sensor(chain.landing, DAY)
    work = chain.work("ingest_error_lists")
    work.run_id, work.counts.seen = "other", 3
    with pytest.raises(QualityGateError, match="3 files seen, 0 loaded"):
        write_run_row(work, ["ingest_error_lists"])
    assert QualityGateError.exit_code == 3
    rows = {row["run_id"]: row["reconciled"] for row in chain.lake().rows(RUNS)}
    assert rows["other"] is False and len(rows) == 2


def test_a_row_lost_on_the_way_stops_the_run(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a row dropped between file and table, the ledger would not take the file."""
    from lakehouse.ingest import text as ingest_text
    from lakehouse.tables.files import FILES

    write_sensor(chain.landing, DAY)
    passed = ingest_text.passed_rows
    with monkeypatch.context() as broken:
        broken.setattr(ingest_text, "passed_rows", lambda rows, table: passed(rows, table).slice(1))
        with pytest.raises(QualityGateError, match="6 rows read, 5 stored"):
            chain("ingest_readings")
    assert chain.lake().rows(FILES) == []
    assert chain("ingest_readings")["readings"] == 6


@pytest.mark.heavy
def test_spark_submit_runs_a_job(tmp_path: Path) -> None:
    """A bare spark-submit, with the settings where it finds them, from another folder."""
    write_sensor(tmp_path / "landing", DAY)
    script = Path(__file__).parents[3] / "jobs" / "ingest_readings.py"
    where = ["--landing", str(tmp_path / "landing"), "--lake", str(tmp_path / "lake")]
    command = [str(BIN / "spark-submit"), str(script), "--stage", "chromate", *where]
    env = {**os.environ, "PLATELAKE_HERE_BYTES": "0"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    said = (done.stdout + done.stderr).splitlines()
    events = [json.loads(line) for line in said if line.startswith("{")]
    assert {"event", "run", "job", "stage"} <= set(events[-1])
    assert (tmp_path / "lake" / "chromate" / "readings" / "_delta_log").is_dir()
    assert {path.name for path in tmp_path.iterdir()} == {"landing", "lake"}  # no spark-warehouse


def test_a_full_disk_leaves_the_tables_as_they_were(chain: Chain, stage: object) -> None:
    """On a file system of 6 MB, filled up between two runs."""
    disk = chain.lake_folder.with_name("disk")
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], capture_output=True
    )
    if not mounted or mounted.returncode:
        unavailable("a small disk can only be mounted as root; run the tests as root")
    try:
        small = Chain(chain.landing, disk / "lake")
        write_sensor(chain.landing, DAY)
        write_errors(chain.landing, {"2021-09-06": ["1"]})
        small("ingest_readings", "ingest_error_lists", "label")
        before = digests(small.lake(), stage)  # type: ignore[arg-type]
        write_photo(chain.landing, "good/a.png", 1)
        write_sensor(chain.landing, date(2021, 9, 7), sensor_lines(level=4.0))
        room = shutil.disk_usage(disk).free
        (disk / "filler").write_bytes(bytes(max(room - 6_000, 0)))
        where = ["--landing", str(chain.landing), "--stage", "chromate"]
        done = subprocess.run(
            [str(BIN / "platelake"), "run", *where, "--lake", str(disk / "lake")],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert "the disk is full; the tables are as they were at their last commit" in done.stderr
        assert digests(small.lake(), stage) == before  # type: ignore[arg-type]
        (disk / "filler").unlink()
        assert small("ingest_readings")["readings"] == 12
    finally:
        subprocess.run(["umount", "-l", str(disk)])
