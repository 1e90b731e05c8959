"""Check that the Python of Spark's workers can run the lake's functions, before data move."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.errors import PlatelakeError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NEEDED = ("numpy", "pyarrow", "lakehouse.files.read", "lakehouse.files.photos")
"""Modules of the functions that Spark's workers call, libraries first."""

DO = "Set spark.pyspark.python to a Python that has the lake's packages on every machine"

CAUSE = re.compile(r"Cannot run program.*|No module named pyspark|\[PYTHON_VERSION_MISMATCH\].*")
"""Spark's errors if a worker's Python does not start, lacks Spark, or has another version."""


def check_executors(spark: SparkSession) -> None:
    """Raise PlatelakeError if a worker lacks a module or has another lakehouse than the driver.

    One task per processor checks this; executors that start later are not checked.
    """
    context = spark.sparkContext
    tasks = context.parallelize(range(context.defaultParallelism), context.defaultParallelism)
    try:
        faults = tasks.mapPartitions(_look(source_digest(Path(__file__).parents[1]))).collect()
    except Exception as error:
        cause = CAUSE.search(str(error))
        if not cause:
            raise
        raise PlatelakeError(f"Spark's workers do not start Python: {cause[0]}. {DO}") from None
    if faults:
        raise PlatelakeError(f"Spark's workers lack what they need: {min(faults)}. {DO}")


def source_digest(folder: Path) -> str:
    """Return a hash of the Python files below the folder; equal code has equal hashes."""
    found = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        found.update(f"{file.relative_to(folder)}\n".encode() + file.read_bytes())
    return found.hexdigest()


def _look(wanted: str) -> Callable[[Iterable[int]], Iterator[str]]:
    """Return a task that reports on its Python: nothing, or what is wrong, and where.

    Spark sends the function itself, not its name, because the worker may lack lakehouse.
    """
    needed = NEEDED

    def look(_: Iterable[int]) -> Iterator[str]:
        import importlib
        import pathlib
        import socket
        import sys

        where = f"{sys.executable} on {socket.gethostname()}"
        for name in needed:
            try:
                importlib.import_module(name)
            except Exception as error:
                yield f"{where} cannot import {name} ({error})"
                return
        found = importlib.import_module("lakehouse.spark.executors")
        folder = pathlib.Path(str(found.__file__)).parents[1]
        if found.source_digest(folder) != wanted:
            yield f"{where} has another lakehouse than the driver, in {folder}"

    return look
