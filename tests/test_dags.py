"""The DAG files as text: what they import, which jobs they name, what is said of them.

Airflow has an environment of its own, so that they parse and run is tested on the real stack.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DAGS = sorted((ROOT / "dags").glob("*.py"))
SHARED = sorted((ROOT / "dags" / "airflow_lake").glob("*.py"))
OURS = {"jobs", "lakehouse", "ml", "serving", "scripts", "tests"}


def imported(file: Path) -> set[str]:
    """The packages that it imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).split(".")[0])
    return found


@pytest.mark.parametrize("file", [*DAGS, *SHARED], ids=lambda file: file.stem)
def test_a_dag_imports_nothing_of_the_lake(file: Path) -> None:
    assert not imported(file) & OURS


@pytest.mark.parametrize("file", DAGS, ids=lambda file: file.stem)
def test_a_dag_has_no_logic(file: Path) -> None:
    """No branch and no loop; a title and a text for people; a name that is its file's."""
    tree = ast.parse(file.read_text("utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.If | ast.For | ast.While)]
    assert (ast.get_docstring(tree) or "").startswith("### ")
    text = file.read_text("utf-8")
    assert re.findall(r'lake_dag\(\s*"(\w+)"', text) == [file.stem]
    assert "airflow" in text and "dag" in text  # Airflow looks for both before it reads a file.


def jobs(file: Path) -> list[str]:
    return re.findall(r'LakeJob\(\s*job="(\w+)"', file.read_text("utf-8"))


def test_the_jobs_exist_and_the_readme_names_them() -> None:
    readme = (ROOT / "dags" / "README.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", readme, re.MULTILINE))
    assert {file.stem for file in DAGS} <= rows.keys()
    for file in DAGS:
        named = jobs(file)
        assert named and all((ROOT / "jobs" / f"{job}.py").is_file() for job in named)
        said = re.split(r"[,;] ", rows[file.stem])
        if file.stem != "training":  # Its tasks are jobs with an argument each.
            assert said == named
