"""`platelake plan` says what a run then does, and writes nothing."""

import json
from datetime import date
from pathlib import Path

import pytest

from jobs.cli.main import invoke
from tests.conftest import Chain
from tests.plant import sensor_lines, write_errors, write_sensor

DAY = date(2021, 9, 6)


def plan(chain: Chain, *more: str) -> dict[str, object]:
    report = chain.landing.parent / "plan.json"
    lake = ["--lake", str(chain.lake_folder), "--json", str(report)]
    assert (
        invoke(["plan", "--landing", str(chain.landing), "--stage", "chromate", *lake, *more]) == 0
    )
    found: dict[str, object] = json.loads(report.read_text("utf-8"))
    return found


def files(folder: Path) -> set[Path]:
    return {file for file in folder.rglob("*") if file.is_file() and ".locks" not in file.parts}


def test_a_plan_without_a_lake_makes_none(chain: Chain) -> None:
    write_sensor(chain.landing, DAY, [*sensor_lines(), "9,1,x,2,40,16"])
    (chain.landing / "read.me").write_text("hello")
    (chain.landing / "photos" / "good").mkdir(parents=True)
    (chain.landing / "photos" / "good" / "a.png").write_text("no photo")
    found = plan(chain)
    assert not chain.lake_folder.exists()
    readings = found["readings"]
    assert isinstance(readings, dict)
    assert (len(readings["new"]), readings["rows"], readings["rules"]) == (1, 7, {"time": 1})
    assert found["unmatched"] == ["read.me"]
    photos = found["photos"]
    assert isinstance(photos, dict)
    assert photos["quarantined"]["photos/good/a.png"].startswith("not_an_image: ")


def test_a_plan_is_what_the_run_does(chain: Chain) -> None:
    file = write_sensor(chain.landing, DAY)
    write_errors(chain.landing, {"2021-09-06": ["1"]})
    chain("ingest_readings", "ingest_error_lists")
    write_sensor(chain.landing, date(2021, 9, 7))
    write_sensor(chain.landing, DAY, sensor_lines(level=5.0))
    (chain.landing / "sensor" / "no-date.csv").write_text("x\n1\n")
    before = files(chain.lake_folder)
    found = plan(chain)
    assert files(chain.lake_folder) == before
    readings, lists = found["readings"], found["error_lists"]
    assert isinstance(readings, dict) and isinstance(lists, dict)
    assert readings["changed"] == [f"sensor/{file.name}"]
    assert (len(readings["new"]), len(readings["quarantined"]), lists["known"]) == (1, 1, 1)
    done = chain("ingest_readings", "ingest_error_lists")["files"]
    assert (done["loaded"], done["quarantined"], done["known"]) == (2, 1, 1)


def test_look_writes_a_stage_file_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sensor(tmp_path / "in", DAY)
    target = tmp_path / "stages" / "new-stage.toml"
    arguments = ["look", str(tmp_path / "in"), "--write", str(target)]
    assert invoke(arguments) == 0
    out = capsys.readouterr().out
    assert "6 of 6 rows would be stored" in out and "written: " in out
    assert invoke(arguments) == 2
    assert "is there already" in capsys.readouterr().err
    landing = ["--landing", str(tmp_path / "in"), "--lake", str(tmp_path / "lake")]
    assert invoke(["plan", "--stage-file", str(target), *landing]) == 0
