"""What Spark's workers lack is said before a file is read."""

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

import lakehouse
from tests.conftest import BY_SPARK
from tests.plant import write_sensor

pytestmark = pytest.mark.heavy


def bare(folder: Path) -> Path:
    """A Python without any library."""
    venv.create(folder / "bare", symlinks=True)
    return folder / "bare" / "bin" / "python"


def with_another_lakehouse(folder: Path) -> Path:
    """This Python, which finds an older copy of the package first."""
    copy = folder / "copy" / "lakehouse"
    shutil.copytree(Path(lakehouse.__file__).parent, copy)
    (copy / "other.py").write_text("")
    python = folder / "python"
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH="{copy.parent}:$PYTHONPATH" exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    return python


def missing(folder: Path) -> Path:
    """No Python at all."""
    return folder / "nowhere"


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (bare, r"bare/bin/python on \S+ cannot import numpy \(No module named 'numpy'\)"),
        (with_another_lakehouse, r"on \S+ has another lakehouse than the driver, in \S+copy"),
        (missing, r"do not start Python: Cannot run program \"\S+/nowhere\""),
    ],
)
def test_what_workers_lack_is_one_sentence(
    tmp_path: Path, python: Callable[[Path], Path], said: str
) -> None:
    write_sensor(tmp_path / "landing", date(2021, 9, 6))
    where = ["--landing", tmp_path / "landing", "--lake", tmp_path / "lake", "--stage", "chromate"]
    done = subprocess.run(
        [Path(sys.executable).with_name("platelake"), "ingest-readings", *where],
        env={**os.environ, **BY_SPARK, "PYSPARK_PYTHON": str(python(tmp_path))},
        cwd=tmp_path,  # Python looks for packages where it is started, too.
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("platelake: ")]
    assert re.search(said, line) and "spark.pyspark.python" in line, line
    assert not list((tmp_path / "lake" / "chromate").glob("*/_delta_log/*1.json"))
