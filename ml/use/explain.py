"""Why a model gives a verdict: the features that moved it, and where it looked on a photo."""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lakehouse.delta.lake import Lake
from lakehouse.errors import PlatelakeError
from lakehouse.files.photos import PhotoError, read_upright
from lakehouse.settings import Settings
from lakehouse.stage import Stage
from lakehouse.stage_sections import Levels
from lakehouse.statistics import Array, lot_statistics
from lakehouse.tables.readings import readings
from ml.data.lots import Matrix, as_matrix, feature_names
from ml.figures.maps import regions
from ml.use.predictor import LotModel, PhotoModel, Verdict

SHOWN = 10
SEED = 0
PERMUTATIONS = 3
"""Number of orders of features to try, each forward and backward."""

_ONE_AT_A_TIME = threading.Lock()
"""shap seeds numpy's common generator, so two explanations at once would change each other."""

Contributions = list[tuple[str, float, float]]
"""Features, their values, and how much each moves the probability. The largest comes first."""


def explain_lot(
    lake: Lake, stage: Stage, model: LotModel, day: date, lot: str
) -> tuple[Verdict, Contributions]:
    """Return the verdict on a lot of the lake, with the features that moved it.

    Raises:
        PlatelakeError: the lake has no such lot.
    """
    found = lot_rows(lake, stage, day, lot)
    if not found.num_rows:
        raise PlatelakeError(f"table readings has no lot {lot} on {day}; name another lot")
    values = {v.name: found[v.name].to_numpy() for v in stage.variables}
    features = as_matrix([lot_statistics(values, model.bands)], model.variables)
    moments = found["measured_at"].to_pylist()
    took = np.array([(moments[-1] - moments[0]).total_seconds()])
    return model.predict_features(features, took)[0], shap_parts(model, features)


def lot_rows(lake: Lake, stage: Stage, day: date, lot: str) -> pa.Table:
    """Read `measured_at` and the variables of one lot, in order of time; empty if there is none."""
    columns = ("measured_at", *(variable.name for variable in stage.variables))
    of_lot = (pc.field("day") == day) & (pc.field("lot") == lot)
    return lake.load(readings(stage), where=of_lot, columns=columns).sort_by("measured_at")


def shap_parts(model: LotModel, features: Matrix) -> Contributions:
    """Estimate Shapley values of one lot's features, shape (1, features), by permutations.

    They say how much each feature moves the probability away from its mean over the lots in the
    model's card (Lundberg and Lee 2017). The ten largest are returned.
    """
    import shap

    background = np.asarray(model.card["background"], np.float32)

    def probabilities(rows: Array) -> Array:
        return model.probabilities(np.asarray(rows, np.float32))

    rounds = PERMUTATIONS * (2 * features.shape[1] + 1)
    with _ONE_AT_A_TIME:
        explainer = shap.explainers.Permutation(probabilities, background, seed=SEED)
        values = explainer(features, max_evals=rounds, silent=True).values[0]
    names = feature_names(model.variables)
    order = np.argsort(-np.abs(values))[:SHOWN]
    return [(names[at], float(features[0, at]), float(values[at])) for at in order]


def heat_picture(
    model: PhotoModel, content: bytes, settings: Settings, file: Path, bits: Levels | None = None
) -> Verdict:
    """Write the photo in its own size as PNG, with what speaks for bad in red and boxed.

    Returns:
        The verdict, from the same run of the model.

    Raises:
        PlatelakeError: the photo cannot be read.
    """
    try:
        photo = read_upright(content, settings, bits)
    except PhotoError as error:
        raise PlatelakeError(f"the photo cannot be read: {error.rule}: {error}") from None
    verdict, heat = model.inspect(photo)
    with_map(photo, grey_heat(heat), model.points).save(file, "PNG")
    return verdict


def grey_heat(heat: NDArray[np.float32]) -> Image.Image:
    """Turn a heat map, shape (h, w), 0 to 1, into a grey picture of that size."""
    return Image.fromarray((255 * np.clip(heat, 0, 1)).astype(np.uint8))


def with_map(photo: Image.Image, heat: Image.Image, points: bool) -> Image.Image:
    """Show a grey heat map of the whole photo on it. This changes the photo itself.

    Args:
        photo: RGB.
        heat: its map, of any size.
        points: the map has a scale of its own. Then what is above its threshold is boxed.
    """
    boxes = boxes_of(np.asarray(heat), photo.size) if points else []
    with_heat(photo, heat)
    draw, line = ImageDraw.Draw(photo), max(2, min(photo.size) // 160)
    for box in boxes:
        draw.rectangle(box, outline=RED, width=line)
    return photo


RED = (220, 30, 30)


def boxes_of(heat: NDArray[np.uint8], size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Find the boxes (left, top, right, bottom) round what is above 0.

    Args:
        heat: a map with a scale of its own, shape (h, w), 0 below its threshold.
        size: width and height of the photo, in pixels; the boxes are in these pixels.

    Example:
        >>> heat = np.zeros((4, 4), np.uint8)
        >>> heat[1, 2:] = 200
        >>> boxes_of(heat, (40, 40))
        [(20, 10, 39, 19)]
    """
    across, down = size[0] / heat.shape[1], size[1] / heat.shape[0]
    return [
        (
            round(float(columns.min() * across)),
            round(float(rows.min() * down)),
            round(float((columns.max() + 1) * across)) - 1,
            round(float((rows.max() + 1) * down)) - 1,
        )
        for rows, columns in regions(heat > 0)
    ]


def with_heat(photo: Image.Image, heat: Image.Image) -> Image.Image:
    """Paint a grey heat map of the whole photo onto it in red. This changes the photo itself."""
    alpha = heat.resize(photo.size, Image.Resampling.BILINEAR)
    photo.paste(RED, mask=alpha.point(lambda v: int(v * 0.6)))
    return photo
