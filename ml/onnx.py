"""Models as ONNX, the only format. Pickle is never written or read.

What a model needs besides its weights (bands, thresholds, versions of the data) is JSON in the
file's own metadata. So one file with one hash is the whole model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from lakehouse.errors import PlatelakeError
from ml.data.lots import Matrix
from ml.trees.models import FittedTrees

KEY = "platelake"
OPSET = 17
TOLERANCE = 1e-5
"""Largest allowed difference of a probability between a fitted model and its file."""


class ExportError(PlatelakeError):
    """A model's file does not give the same results as the model."""


def without_traces(model: Any) -> bytes:
    """Serialise the ONNX model without torch's notes of where each node was made.

    They hold the paths of this machine, so equal models would differ from checkout to checkout.
    """
    for of_nodes in (model.graph, *model.functions):
        del of_nodes.metadata_props[:]
        for part in (*of_nodes.node, *of_nodes.value_info):
            del part.metadata_props[:]
    content: bytes = model.SerializeToString()
    return content


def trees_to_onnx(fitted: FittedTrees, features: Matrix) -> bytes:
    """Export a model as an ONNX file, and check that file and model agree.

    Args:
        fitted: the model.
        features: float32, shape (n, features), to compare on.

    Returns:
        The file. It takes `features`, float32, shape (n, features), and gives `probabilities`,
        shape (n, 2), of good and of failed.

    Raises:
        ExportError: a probability differs by more than 1e-5.
    """
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
    from skl2onnx import convert_sklearn, update_registered_converter
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    if fitted.recipe.kind == "lightgbm":
        update_registered_converter(
            type(fitted.model),
            "LightGbmLGBMClassifier",
            calculate_linear_classifier_output_shapes,
            convert_lightgbm,
            options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
        )
    graph = convert_sklearn(
        fitted.model,
        initial_types=[("features", FloatTensorType([None, features.shape[1]]))],
        options={id(fitted.model): {"zipmap": False}},
        target_opset={"": OPSET, "ai.onnx.ml": 3},
    )
    content: bytes = graph.SerializeToString()
    check_equal(
        fitted.model.predict_proba(features)[:, 1],
        run(content, {"features": features})["probabilities"][:, 1],
        fitted.recipe.kind,
    )
    return content


def check_equal(model: Any, file: Any, name: str) -> None:
    """Raise ExportError if probabilities of the model and of its file differ."""
    difference = float(np.max(np.abs(np.asarray(model) - np.asarray(file)), initial=0.0))
    if not difference <= TOLERANCE:
        raise ExportError(
            f"{name}: the ONNX file differs from the model by {difference:.2g}, more than "
            f"{TOLERANCE}; nothing was logged. Report it with the recipe"
        )


def session(content: bytes) -> Any:
    """Open an ONNX Runtime session of one thread. Callers run several at the same time."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(content: bytes, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Run the model on these inputs. Return its outputs by name."""
    opened = session(content)
    names = [output.name for output in opened.get_outputs()]
    return dict(zip(names, opened.run(names, dict(inputs)), strict=True))


def with_card(content: bytes, card: Mapping[str, Any]) -> bytes:
    """Add the card to the file: what a predictor needs to know, as JSON."""
    import onnx

    graph = onnx.load_model_from_string(content)
    onnx.helper.set_model_props(graph, {KEY: json.dumps(card, sort_keys=True)})
    return bytes(graph.SerializeToString())


def read_card(opened: Any, name: str) -> dict[str, Any]:
    """Read the card of an open session. Raise PlatelakeError if the file has none."""
    text = opened.get_modelmeta().custom_metadata_map.get(KEY)
    if not text:
        raise PlatelakeError(
            f"{name} is an ONNX file, but platelake did not make it: it has no card with "
            "thresholds; train a model by `platelake train`"
        )
    card: dict[str, Any] = json.loads(text)
    return card
