"""The DAGs of a plant of several stages, as Airflow reads them. The processes need not run."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import unavailable
from tests.stack.real import ROOT
from tests.stack.test_chain import DAGS

PYTHON = ROOT / ".venv-airflow" / "bin" / "python"
PARSE = """
import json, sys
from pathlib import Path
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
bag = DagBag(sys.argv[1], bundle_path=Path(sys.argv[1]), bundle_name="dags")
found = {
    "dags": {dag_id: DagSerialization.to_dict(dag) for dag_id, dag in bag.dags.items()},
    "errors": bag.import_errors,
    "seconds": [one.duration.total_seconds() for one in bag.dagbag_stats],
    "imported": [*sys.modules],
}
Path(sys.argv[2]).write_text(json.dumps(found, default=str))
"""


class Reader:
    """Airflow, which reads the DAGs with stage files of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stages = folder / "conf" / "stages"
        shutil.copytree(ROOT / "conf", folder / "conf")

    def __call__(self, **variables: str) -> dict[str, Any]:
        file = self.folder / "found.json"
        env = {**os.environ, "AIRFLOW_HOME": str(self.folder), "PYTHONPATH": str(ROOT / "dags")}
        env |= {"PLATELAKE_CONF": str(self.folder / "conf")}
        env |= {f"AIRFLOW_VAR_{name}": value for name, value in variables.items()}
        command = [PYTHON, "-c", PARSE, ROOT / "dags", file]
        subprocess.run(command, env=env, check=True, capture_output=True, cwd=self.folder)
        found: dict[str, Any] = json.loads(file.read_text())
        return found


@pytest.fixture
def airflow(tmp_path: Path) -> Reader:
    if not PYTHON.exists():
        unavailable("Airflow is not installed; `make stack` does it")
    return Reader(tmp_path)


def test_with_one_stage_file_the_dags_are_named_after_their_files(airflow: Reader) -> None:
    found = airflow()
    assert found["errors"] == {} and found["dags"].keys() == DAGS.keys()
    assert "platelake://lake/error_lists" in json.dumps(found["dags"]["labels"])


def test_each_stage_has_a_dag_of_each_kind_and_nothing_of_another_stage(airflow: Reader) -> None:
    """A hidden file, or a stage file that is not TOML, removes no DAG."""
    (airflow.stages / "nickel.toml").write_text("= no toml =")
    (airflow.stages / ".nickel.toml").touch()
    found = airflow()
    stages = ("chromate", "nickel")
    assert found["errors"] == {}
    assert found["dags"].keys() == {f"{dag}_{stage}" for dag in DAGS for stage in stages}
    for dag_id, dag in found["dags"].items():
        stage, other = stages if dag_id.endswith("_chromate") else stages[::-1]
        text = json.dumps(dag)
        assert stage in dag["dag"]["tags"] and other not in text
    asset = '"platelake://lake/nickel/error_lists"'
    for dag, what in (("error_lists", '"new_error_lists_nickel"'), ("labels", asset)):
        assert what in json.dumps(found["dags"][f"{dag}_nickel"])


def test_a_variable_names_the_stages_too(airflow: Reader) -> None:
    for stage in ("nickel", "zinc"):
        (airflow.stages / f"{stage}.toml").touch()
    found = airflow(PLATELAKE_STAGES="zinc, nickel")
    assert {dag_id.rpartition("_")[2] for dag_id in found["dags"]} == {"zinc", "nickel"}
    assert airflow(PLATELAKE_STAGES="zinc")["dags"].keys() == DAGS.keys()
    wrong = airflow(PLATELAKE_STAGES='["zinc"]')
    assert wrong["dags"] == {} and len(wrong["errors"]) == len(DAGS)
    assert """'["zinc"]' is not the name of a stage""" in wrong["errors"]["readings.py"]


def test_without_a_stage_airflow_shows_what_is_missing(airflow: Reader) -> None:
    (airflow.stages / "chromate.toml").unlink()
    found = airflow()
    assert f"{airflow.stages} has no stage file; name the" in found["errors"]["readings.py"]


def test_the_dags_of_fifty_stages_are_read_in_a_second(airflow: Reader) -> None:
    for number in range(50):
        (airflow.stages / f"line_{number}.toml").touch()
    found = airflow()
    assert len(found["dags"]) == 51 * len(DAGS)
    assert max(found["seconds"]) < 1
    heavy = {"lakehouse", "jobs", "pyspark", "deltalake", "mlflow"}
    assert not heavy & {name.partition(".")[0] for name in found["imported"]}
