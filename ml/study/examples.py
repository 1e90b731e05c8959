"""Examples of right and wrong verdicts on photos, with their maps, for the model card."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lakehouse.files.photos import as_data_uri
from ml.data.pictures import PictureFrame
from ml.data.source import load
from ml.figures.cross_validation import CrossValidation
from ml.study.model_card import Example, chosen
from ml.use.explain import grey_heat, with_map
from ml.use.predictor import SHOWN_FROM

SIDE = 320
"""Longest side of an example, in pixels."""


def photo_examples(
    frame: PictureFrame,
    heats: Mapping[int, NDArray[np.float32]],
    kinds: Mapping[str, str],
    evaluated: CrossValidation,
    found: NDArray[np.str_],
) -> list[Example]:
    """Return examples of each outcome, with pictures, and with maps if there are heats.

    Args:
        frame: the pictures.
        heats: by index into the frame, the map of the model that did not train on the picture.
        kinds: kind of defect by item.
        evaluated: answers out of fold.
        found: their verdicts, of the shape of `p`.
    """
    place = {item: at for at, item in enumerate(frame.items)}
    picks = chosen(evaluated, found)
    rows = np.array([place[evaluated.items[at]] for _, at in picks], np.intp)
    once, again = np.unique(rows, return_inverse=True)  # A mistake may be doubtful, too.
    tensors = load(frame, once)[0][again]
    return [
        Example(
            outcome=outcome,
            item=frame.items[row],
            name=frame.names[row][0] if frame.names else "",
            probability=float(evaluated.p[at].mean()),
            label=("good", "bad")[int(evaluated.y[at])],
            kind=kinds.get(frame.items[row], ""),
            picture=_uri(Image.fromarray(tensor)),
            map=_uri(_mapped(tensor, heats[int(row)])) if int(row) in heats else "",
        )
        for (outcome, at), row, tensor in zip(picks, rows, tensors, strict=True)
    ]


def _mapped(tensor: NDArray[np.uint8], heat: NDArray[np.float32]) -> Image.Image:
    shown = np.where(heat < SHOWN_FROM, np.float32(0), heat)
    return with_map(Image.fromarray(tensor), grey_heat(shown), points=True)


def _uri(picture: Image.Image) -> str:
    return as_data_uri(picture, SIDE, quality=80)
