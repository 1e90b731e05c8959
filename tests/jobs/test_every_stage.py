"""A plant of several stages: one command does them all, and what is theirs stays apart."""

import json
import re
import shlex
import shutil
import sqlite3
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import jobs.summarise
from jobs.cli.main import invoke
from jobs.context import RunContext
from jobs.options import Options
from jobs.runner import begin
from jobs.train import open_registry
from lakehouse.delta.lake import Lake
from lakehouse.errors import PlatelakeError, QualityGateError
from lakehouse.landing.sample_plant import make_sample_plant
from lakehouse.settings import conf_directory
from lakehouse.tables import MIRRORED
from lakehouse.tables.picture_days import PICTURE_DAYS
from ml.registry import Registry
from tests.plant import sensor_lines, write_errors, write_photo, write_sensor
from tests.test_chain import OTHER_STAGE

STAGES = ("chromate", "electroplating")
PLATED = ["06.09.21;9:00:00;1;100", "06.09.21;9:00:05;2;101", "07.09.21;9:00:00;1;102"]


@dataclass
class Plant:
    """Settings, landing zone and lake of a plant with the stages above."""

    folder: Path

    @property
    def stages(self) -> Path:
        return self.folder / "conf" / "stages"

    @property
    def landing(self) -> Path:
        return self.folder / "landing"

    def lake(self, stage: str) -> Lake:
        """The stage's tables, read without Spark."""
        return Lake(str(self.folder / "lake"), stage, lambda: None)  # type: ignore[arg-type,return-value]

    def __call__(self, *command: str, code: int = 0) -> dict[str, Any]:
        """The command on this lake; its report."""
        file = self.folder / "report.json"
        file.unlink(missing_ok=True)
        where = ["--lake", str(self.folder / "lake"), "--json", str(file)]
        assert invoke([*command, *where]) == code
        found: dict[str, Any] = json.loads(file.read_text())
        return found

    def run(self, *given: str, code: int = 0) -> dict[str, Any]:
        return self("run", "--landing", str(self.landing), *given, code=code)


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plant:
    made = Plant(tmp_path)
    shutil.copytree(conf_directory(), tmp_path / "conf")
    (made.stages / "electroplating.toml").write_text(OTHER_STAGE)
    (made.stages / ".chromate.toml").write_text("what an editor left")
    monkeypatch.setenv("PLATELAKE_CONF", str(tmp_path / "conf"))
    for day in (6, 7):
        write_sensor(made.landing, date(2021, 9, day), sensor_lines(level=day / 2))
    write_errors(made.landing, {"2021-09-06": ["1"], "2021-09-07": []})
    write_photo(made.landing, "good/a.png", 1)
    (made.landing / "data").mkdir()
    electro = ["Date;Time;Process;Ampere", *PLATED]
    (made.landing / "data" / "electro.csv").write_text("\n".join(electro))
    (made.landing / "errors.csv").write_text("Date,LoT1\n2021-09-06,2\n2021-09-07,\n")
    return made


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The sentences on standard error, without the log."""
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("platelake:")]


def test_a_run_without_a_stage_does_all_stages_in_order_of_name(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = plant.run()["stages"]
    assert (first["stage"], first["readings"], first["lots"]) == ("chromate", 12, 4)
    assert (second["stage"], second["readings"], second["lots"]) == ("electroplating", 3, 3)
    assert (first["files"]["loaded"], second["files"]["loaded"]) == (4, 2)
    shown = capsys.readouterr().out
    assert re.findall(r"Stage (\w+), run", shown) == [*STAGES]
    assert [one["files"]["loaded"] for one in plant.run()["stages"]] == [0, 0]


def test_a_stage_lists_files_of_others_unless_it_ignores_them(plant: Plant) -> None:
    landing = ["--landing", str(plant.landing)]
    first, second = plant("ingest-readings", *landing)["stages"]
    assert first["unmatched"] == {"count": 2, "files": ["data/electro.csv", "errors.csv"]}
    assert second["unmatched"]["count"] == 4
    ignored = 'ignore = ["sensor/**", "photos/**", "Error Lot list.csv"]'
    (plant.stages / "electroplating.toml").write_text(f"{ignored}\n{OTHER_STAGE}")
    _, second = plant("ingest-readings", *landing)["stages"]
    assert second["unmatched"] == {"count": 0, "files": []}


def test_a_stage_that_is_named_is_done_alone(plant: Plant) -> None:
    found = plant.run("--stage", "electroplating")
    assert found["stage"] == "electroplating" and "stages" not in found
    assert not (plant.folder / "lake" / "chromate").exists()
    assert invoke(["run", "--landing", str(plant.landing), "--stage", ""]) == 2


def test_with_one_stage_file_a_run_is_that_stages(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    (plant.stages / "electroplating.toml").unlink()
    found = plant.run()
    assert found["stage"] == "chromate" and found["lots"] == 4 and "stages" not in found
    (plant.stages / "chromate.toml").write_text("= no toml =")
    assert plant.run(code=2)["jobs"][0] == "ingest_readings"
    (sentence,) = said(capsys)
    assert sentence.startswith(f"platelake: stage file {plant.stages / 'chromate.toml'} is not")


def test_a_stage_that_fails_does_not_stop_the_others(
    plant: Plant, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is the highest of theirs, whichever stage it comes from."""
    (plant.stages / "anodising.toml").write_text("= no toml =")
    (plant.stages / "nickel-2.toml").write_text(OTHER_STAGE)

    def refused(context: RunContext) -> None:
        if context.stage.name == "chromate":
            raise QualityGateError("counts do not reconcile")

    monkeypatch.setattr(jobs.summarise, "run", refused)
    first, second, third, fourth = plant.run(code=3)["stages"]
    assert (first["stage"], first["exit_code"]) == ("anodising", 2)
    assert (second["stage"], second["exit_code"]) == ("chromate", 3)
    assert second["error"] == "counts do not reconcile" and second["jobs"][-1] == "sync"
    assert (third["stage"], third["lots"]) == ("electroplating", 3)
    assert (fourth["stage"], fourth["exit_code"]) == ("nickel-2", 2)
    for sentence, stage in zip(said(capsys), ("anodising", "chromate", "nickel-2"), strict=True):
        assert sentence.startswith(f"platelake: stage {stage}: ")


def test_what_is_wrong_for_every_stage_is_said_once(
    plant: Plant, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = str(plant.folder / "no" / "report.json")
    assert invoke(["run", "--landing", str(plant.landing), "--json", missing]) == 2
    (sentence,) = said(capsys)
    assert f"the report {missing} cannot be written" in sentence
    monkeypatch.setenv("PLATELAKE_LAEK", "typo")
    assert plant.run(code=2)["exit_code"] == 2
    (sentence,) = said(capsys)
    assert "PLATELAKE_LAEK" in sentence


def test_each_job_of_the_run_does_all_stages_too(plant: Plant) -> None:
    landing = ["--landing", str(plant.landing)]
    for job in ("ingest-readings", "ingest-error-lists", "ingest-photos"):
        assert [one["stage"] for one in plant(job, *landing)["stages"]] == [*STAGES]
    for job in ("label", "features", "summarise", "sync"):
        assert [[*one["seconds"]] for one in plant(job)["stages"]] == [[job], [job]]
    kept = [one["maintained"]["readings"]["files_after"] for one in plant("maintain")["stages"]]
    assert kept == [1, 1]


@pytest.mark.parametrize("command", [["score-lots"], ["compare"], ["quarantine", "list"]])
def test_other_commands_ask_for_a_stage(
    plant: Plant, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke([*command, "--lake", str(plant.folder / "lake")]) == 2
    (sentence,) = said(capsys)
    assert "--stage is missing; known: " in sentence


def test_the_rows_of_stages_stay_apart(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one lake folder and one SQL database."""
    url = f"sqlite:///{plant.folder / 'shared.db'}"
    monkeypatch.setenv("PLATELAKE_SQL_URL", url)
    plant.run()
    engine = sa.create_engine(url)
    for table in MIRRORED:
        counts = sa.text(f"SELECT stage, count(*) FROM {table.name} GROUP BY stage")
        with engine.connect() as connection:
            in_sql = dict(connection.execute(counts).all())  # type: ignore[arg-type]
        in_lake = {stage: len(plant.lake(stage).rows(table)) for stage in STAGES}
        assert in_sql == {stage: rows for stage, rows in in_lake.items() if rows}, table.name
        assert in_sql.keys() == ({"chromate"} if table is PICTURE_DAYS else {*STAGES})
    engine.dispose()


def test_a_stage_file_names_its_stage_and_the_log_says_so(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    file = plant.stages / "electroplating.toml"
    moved = file.rename(plant.folder / "nickel-plating.toml")
    assert plant.run("--stage-file", str(moved))["stage"] == "nickel_plating"
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (event,) = [one for one in events if one["event"] == "the stage has the name of its file"]
    assert (event["file"], event["stage"]) == (str(moved), "nickel_plating")
    plant.run("--stage-file", str(moved), "--stage", "nickel")
    assert "the name of its file" not in capsys.readouterr().err


def elsewhere(plant: Plant) -> str:
    """A stage file in another place, whose path needs quotes in a shell."""
    file = plant.folder / "other stages" / "nickel.toml"
    file.parent.mkdir()
    shutil.copy(plant.stages / "chromate.toml", file)
    return str(file)


def advised(capsys: pytest.CaptureFixture[str], *command: str, code: int = 0) -> list[list[str]]:
    """The commands that this one advises, in words."""
    capsys.readouterr()
    assert invoke(command) == code
    told = capsys.readouterr()
    text = re.sub(r"\s+", " ", told.out + told.err)
    return [shlex.split(line) for line in re.findall(r"`platelake ([^`]+)`", text)]


def test_what_a_command_advises_names_the_stage_as_it_was_named(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--stage-file", elsewhere(plant)]
    plant("ingest-readings", "--landing", str(plant.landing), *given)
    given += ["--lake", str(plant.folder / "lake")]
    assert advised(capsys, "quarantine", "show", "a", *given, code=2) == [
        ["quarantine", "list", *given]
    ]
    assert invoke(["quarantine", "list", *given]) == 0
    assert advised(capsys, "score-lots", *given, code=2) == [["compare", *given]]
    database = plant.folder / "other place.db"
    given += ["--sql-url", f"sqlite:///{database}"]
    assert invoke(["sync", *given]) == 0
    with sqlite3.connect(database) as somebody_else:
        somebody_else.execute("DELETE FROM runs")
    plant("ingest-readings", "--landing", str(plant.landing), *given[:2])
    assert advised(capsys, "sync", *given, code=3) == [["sync", "--whole", *given]]
    assert invoke(["sync", "--whole", *given]) == 0


@pytest.mark.heavy
def test_the_models_of_stages_stay_apart(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    """In one MLflow; and what the commands advise works, with a stage file too."""
    place = {"chromate": ["--stage", "chromate"], "nickel": ["--stage-file", elsewhere(plant)]}
    lake = ["--lake", str(plant.folder / "lake")]
    for stage, given in place.items():
        landing = plant.folder / f"landing of {stage}"
        make_sample_plant(landing, days=4, lots_per_day=8, rows_per_lot=9, failed_lots=8)
        for job in ("ingest-readings", "ingest-error-lists"):
            plant(job, "--landing", str(landing), *given)
        plant("label", *given)
        (first,) = advised(capsys, "compare", "--of", "lots", *given, *lake)
        assert first == ["train", "trees", *given, *lake]
        train = ["train", "trees", "--kind", "decision_tree", "--folds", "2", *given, *lake]
        if stage == "nickel":
            with pytest.MonkeyPatch.context() as away:
                away.setattr(Registry, "log_model", gone)
                (train,) = advised(capsys, *train, code=1)
            assert train[:2] == ["train", "log"] and train[3:] == [*given, *lake]
        next_ones = advised(capsys, *train)
        assert next_ones == [
            ["compare", *given, *lake],
            ["promote", f"{stage}-lots", *given, *lake],
        ]
        for command in next_ones:  # So few lots teach a model that saves nothing.
            force = ["--force", "a test"] if command[0] == "promote" else []
            assert invoke([*command, *force]) == 0
    registry = open_registry(begin(Options("chromate", lake=lake[1])))
    for stage in place:
        assert registry.need(f"{stage}-lots").number == 1
        assert {run["tags"]["stage"] for run in registry.runs(f"{stage}-lots")} == {stage}


def gone(registry: Registry, *_: Any) -> str:
    raise PlatelakeError("MLflow is away")
