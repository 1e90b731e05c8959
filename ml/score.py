"""Verdicts on all lots and pictures of the lake, by Spark, incrementally.

The model's file is broadcast and opened once a worker process. Verdicts of one model file are
brought up to date with what changed since it last scored; a new champion scores everything once. A
file is known by its hash: another tracking server counts its versions from 1 again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lakehouse.delta_rs import Row
from lakehouse.incremental import changed_days
from lakehouse.io import Lake
from lakehouse.stage import Stage
from lakehouse.table import Table
from lakehouse.tables.lot_verdicts import LOT_VERDICTS, VERDICT_COLUMNS
from lakehouse.tables.photo_verdicts import PHOTO_VERDICTS
from lakehouse.tables.pictures import PICTURES
from lakehouse.tables.readings import readings
from lakehouse.transforms.features import summarise_features
from ml.lots import as_matrix
from ml.predictor import LotModel, Model, PhotoModel, Verdict, open_model

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Judge = Callable[[Any, list[Row]], list[Verdict]]
AT_ONCE = 64
"""So many rows are judged at once: 10 MB of tensors at 224 x 224."""
_OPEN: dict[tuple[str, int], Any] = {}


def score_lots(lake: Lake, stage: Stage, model: LotModel) -> int:
    """Judge the lots whose readings changed since this model last did; verdicts that changed."""
    from pyspark.sql import functions as F

    source = readings(stage)
    pending = _pending(lake, LOT_VERDICTS, source, model)
    if pending is None:
        return 0
    consumed, before = pending
    rows = lake.read(source, consumed[source.name])
    scope: dict[str, list[Any]] = {"model_version": [model.version]}
    if before is not None:
        days = changed_days(lake, [source], before, consumed)
        if days is not None:
            rows = rows.where(F.col("day").isin(sorted(days)))
            scope["day"] = sorted(days)
    features = summarise_features(rows, model.bands)
    judged = _judged(features, ("day", "lot"), model, consumed[source.name], _judge_lots)
    return lake.upsert(LOT_VERDICTS, judged.select(*LOT_VERDICTS.names), scope, consumed)


def score_photos(lake: Lake, model: PhotoModel) -> int:
    """Judge the pictures that this model has not judged yet; verdicts that were added.

    Pictures never change, so one that has a verdict of this version keeps it.
    """
    from pyspark.sql import functions as F

    pending = _pending(lake, PHOTO_VERDICTS, PICTURES, model)
    if pending is None:
        return 0
    consumed, _ = pending
    pictures = lake.read(PICTURES, consumed[PICTURES.name])  # Starts Spark, which columns need.
    by_this = F.col("model_version") == model.version
    done = lake.read(PHOTO_VERDICTS).where(by_this & (F.col("model_sha256") == model.sha256))
    new = pictures.join(done.select("pixel_sha256"), "pixel_sha256", "left_anti")
    needed = new.select("pixel_sha256", "tensor_width", "tensor_height", "tensor")
    version = consumed[PICTURES.name]
    judged = _judged(needed, ("pixel_sha256",), model, version, _judge_pictures)
    known = done.select(*PHOTO_VERDICTS.names)
    whole = judged.select(*PHOTO_VERDICTS.names).unionByName(known)
    scope = {"model_version": [model.version]}
    return lake.upsert(PHOTO_VERDICTS, whole, scope, consumed)


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


def _judged(
    rows: DataFrame,
    key: tuple[str, ...],
    model: Model,
    data_version: int,
    judge: Judge,
) -> DataFrame:
    """The key of each row with the columns of a verdict."""
    from pyspark.sql.pandas.types import to_arrow_schema
    from pyspark.sql.types import StructType

    spark = rows.sparkSession
    shared = spark.sparkContext.broadcast(model.content)
    name, number, sha256 = model.name, model.version, model.sha256
    same = {
        "model_sha256": sha256,
        "data_version": data_version,
        "scored_at": datetime.now(UTC),
    }
    target = LOT_VERDICTS if "lot" in key else PHOTO_VERDICTS
    names = [*key, *(column.name for column in VERDICT_COLUMNS)]
    fields = {field.name: field for field in target.schema().fields}
    schema = StructType([fields[name] for name in names])
    arrow = to_arrow_schema(schema, timezone="UTC")  # The session's: `open_session` sees to it.

    def score(parts: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        opened = _opened(shared.value, sha256, name, number)
        for part in parts:
            for start in range(0, len(part), AT_ONCE):
                given = part.slice(start, AT_ONCE).to_pylist()
                found = [
                    {name: row[name] for name in key} | _columns(verdict) | same
                    for row, verdict in zip(given, judge(opened, given), strict=True)
                ]
                yield pa.RecordBatch.from_pylist(found, arrow)

    return rows.mapInArrow(score, schema)


def _opened(content: bytes, sha256: str, name: str, version: int) -> Any:
    """The model, opened once in this worker process."""
    if (sha256, version) not in _OPEN:
        _OPEN.clear()
        _OPEN[sha256, version] = open_model(content, name, version)
    return _OPEN[sha256, version]


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


def _judge_lots(model: Any, rows: list[Row]) -> list[Verdict]:
    found: list[Verdict] = model.judge_features(as_matrix(rows, model.variables))
    return found


def _judge_pictures(model: Any, rows: list[Row]) -> list[Verdict]:
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
