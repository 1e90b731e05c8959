"""Verdicts on all lots and pictures of the lake, incrementally.

Few are judged here, many by Spark's workers, where the model's file is opened once a process.
Verdicts of one model file are brought up to date with what changed since it last scored; a new
champion scores everything once. A file is known by its hash: another tracking server counts its
versions from 1 again.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse import engine
from lakehouse.delta_rs import Row
from lakehouse.incremental import changed_days
from lakehouse.io import Lake
from lakehouse.stage import Stage
from lakehouse.table import Table
from lakehouse.tables.lot_features import features_of
from lakehouse.tables.lot_verdicts import LOT_VERDICTS
from lakehouse.tables.photo_verdicts import PHOTO_VERDICTS
from lakehouse.tables.pictures import PICTURES
from lakehouse.tables.readings import readings
from lakehouse.transforms.features import summarise_features
from ml.lots import matrix_of
from ml.predictor import LotModel, Model, PhotoModel, Verdict

AT_ONCE = 64
"""So many pictures are judged at once: 10 MB of tensors at 224 x 224."""
NONE = PHOTO_VERDICTS.arrow_schema().empty_table()
IN_READINGS = 4_000
"""So many readings are as much work as a picture."""
PICTURE = ("pixel_sha256", "tensor_width", "tensor_height", "tensor")


def score_lots(lake: Lake, stage: Stage, model: LotModel) -> int:
    """Judge the lots whose readings changed since this model last did; verdicts that changed."""
    source = readings(stage)
    pending = _pending(lake, LOT_VERDICTS, source, model)
    if pending is None:
        return 0
    consumed, before = pending
    scope: dict[str, list[Any]] = {"model_version": [model.version]}
    days = None if before is None else changed_days(lake, [source], before, consumed)
    if days is not None:
        scope["day"] = sorted(days)
    about = _about(model, consumed[source.name])
    schema, bands = features_of(model.variables).arrow_schema(), model.bands

    def judged(rows: pa.Table) -> pa.Table:
        features = summarise_features(rows, bands, schema)
        verdicts = model.judge_features(matrix_of(features, model.variables))
        keys = features.select(["day", "lot"]).to_pylist()
        return LOT_VERDICTS.arrow(_rows(keys, verdicts, about))

    versions = {source.name: consumed[source.name]}
    found = engine.compute_days(lake, [source], versions, days, judged, LOT_VERDICTS.arrow_schema())
    return lake.upsert(LOT_VERDICTS, found, scope, consumed)


def score_photos(lake: Lake, model: PhotoModel) -> int:
    """Judge the pictures that this model has not judged yet; verdicts that were added.

    Pictures never change, so one that has a verdict of this version keeps it.
    """
    pending = _pending(lake, PHOTO_VERDICTS, PICTURES, model)
    if pending is None:
        return 0
    consumed, _ = pending
    version = consumed[PICTURES.name]
    by_this = (pc.field("model_version") == model.version) & (
        pc.field("model_sha256") == model.sha256
    )
    done = lake.load(PHOTO_VERDICTS, where=by_this)
    about = _about(model, version)

    def judged(pictures: pa.Table) -> pa.Table:
        slices = (pictures.slice(at, AT_ONCE) for at in range(0, len(pictures), AT_ONCE))
        rows = (part.to_pylist() for part in slices)
        found = (row for part in rows for row in _rows(part, _judge_pictures(model, part), about))
        return PHOTO_VERDICTS.arrow(list(found))

    is_new = ~pc.field("pixel_sha256").isin(done["pixel_sha256"].combine_chunks())
    if lake.count(PICTURES, version, is_new) * IN_READINGS <= lake.here.rows:
        batches = lake.batches(PICTURES, PICTURE, is_new, version, AT_ONCE)
        parts = [judged(pa.Table.from_batches([batch])) for batch in batches]
        found = pa.concat_tables([NONE, *parts])
    else:
        known = lake.spark.createDataFrame(done.select(["pixel_sha256"]))
        pictures = lake.read(PICTURES, version).select(*PICTURE)
        new = pictures.join(known, "pixel_sha256", "left_anti")
        found = engine.map_rows(new, judged, PHOTO_VERDICTS.arrow_schema())
    scope = {"model_version": [model.version]}
    return lake.upsert(PHOTO_VERDICTS, engine.union(found, done), scope, consumed)


def _pending(
    lake: Lake, target: Table, source: Table, model: Model
) -> tuple[dict[str, int], dict[str, int] | None] | None:
    """The versions to score at and those scored before by this model; None: nothing to do."""
    version = lake.version(source)
    file = int(model.sha256[:13], 16)  # As much of it as a JSON number holds.
    consumed = {source.name: version, "model": file}
    before = lake.consumed(target)
    if version < 0 or before == consumed:
        return None
    return consumed, before if before.get("model") == file else None


def _about(model: Model, data_version: int) -> dict[str, Any]:
    """What all verdicts of this run say of themselves."""
    at = datetime.now(UTC)
    return {"model_sha256": model.sha256, "data_version": data_version, "scored_at": at}


def _rows(
    keys: Iterable[Row], verdicts: Iterable[Verdict], about: dict[str, Any]
) -> list[dict[str, Any]]:
    return [
        {**key, **_columns(verdict), **about} for key, verdict in zip(keys, verdicts, strict=True)
    ]


def _columns(found: Verdict) -> dict[str, Any]:
    return {
        "model_version": found.version,
        "model": found.model,
        "verdict": found.verdict,
        "probability": found.probability,
        "low": found.low,
        "high": found.high,
        "reason": found.reason,
    }


def _judge_pictures(model: PhotoModel, rows: list[Row]) -> list[Verdict]:
    """A tensor that is not what the model takes is unreadable; the others are judged."""
    size = model.height * model.width * 3
    found: list[Verdict | None] = []
    tensors = []
    for row in rows:
        height, width, content = row["tensor_height"], row["tensor_width"], row["tensor"] or b""
        if (height, width) != (model.height, model.width):
            said = f"{width} x {height} pixels"
            wanted = f"{model.width} x {model.height}"
            found.append(model.unreadable(f"the tensor has {said}; the model takes {wanted}"))
        elif len(content) != size:
            reason = f"the tensor has {len(content)} bytes; {size} are needed"
            found.append(model.unreadable(reason))
        else:
            found.append(None)
            tensors.append(np.frombuffer(content, np.uint8))
    shape = (len(tensors), model.height, model.width, 3)
    p = iter(model.probabilities(np.stack(tensors).reshape(shape)) if tensors else ())
    return [model.verdict(float(next(p))) if one is None else one for one in found]
