"""Verdicts on all lots and pictures of the lake, incrementally.

Lots are scored by the lake's features if these fit the model, else by features computed for it.
Pictures are scored in this process, one in each thread. On a cluster, Spark's workers score them
if there are many. A model file scores only what changed since it last scored; a new champion
scores everything once. A file is known by its hash, because another tracking server counts its
versions from 1 again.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog

from lakehouse.delta import engine
from lakehouse.delta.incremental import changed_days
from lakehouse.delta.lake import Lake
from lakehouse.delta.rows import Row
from lakehouse.derive.features import bands_id, summarise_features
from lakehouse.derive.labels import summarise_lots
from lakehouse.stage import Stage
from lakehouse.table import Table
from lakehouse.tables.lot_features import features_of, lot_features
from lakehouse.tables.lot_verdicts import LOT_VERDICTS
from lakehouse.tables.lots import LOTS
from lakehouse.tables.photo_verdicts import PHOTO_VERDICTS
from lakehouse.tables.pictures import PICTURES
from lakehouse.tables.readings import readings
from ml.data.lots import matrix_of, seconds_of
from ml.figures.metrics import Probabilities
from ml.figures.thresholds import Thresholds, decide
from ml.use.predictor import NEEDS_HUMAN, UNREADABLE, LotModel, Model, PhotoModel

AT_ONCE = 256
"""Pictures that are read at once: 40 MB of tensors at 224 x 224."""
PIXELS_AT_ONCE = 32 * 224 * 224
"""Pixels that all threads score at once. Lite0 takes 600 bytes for each, 1 GB in all."""
KEPT_AT_ONCE = 4_096
"""Verdicts are stored after this many pictures, so a run that is killed loses no more."""
IN_READINGS = 4_000
"""One picture is as much work as this many readings."""
KEY = ["day", "lot"]
IN_ORDER = [(name, "ascending") for name in KEY]
PICTURE = ("pixel_sha256", "width", "height", "tensor_width", "tensor_height", "tensor")


def score_lots(lake: Lake, stage: Stage, model: LotModel) -> int:
    """Score the lots whose readings changed since this model last scored.

    Args:
        lake: the lake. Verdicts go into its table `lot_verdicts`.
        stage: names the table of readings.
        model: the model, usually the champion.

    Returns:
        How many verdicts changed. 0 if there is nothing new.
    """
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
    sources, versions, features = _features(lake, stage, model, consumed[source.name])

    def evaluated(*rows: pa.Table) -> pa.Table:
        found, lots = features(*rows)
        matrix, seconds = matrix_of(found, model.variables), None
        if lots is not None:
            assert lots.select(KEY).equals(found.select(KEY)), "features and lots differ"
            seconds = seconds_of(lots)
        p, reasons = model.probabilities(matrix), model.reasons(matrix, seconds)
        keys = found.select(KEY)
        return _verdicts(LOT_VERDICTS, keys, p, pa.array(reasons, pa.string()), about)

    found = engine.compute_days(
        lake, sources, versions, days, evaluated, LOT_VERDICTS.arrow_schema()
    )
    return lake.upsert(LOT_VERDICTS, found, scope, consumed)


def _features(
    lake: Lake, stage: Stage, model: LotModel, version: int
) -> tuple[list[Table], dict[str, int], Callable[..., tuple[pa.Table, pa.Table | None]]]:
    """Choose the sources of the features: tables, their versions, and a function of their rows.

    The features are from `lot_features` if all of it was computed from that version of the readings
    and with the model's bands. If not, they are from the readings. The function also returns the
    lots with their start and end, in the same order, if the model has a limit for them.
    """
    source, table = readings(stage), lot_features(stage)
    at, bands, known = lake.version(table), model.bands, model.known
    timed, lots_at = known is not None and known.longest is not None, lake.version(LOTS)
    if lake.consumed(table, at).get(source.name) != version:
        reason = "features of other readings"
    elif set(lake.counts(table, "bands_id", pc.scalar(True), at)) != {bands_id(bands)}:
        reason = "features by other bands"
    elif timed and lake.consumed(LOTS, lots_at).get(source.name) != version:
        reason = "lots of other readings"
    else:
        structlog.get_logger().info("features are taken", table=table.name, version=at)
        if not timed:
            return [table], {table.name: at}, lambda rows: (rows, None)
        versions = {table.name: at, LOTS.name: lots_at}
        return (
            [table, LOTS],
            versions,
            lambda *both: (
                both[0].sort_by(IN_ORDER),
                both[1].sort_by(IN_ORDER),
            ),
        )
    structlog.get_logger().info("features are computed", table=table.name, holds=reason)
    schema = features_of(model.variables).arrow_schema()

    def computed(rows: pa.Table) -> tuple[pa.Table, pa.Table | None]:
        return summarise_features(rows, bands, schema), summarise_lots(rows) if timed else None

    return [source], {source.name: version}, computed


def score_photos(lake: Lake, model: PhotoModel) -> int:
    """Score the pictures that this model has not scored yet.

    Pictures never change, so a verdict of this model stays. A run that is killed continues from the
    last stored verdicts.

    Args:
        lake: the lake. Verdicts go into its table `photo_verdicts`.
        model: the model, usually the champion.

    Returns:
        How many verdicts changed. 0 if there is nothing new.
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
    scope = {"model_version": [model.version]}
    is_new = ~pc.field("pixel_sha256").isin(done["pixel_sha256"].combine_chunks())
    # On one machine, Spark has no more processors than this process, and takes more memory.
    if lake.local or lake.count(PICTURES, version, is_new) * IN_READINGS <= lake.here.rows:
        batches = lake.batches(PICTURES, PICTURE, is_new, version, AT_ONCE)
        stored, changed = [done], 0
        for some in engine.gathered(_evaluated_here(model, batches, about), KEPT_AT_ONCE):
            part = pa.concat_tables(some)
            stored.append(part)
            if len(part) >= KEPT_AT_ONCE:
                among = {**scope, "pixel_sha256": part["pixel_sha256"].to_pylist()}
                so_far = {"model": consumed["model"]}  # No version of pictures: more will follow.
                changed += lake.upsert(PHOTO_VERDICTS, part, among, so_far)
        return changed + lake.upsert(PHOTO_VERDICTS, pa.concat_tables(stored), scope, consumed)
    known = lake.spark.createDataFrame(done.select(["pixel_sha256"]))
    pictures = lake.read(PICTURES, version).select(*PICTURE)
    new = pictures.join(known, "pixel_sha256", "left_anti")
    evaluated = functools.partial(_predict_pictures, model, about=about)
    found = engine.map_rows(new, evaluated, PHOTO_VERDICTS.arrow_schema())
    return lake.upsert(PHOTO_VERDICTS, engine.union(found, done), scope, consumed)


def _pending(
    lake: Lake, target: Table, source: Table, model: Model
) -> tuple[dict[str, int], dict[str, int] | None] | None:
    """Return the versions to score, and those that this model scored before. None: up to date."""
    version = lake.version(source)
    file = int(model.sha256[:13], 16)  # As much of the hash as a JSON number can hold.
    consumed = {source.name: version, "model": file}
    before = lake.consumed(target)
    if version < 0 or before == consumed:
        return None
    return consumed, before if before.get("model") == file else None


def _about(model: Model, data_version: int) -> dict[str, Any]:
    """Return the columns that are equal for all verdicts of this run."""
    return {
        "model_version": model.version,
        "model": model.name,
        "model_sha256": model.sha256,
        "low": model.thresholds.low,
        "high": model.thresholds.high,
        "data_version": data_version,
        "scored_at": datetime.now(UTC),
    }


def _verdicts(
    table: Table, keys: pa.Table, p: Probabilities, reasons: pa.Array, about: dict[str, Any]
) -> pa.Table:
    """Make the table's rows with the verdicts on the items with these keys.

    `p` are probabilities, shape (items,); NaN: unreadable. An item with a probability and a reason
    needs a person.
    """
    schema = table.arrow_schema()
    thresholds = Thresholds(about["low"], about["high"])
    is_unreadable = pa.array(np.isnan(p))
    decided = pc.if_else(pc.is_valid(reasons), NEEDS_HUMAN, pa.array(decide(p, thresholds)))
    columns = {name: keys[name] for name in keys.column_names} | {
        "verdict": pc.if_else(is_unreadable, UNREADABLE, decided),
        "probability": pc.if_else(is_unreadable, None, pa.array(p)),
        "reason": reasons,
    }
    for name, value in about.items():
        columns[name] = pa.repeat(pa.scalar(value, schema.field(name).type), len(p))
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _evaluated_here(
    model: PhotoModel, batches: Iterable[pa.RecordBatch], about: dict[str, Any]
) -> Iterator[pa.Table]:
    """Yield verdicts on pictures, a batch at a time.

    A single picture takes as much time as one of a batch, and less memory. Many threads share one
    session, because the threads of a session itself would wait in a busy loop.
    """
    at_once = max(1, PIXELS_AT_ONCE // (model.height * model.width))
    with ThreadPoolExecutor(min(os.cpu_count() or 1, at_once)) as threads:
        for batch in batches:
            yield _predict_pictures(model, pa.Table.from_batches([batch]), about, threads.map)


def _predict_pictures(
    model: PhotoModel,
    pictures: pa.Table,
    about: dict[str, Any],
    each: Callable[..., Iterable[Any]] = map,
) -> pa.Table:
    """Return verdicts on the pictures. Each is scored alone."""
    found = list(each(functools.partial(_predict_picture, model), pictures.to_pylist()))
    p = np.array([one for one, _ in found], float)
    reasons = pa.array([reason for _, reason in found], pa.string())
    return _verdicts(PHOTO_VERDICTS, pictures.select(["pixel_sha256"]), p, reasons, about)


def _predict_picture(model: PhotoModel, row: Row) -> tuple[float, str | None]:
    """Return the probability of bad and why a person must decide, if so.

    The probability is NaN if the tensor does not fit the model, and the reason says how.
    """
    size = model.height * model.width * 3
    height, width, content = row["tensor_height"], row["tensor_width"], row["tensor"] or b""
    if (height, width) != (model.height, model.width):
        wanted = f"{model.width} x {model.height}"
        return np.nan, f"the tensor has {width} x {height} pixels; the model takes {wanted}"
    if len(content) != size:
        return np.nan, f"the tensor has {len(content)} bytes; {size} are needed"
    tensor = np.frombuffer(content, np.uint8).reshape(height, width, 3)
    verdict = model.verdict_on(tensor, min(row["width"], row["height"]))
    assert verdict.probability is not None
    return verdict.probability, verdict.reason
