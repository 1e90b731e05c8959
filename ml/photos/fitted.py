"""A trained CNN: calibrated probabilities, heat maps, and its ONNX file."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lakehouse.errors import PlatelakeError
from ml.data.loader import ALONE, Indices, Tensors
from ml.data.pictures import PictureFrame
from ml.data.source import Source, load
from ml.onnx import run, without_traces
from ml.photos.networks import Network
from ml.photos.recipe import CnnRecipe, Recipe

OPSET = 18
TOLERANCE = 1e-4
"""Largest difference of a probability between the trained model and its file."""
MAP_TOLERANCE = 1e-3
"""The same for heat and other outputs, which no threshold of a verdict is so near to."""
CHECKED = 8
FLIPS: tuple[tuple[int, ...], ...] = ((), (1,), (2,), (1, 2))
PREDICTED_AT_ONCE = 64
LEAST_SLOPE = 1e-3
"""Lower limit of the calibration's slope. It never reverses the order of a network's logits."""


class Exported(nn.Module):
    """The module that is exported. In: uint8, shape (n, height, width, 3), RGB.

    Out: the probability of bad, float32, shape (n,), and heat, float32, shape (n, h, w), 0 to 1.
    Models of patches have a third output, `unlike`: see `ml.photos.unlike`.
    """

    outputs: tuple[str, ...] = ("probability", "heat")

    def logits(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Compute calibrated logits and heat."""
        raise NotImplementedError

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs."""
        logits, heat = self.logits(pictures)
        return torch.sigmoid(logits), heat


class Calibrated(Exported):
    """One network with its calibration."""

    def __init__(self, network: Network, slope: float, offset: float, flips: bool) -> None:
        super().__init__()
        self.network = network
        self.slope, self.offset = slope, offset
        self.flips = FLIPS if flips else FLIPS[:1]

    def logits(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Compute calibrated logits and heat, each as the mean over the flips."""
        turned = torch.cat([pictures.flip(sides) for sides in self.flips])
        logits, cells = self.network.evidence(turned)
        heat = self.network.heat_of(cells)
        heat = heat.view(len(self.flips), -1, *heat.shape[1:])
        back = [heat[at].flip(sides) for at, sides in enumerate(self.flips)]
        logits = logits.view(len(self.flips), -1).mean(0)
        return logits * self.slope + self.offset, torch.stack(back).mean(0)


class Averaged(Exported):
    """Several networks that give a verdict together."""

    def __init__(self, members: Sequence[Calibrated]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def logits(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the mean of the members' calibrated logits, and of their heat."""
        members = [cast(Exported, member) for member in self.members]
        found = [member.logits(pictures) for member in members]
        logits, heat = (torch.stack(parts).mean(0) for parts in zip(*found, strict=True))
        return logits, heat


class Classifier(ABC):
    """A trained model for pictures, of one network or several."""

    recipe: Recipe

    @abstractmethod
    def module(self) -> Exported:
        """Return the whole model, on the CPU, ready for export."""

    def predict(self, frame: PictureFrame, indices: Indices) -> NDArray[np.float64]:
        """Predict the probability of bad of the frame's pictures at these indices, shape (n,)."""
        found = np.full(len(indices), np.nan)
        module = self.module()
        source = Source(frame, indices, self.recipe.memory_bytes, ALONE)
        for tensors, at in source.batches(PREDICTED_AT_ONCE, None):
            with torch.inference_mode():
                logits, _ = module.logits(torch.from_numpy(tensors))
            found[at] = 1 / (1 + np.exp(-logits.double().numpy()))
        return found

    def heat(self, tensor: Tensors) -> NDArray[np.float32]:
        """Show where the evidence is in a picture, (height, width, 3): shape (h, w), 0 to 1."""
        with torch.inference_mode():
            _, heat, *_ = self.module()(torch.from_numpy(tensor[None].copy()))
        return np.asarray(heat[0].numpy(), np.float32)

    def onnx(self, frame: PictureFrame) -> bytes:
        """Export the model, and compare file and model on 8 pictures: see `export_onnx`."""
        count = min(CHECKED, len(frame.items))
        spread = np.linspace(0, len(frame.items) - 1, count).astype(np.intp)
        return export_onnx(self, load(frame, spread)[0])


@dataclass(frozen=True)
class Ensemble(Classifier):
    """Networks that predict together, each validated on another fold of the training pictures."""

    recipe: CnnRecipe
    members: tuple[Fitted, ...]

    def module(self) -> Averaged:
        """Return the mean of all members."""
        return Averaged([member.module() for member in self.members]).eval()


@dataclass(frozen=True)
class Fitted(Classifier):
    """A trained network with its calibration: p = sigmoid(slope * logit + offset).

    The weights are those of epoch `best_epoch`. `history` has one mapping for each epoch.
    """

    recipe: CnnRecipe
    network: Network
    slope: float
    offset: float
    height: int
    width: int
    best_epoch: int
    history: tuple[dict[str, float], ...]

    @property
    def loader_share(self) -> float:
        """Share of the epochs' time in which training waited for pictures, 0 to 1."""
        seconds = sum(epoch["seconds"] for epoch in self.history)
        return sum(epoch["loader_seconds"] for epoch in self.history) / max(seconds, 1e-9)

    def module(self) -> Calibrated:
        """Return the network with its calibration."""
        module = Calibrated(self.network, self.slope, self.offset, self.recipe.judge_flips)
        return module.eval()


def export_onnx(fitted: Classifier, shown: Tensors) -> bytes:
    """Export a model as an ONNX file, and check that file and model agree.

    Args:
        fitted: the model.
        shown: pictures to compare on, uint8, shape (n, height, width, 3).

    Returns:
        The file. It takes `pictures`, any number of them, and gives `probability` and `heat`.

    Raises:
        PlatelakeError: file and model differ by more than 1e-4, or 1e-3 for the map.
    """
    module = fitted.module()
    sample = torch.from_numpy(shown.copy())
    two = torch.cat([sample, sample])[:2]
    # It warns about packages that these networks do not need.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    program = torch.onnx.export(
        module,
        (two,),
        opset_version=OPSET,
        dynamo=True,
        input_names=["pictures"],
        output_names=list(module.outputs),
        dynamic_shapes={"pictures": {0: torch.export.Dim("count")}},
        verbose=False,
    )
    assert program is not None
    content = without_traces(program.model_proto)
    with torch.inference_mode():
        model = [output.numpy() for output in module(sample)]
    file = run(content, {"pictures": shown})
    for name, ours in zip(module.outputs, model, strict=True):
        difference = float(np.abs(ours - file[name]).max())
        tolerance = TOLERANCE if name == "probability" else MAP_TOLERANCE
        if not difference <= tolerance:
            raise PlatelakeError(
                f"{name} of network {fitted.recipe.network} differs by {difference:.2g} between "
                f"the trained model and its ONNX file, more than {tolerance}; nothing was logged, "
                "report it with the recipe"
            )
    return content


def calibrate(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Fit Platt's scaling: maximum likelihood with smoothed targets (Platt 1999, sec. 2.2).

    It uses Newton's method with halved steps (Lin, Lin and Weng 2007).

    Args:
        logits: shape (n,), of validation pictures only.
        labels: 0 or 1, shape (n,).

    Returns:
        Slope and offset: p = sigmoid(slope * logit + offset). The slope is never below 0.001.

    Example:
        >>> slope, offset = calibrate(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0, 0, 1, 1]))
        >>> round(slope, 3), round(abs(offset), 3)
        (0.674, 0.0)
    """
    bad, good = int(labels.sum()), int(len(labels) - labels.sum())
    target = np.where(labels == 1, (bad + 1) / (bad + 2), 1 / (good + 2))
    inputs = np.stack([logits, np.ones_like(logits)], 1)

    def loss(at: NDArray[np.float64]) -> float:
        exponent = inputs @ at
        return float((np.logaddexp(0, exponent) - target * exponent).sum())

    now = np.array([0.0, np.log((bad + 1) / (good + 1))])
    for _ in range(100):
        p = 1 / (1 + np.exp(-inputs @ now))
        slope = inputs.T @ (p - target)
        curve = (inputs * (p * (1 - p))[:, None]).T @ inputs + 1e-9 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        while loss(now - step) > loss(now) and np.abs(step).max() > 1e-12:
            step /= 2
        now = now - step
        if np.abs(step).max() < 1e-10:
            break
    if now[0] < LEAST_SLOPE:
        return LEAST_SLOPE, float(np.log((bad + 1) / (good + 1)) - LEAST_SLOPE * logits.mean())
    return float(now[0]), float(now[1])
