"""Why a model gives a verdict: the features that moved it, and where it looked on a photo."""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image

from lakehouse.delta.lake import Lake
from lakehouse.errors import PlatelakeError
from lakehouse.files.photos import PhotoError
from lakehouse.settings import Settings
from lakehouse.stage import Levels, Stage
from lakehouse.statistics import Array, lot_statistics
from lakehouse.tables.readings import readings
from ml.data.lots import Matrix, as_matrix, feature_names
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
    values = lot_readings(lake, stage, day, lot)
    features = as_matrix([lot_statistics(values, model.bands)], model.variables)
    return model.predict_features(features)[0], shap_parts(model, features)


def lot_readings(lake: Lake, stage: Stage, day: date, lot: str) -> dict[str, Array]:
    """Read the readings of one lot by variable, shape (readings,), in order of time."""
    found = lot_rows(lake, stage, day, lot)
    if not found.num_rows:
        raise PlatelakeError(f"table readings has no lot {lot} on {day}; name another lot")
    return {v.name: found[v.name].to_numpy() for v in stage.variables}


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
    """Write the model's view of the photo as PNG, with the evidence for bad in red.

    Returns:
        The verdict, from the same run of the model.

    Raises:
        PlatelakeError: the photo cannot be read.
    """
    try:
        tensor = model.read(content, settings, bits)
    except PhotoError as error:
        raise PlatelakeError(f"the photo cannot be read: {error.rule}: {error}") from None
    verdict, heat = model.look(tensor)
    with_heat(Image.fromarray(tensor), grey_heat(heat)).save(file, "PNG")
    return verdict


def grey_heat(heat: NDArray[np.float32]) -> Image.Image:
    """Turn a heat map, shape (h, w), 0 to 1, into a grey picture of that size."""
    return Image.fromarray((255 * np.clip(heat, 0, 1)).astype(np.uint8))


def with_heat(photo: Image.Image, heat: Image.Image) -> Image.Image:
    """Paint a grey heat map of the whole photo onto it in red. This changes the photo itself."""
    alpha = heat.resize(photo.size, Image.Resampling.BILINEAR)
    photo.paste((220, 30, 30), mask=alpha.point(lambda v: int(v * 0.6)))
    return photo
