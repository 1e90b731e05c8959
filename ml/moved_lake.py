"""Correct the paths in MLflow's embedded database after a lake was moved or copied.

MLflow stores the place of each artifact as an absolute path. In a copy, these paths would lead to
the original: its models would be read, and new models would be written there.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

import structlog
from sqlalchemy import make_url

from lakehouse.errors import PlatelakeError
from lakehouse.settings import Settings

DATABASE = "mlflow.db"
ARTIFACTS = "mlflow"
"""The folder of the artifacts, next to the database."""

CHAMPION, SHA256, MODEL_FILE = "champion", "sha256", "model.onnx"
"""Alias of the version in use, tag with the hash of a version's file, and that file's name."""

VERSION = """
SELECT v.version, v.storage_location, t.value FROM model_versions v
JOIN model_version_tags t ON t.name = v.name AND t.version = v.version AND t.key = :key
WHERE v.name = :name AND (CAST(v.version AS TEXT) = :alias OR v.version IN (
  SELECT version FROM registered_model_aliases WHERE name = :name AND alias = :alias))
"""
"""Number, folder and hash of one version of a model."""

PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)
"""The columns in which MLflow stores these paths."""


def is_own(uri: str, lake: Path) -> bool:
    """Return whether this SQLite URI names the database of the lake, given by absolute path."""
    name = make_url(uri).database
    return name is not None and Path(name).resolve() == lake / DATABASE


def point_here(lake: Path) -> None:
    """Make the paths in the lake's own database begin at this lake, in one transaction.

    If there is no database yet, or it names this lake already, do nothing.

    Raises:
        PlatelakeError: the database cannot be read or changed.
    """
    database = lake / DATABASE
    if not database.is_file():
        return
    here = (lake / ARTIFACTS).as_uri()
    try:
        with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as sql:
            if not _elsewhere(sql, here):
                return
            sql.execute("BEGIN IMMEDIATE")
            moved = _elsewhere(sql, here)
            for old in moved:
                _rewrite(sql, old, here)
            sql.execute("COMMIT")
    except sqlite3.Error as error:
        raise PlatelakeError(
            f"{database} names another folder for its models, and cannot be changed ({error}); "
            "let the user of this process write to it, or close the program that has it open"
        ) from None
    structlog.get_logger().info(
        "the lake was moved: paths of its models are corrected", before=moved
    )


def embedded_model(settings: Settings, reference: str) -> tuple[bytes, str, int] | None:
    """Read a registered model from the lake's own database, without importing MLflow.

    That import takes longer than the rest of a command for one photo.

    Args:
        settings: they name lake and tracking server.
        reference: NAME, NAME@ALIAS or NAME@NUMBER, as `Registry.need` takes it.

    Returns:
        The ONNX file, whose hash is the registered one, the model's name and its version. None in
        all other cases: the registry then finds it, or says what is wrong.
    """
    lake = Path(settings.lake).resolve()
    uri = settings.mlflow_address()
    if not (uri.startswith("sqlite:") and is_own(uri, lake) and (lake / DATABASE).is_file()):
        return None
    point_here(lake)
    name, _, alias = reference.partition("@")
    given = {"name": name, "alias": alias or CHAMPION, "key": SHA256}
    try:
        with closing(sqlite3.connect(f"file:{lake / DATABASE}?mode=ro", uri=True)) as sql:
            found = sql.execute(VERSION, given).fetchall()
        ((number, place, sha256),) = found
        content = (Path(unquote(urlsplit(place).path)) / MODEL_FILE).read_bytes()
    except (sqlite3.Error, OSError, ValueError, AttributeError, TypeError):
        return None
    known = hashlib.sha256(content).hexdigest() == sha256
    return (content, name, int(number)) if known else None


def _elsewhere(sql: sqlite3.Connection, here: str) -> list[str]:
    """List the other folders of artifacts in the database that are those of a lake."""
    if ("experiments", "artifact_location") not in set(_places(sql)):
        return []
    rows = sql.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
    return [old for (old,) in rows if _is_of_a_lake(old) and old != here]


def _is_of_a_lake(location: str | None) -> bool:
    return (location or "").startswith("file:///") and str(location).endswith(f"/{ARTIFACTS}")


def _places(sql: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Yield the places that the database has. An older MLflow has fewer."""
    for table, column in PLACES:
        known = sql.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
        if (column,) in known:
            yield table, column


def _rewrite(sql: sqlite3.Connection, old: str, here: str) -> None:
    for table, column in _places(sql):
        sql.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
            f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
            (here, len(old) + 1, old, len(old) + 1, f"{old}/"),
        )
    sql.execute(
        "UPDATE datasets SET dataset_source = replace(dataset_source, ?, ?)",
        (_source(old), _source(here)),
    )


def _source(artifacts: str) -> str:
    """Return how the source of a table in that lake begins, as MLflow writes it."""
    lake = Path(unquote(urlsplit(artifacts).path)).parent
    return json.dumps({"path": f"file:{lake}/"}).removesuffix('"}')
