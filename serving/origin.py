"""Where a verdict comes from: photo, files, runs, lot, model, data and splits, step by step.

The page of an inspection, the page of a lot and `platelake explain-verdict` show the same steps.
What is not there is a step without rows that says why. It is never an error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from lakehouse.delta.lake import Lake
from lakehouse.errors import PlatelakeError
from lakehouse.sql.database import Database
from lakehouse.stage import Stage
from lakehouse.table import Table
from lakehouse.tables.files import FILES
from lakehouse.tables.inspections import INSPECTIONS
from lakehouse.tables.lot_verdicts import LOT_VERDICTS
from lakehouse.tables.lots import LOTS
from lakehouse.tables.photo_verdicts import PHOTO_VERDICTS
from lakehouse.tables.photos import PHOTOS
from lakehouse.tables.picture_names import PICTURE_NAMES
from lakehouse.tables.readings import readings
from lakehouse.tables.runs import RUNS
from lakehouse.tables.splits import SPLITS
from ml.registry import Registry
from serving.tables import agreed_labels, corrections, inspections

Row = dict[str, Any]
AT_MOST = 20
"""Rows of a step that are shown: a lot's files, a photo's names."""

VERDICT = ("verdict", "probability", "reason", "model", "model_version")
SHOWN = {
    "verdict": ("inspection_id", "inspected_at", "user_name", "file_name", "day", "lot", *VERDICT),
    "photo": ("sha256", "pixel_sha256", "format", "size", "taken_at"),
    "names": ("file", "label", "day"),
    "files": ("file", "status", "seen_at", "run_id"),
    "runs": ("run_id", "jobs", "started_at", "reconciled"),
    "lot": ("day", "lot", "label", "readings"),
    "verdicts": (*VERDICT, "data_version", "scored_at"),
    "splits": ("split_id", "protocol", "seed", "folds", "fold", "group", "label"),
    "inspections": ("inspection_id", "inspected_at", "user_name", "file_name", *VERDICT),
    "corrections": ("user_name", "role", "says", "reason", "corrected_at"),
    "agreed": ("label", "agreed_at"),
}
"""The columns of each step, as the tables name them."""


@dataclass(frozen=True)
class Step:
    """One step of the way. `missing` is a key of the texts `origin_missing` if it has no rows."""

    name: str
    rows: Sequence[Row]
    missing: str = ""

    @property
    def first(self) -> Sequence[Row]:
        """The rows that are shown."""
        return self.rows[:AT_MOST]

    @property
    def more(self) -> int:
        """How many rows are not shown."""
        return max(len(self.rows) - AT_MOST, 0)

    @property
    def as_json(self) -> Row:
        """The step with its times and days as text."""
        rows = [{name: _plain(value) for name, value in row.items()} for row in self.rows]
        return {"step": self.name, "rows": rows, "missing": self.missing or None}


@dataclass(frozen=True)
class Sources:
    """Where the steps are read. `registry` is None while MLflow is known to be away."""

    lake: Lake
    stage: Stage
    registry: Registry | None


def of_inspection(sources: Sources, one: Mapping[str, Any]) -> list[Step]:
    """Return the way from an inspection of the app to its photo, lot, model and data.

    Args:
        sources: Lake, stage and registry.
        one: The row of the inspection.
    """
    steps, pixels = _photo(sources, one["sha256"])
    own = [step for step in steps if step.name != "verdicts"]
    lot = _lot(sources, one["day"], one["lot"]) if one["day"] and one["lot"] else []
    models = _models(sources, [one], pixels or "")
    return [_step("verdict", [one], ""), *own, *lot[:1], *models]


def of_photo(sources: Sources, sha256: str) -> list[Step]:
    """Return the way of a photo: names, files, runs, verdicts of `score-photos`, their models."""
    steps, pixels = _photo(sources, sha256)
    verdicts = next((step.rows for step in steps if step.name == "verdicts"), [])
    return [*steps, *_models(sources, verdicts, pixels or "")]


def of_lot(sources: Sources, day: date, lot: str) -> list[Step]:
    """Return the way of a lot: files of its readings, runs, verdicts, and their models."""
    steps = _lot(sources, day, lot)
    return [*steps, *_models(sources, steps[-1].rows, f"{day}/{lot}")]


def said_of(database: Database, stage: Stage, what: Mapping[str, Any]) -> list[Step]:
    """Return what the app's users did and said: inspections, corrections, the agreed label.

    Args:
        database: Where the app stores them.
        stage: The stage.
        what: Columns of an inspection and their values: sha256, or day and lot.

    Raises:
        SqlError: The database cannot be used.
    """
    where = [inspections.c.stage == stage.name]
    where += [inspections.c[name] == value for name, value in what.items()]
    wanted = [inspections.c[name] for name in INSPECTIONS.names if name != "heat"]
    query = sa.select(*wanted).where(*where).order_by(inspections.c.inspected_at)
    with database.transaction() as connection:
        found = [dict(row._mapping) for row in connection.execute(query)]
        photos = {row["sha256"] for row in found}
        said = []
        for table, order in ((corrections, "corrected_at"), (agreed_labels, "agreed_at")):
            own = (table.c.stage == stage.name, table.c.sha256.in_(photos))
            asked = sa.select(table).where(*own).order_by(table.c[order])
            said.append([dict(row._mapping) for row in connection.execute(asked)])
    return [
        _step("inspections", found, "not_inspected"),
        _step("corrections", said[0], "not_corrected"),
        _step("agreed", said[1], "not_agreed"),
    ]


def find_inspection(database: Database, stage: Stage, inspection_id: str) -> Row | None:
    """Return the row of an inspection of this stage, without its heat map; None: there is none."""
    wanted = [inspections.c[name] for name in INSPECTIONS.names if name != "heat"]
    own = (inspections.c.stage == stage.name, inspections.c.inspection_id == inspection_id)
    with database.transaction() as connection:
        found = connection.execute(sa.select(*wanted).where(*own)).one_or_none()
    return dict(found._mapping) if found else None


def _photo(sources: Sources, sha256: str) -> tuple[list[Step], str | None]:
    """Return the steps of a photo, and its pixel_sha256 if the lake has it."""
    lake = sources.lake
    photo = _rows(lake, PHOTOS, SHOWN["photo"], pc.field("sha256") == sha256)
    own = (pc.field("kind") == "photos") & (pc.field("sha256") == sha256)
    files = _rows(lake, FILES, SHOWN["files"], own)
    steps = [_step("photo", photo, "not_ingested")]
    pixels = photo[0]["pixel_sha256"] if photo else None
    this_picture = pc.field("pixel_sha256") == pixels if pixels else None
    if this_picture is not None:
        names = _rows(lake, PICTURE_NAMES, SHOWN["names"], this_picture)
        steps.append(_step("names", names, "no_names"))
    steps += _files_and_runs(lake, files, "no_files")
    if this_picture is not None:
        columns = (*SHOWN["verdicts"], "model_sha256")
        scored = _rows(lake, PHOTO_VERDICTS, columns, this_picture)
        steps.append(_step("verdicts", scored, "not_scored"))
    return steps, pixels


def _lot(sources: Sources, day: date, lot: str) -> list[Step]:
    """Return the steps of a lot; the last one has its verdicts."""
    lake = sources.lake
    this_lot = (pc.field("day") == day) & (pc.field("lot") == lot)
    brought = sorted(lake.counts(readings(sources.stage), "file", this_lot))
    own = (pc.field("kind") == "readings") & _is_one_of("file", brought)
    events = _rows(lake, FILES, (*SHOWN["files"], "event"), own)
    last = {row["file"]: row for row in sorted(events, key=lambda row: row["event"])}
    columns = (*SHOWN["verdicts"], "model_sha256")
    return [
        _step("lot", _rows(lake, LOTS, SHOWN["lot"], this_lot), "no_lot"),
        *_files_and_runs(lake, [last[file] for file in brought if file in last], "no_lot_files"),
        _step("verdicts", _rows(lake, LOT_VERDICTS, columns, this_lot), "not_scored"),
    ]


def _files_and_runs(lake: Lake, files: Sequence[Row], missing: str) -> list[Step]:
    """Return the files' events in the ledger, and the runs that wrote them."""
    wrote = sorted({row["run_id"] for row in files})
    runs = _rows(lake, RUNS, SHOWN["runs"], _is_one_of("run_id", wrote)) if wrote else []
    steps = [_step("files", files, missing)]
    return [*steps, _step("runs", runs, "no_runs")] if files else steps


def _models(sources: Sources, verdicts: Iterable[Mapping[str, Any]], item: str) -> list[Step]:
    """Return what MLflow knows of each model that gave a verdict, and the item in its splits."""
    names = ("model", "model_version", "model_sha256")
    steps = []
    for key in dict.fromkeys(tuple(row[name] for name in names) for row in verdicts):
        model, splits = _model(sources, dict(zip(names, key, strict=True)))
        steps.append(model)
        if model.rows:
            steps.append(_splits(sources.lake, splits, item))
    return steps


def _model(sources: Sources, of: Row) -> tuple[Step, list[str]]:
    """Return the model's step and the names of its splits."""
    known = None
    try:
        if sources.registry is None:
            return Step("model", [], "mlflow_away"), []
        known = sources.registry.describe(of["model"], of["model_version"])
    except PlatelakeError:
        return Step("model", [], "mlflow_away"), []
    if known is None:
        return Step("model", [], "no_version"), []
    tags = known["tags"]
    if tags.get("sha256") != of["model_sha256"]:
        return Step("model", [], "other_model"), []
    row = {
        **of,
        "mlflow_run": known["run_id"],
        "page": known["page"],
        "data_versions": tags.get("data_versions") or None,
        "git_commit": tags.get("git_commit") or None,
        "promoted_at": tags.get("promote_at"),
        "promoted_by": tags.get("promote_by"),
        "promoted_reason": tags.get("promote_reason"),
    }
    return Step("model", [row]), known["splits"]


def _splits(lake: Lake, splits: Collection[str], item: str) -> Step:
    """Return the item's rows in these splits: it was in the data that the model learned from."""
    if not item or not splits:
        return Step("splits", [], "no_splits" if item else "not_ingested")
    own = _is_one_of("split_id", splits) & (pc.field("item") == item)
    return _step("splits", _rows(lake, SPLITS, SHOWN["splits"], own), "not_trained_on")


def _rows(lake: Lake, table: Table, columns: Sequence[str], where: pc.Expression) -> list[Row]:
    found: list[Row] = lake.load(table, where=where, columns=columns).to_pylist()
    return found


def _is_one_of(column: str, values: Collection[str]) -> pc.Expression:
    """Return the condition; an empty list has no type of its own, which Arrow refuses."""
    return pc.field(column).isin(pa.array(values, pa.string()))


def _step(name: str, rows: Iterable[Mapping[str, Any]], missing: str) -> Step:
    """Return the step with the columns that are shown, and the hash of the model's file."""
    columns = SHOWN[name]
    kept = [
        {key: _utc(row[key]) for key in (*columns, "model_sha256") if key in row} for row in rows
    ]
    return Step(name, kept, "" if kept else missing)


def _utc(value: Any) -> Any:
    """Return a time without its zone, as SQL keeps it; the lake's times are UTC too."""
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value.isoformat()}Z"
    return value.isoformat() if isinstance(value, date) else value
