"""A linear layer on a frozen backbone. It learns from few pictures, in minutes.

The backbone's features of a picture never change, so they are computed once for all rounds of a
study. Predictions across folds of the training pictures decide the penalty and the calibration.
Then the layer learns from all training pictures, so none is lost to validation. This is known as
a linear probe (Kornblith et al. 2019, "Do better ImageNet models transfer better?").
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from ml.data.loader import ALONE, Indices
from ml.data.pictures import PictureFrame
from ml.data.source import Source
from ml.figures.metrics import Probabilities, log_loss
from ml.photos.fitted import FLIPS, PREDICTED_AT_ONCE, Fitted, calibrate
from ml.photos.networks import Backbone, make_network
from ml.photos.recipe import CnnRecipe, weights_file
from ml.photos.training import repeatable

Features = NDArray[np.float64]
STRENGTHS = (0.01, 0.1, 1.0)
"""Inverse strengths of the squared penalty to try: scikit-learn's C."""


def fit_probe(
    recipe: CnnRecipe,
    frame: PictureFrame,
    train: Indices,
    folds: Sequence[tuple[Indices, Indices]],
) -> Fitted:
    """Fit the layer on the frame's pictures at `train`.

    Args:
        recipe: names a timm network and its weights.
        frame: the pictures.
        train: indices of the training pictures, shape (n,).
        folds: pairs (fit, validate) of indices into the frame. All `validate` together are `train`.

    Returns:
        The backbone with the fitted layer, and its calibration.

    Raises:
        PlatelakeError: the file of weights is not the one that the recipe names.
    """
    with repeatable(recipe):
        return _fitted(recipe, frame, train, folds)


def predict_probe(fitted: Fitted, frame: PictureFrame, at: Indices) -> Probabilities:
    """Predict as `fitted.predict` does, but from the features that are already computed.

    The backbone takes nearly all the time. It sees each picture only once in a study.
    """
    network = fitted.network
    assert isinstance(network, Backbone)
    with repeatable(fitted.recipe):
        features = _features(fitted.recipe, frame)[at]
    weight = network.head.weight[0].detach().double().numpy()
    logits = features @ weight + network.head.bias.item()
    return np.asarray(1 / (1 + np.exp(-(logits * fitted.slope + fitted.offset))))


def _fitted(
    recipe: CnnRecipe,
    frame: PictureFrame,
    train: Indices,
    folds: Sequence[tuple[Indices, Indices]],
) -> Fitted:
    features, labels = _features(recipe, frame), frame.labels
    across = {strength: np.zeros(len(frame.items)) for strength in STRENGTHS}
    for strength, logits in across.items():
        for fit, validate in folds:
            weight, offset = _layer(recipe, features[fit], labels[fit], strength)
            logits[validate] = features[validate] @ weight + offset
    scaled = {
        strength: calibrate(logits[train], labels[train]) for strength, logits in across.items()
    }
    losses = {
        strength: log_loss(logits[train] * scaled[strength][0] + scaled[strength][1], labels[train])
        for strength, logits in across.items()
    }
    strength = min(losses, key=losses.__getitem__)
    structlog.get_logger().info("probe", strength=strength, log_loss=round(losses[strength], 4))
    network = _backbone(recipe, frame)
    weight, offset = _layer(recipe, features[train], labels[train], strength)
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(weight)[None])
        network.head.bias.fill_(offset)
    return Fitted(recipe, network, *scaled[strength], frame.height, frame.width, 0, ())


def _backbone(recipe: CnnRecipe, frame: PictureFrame) -> Backbone:
    file = weights_file(recipe)
    network = make_network(recipe.network, frame.height, frame.width, weights=file)
    assert isinstance(network, Backbone)
    return network.eval()


@functools.lru_cache(maxsize=1)
def _features_of(recipe: CnnRecipe, files: tuple[str, ...], sha256: str) -> list[Features]:
    """Return the list that keeps the features of this study. It is filled on first use."""
    return []


def _features(recipe: CnnRecipe, frame: PictureFrame) -> Features:
    """Compute features of all pictures, shape (n, features): means over the flips of a verdict."""
    place = _features_of(recipe, tuple(frame.files), frame.pixels_sha256)
    if not place:
        network = _backbone(recipe, frame)
        flips = FLIPS if recipe.judge_flips else FLIPS[:1]
        everything = np.arange(len(frame.items))
        found = np.empty((len(everything), network.head.in_features))
        source = Source(frame, everything, recipe.memory_bytes, ALONE)
        for tensors, at in source.batches(PREDICTED_AT_ONCE, None):
            shown = torch.from_numpy(tensors)
            with torch.inference_mode():
                turned = [network.features(shown.flip(sides)).double() for sides in flips]
            found[at] = torch.stack(turned).mean(0).numpy()
        place.append(found)
    return place[0]


def _layer(
    recipe: CnnRecipe, features: Features, labels: NDArray[np.int64], strength: float
) -> tuple[Features, float]:
    """Fit a logistic regression on standardised features: weights, shape (features,), and offset.

    They are for features that are not standardised.
    """
    from sklearn.linear_model import LogisticRegression

    mean, deviation = features.mean(0), features.std(0) + 1e-6
    weights = "balanced" if recipe.class_weights else None
    model = LogisticRegression(C=strength, class_weight=weights, max_iter=1_000)
    model.fit((features - mean) / deviation, labels)
    weight = model.coef_[0] / deviation
    return weight, float(model.intercept_[0] - weight @ mean)
