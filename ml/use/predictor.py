"""A trained model put to use: the same object in Spark, in the app and on the command line.

It is made from one ONNX file and starts no Spark. Preprocessing is inside: readings become
features by the model's own bands, image bytes become a tensor of the model's own size.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lakehouse.errors import PlatelakeError
from lakehouse.files.photos import PhotoError, read_tensor
from lakehouse.settings import Settings
from lakehouse.statistics import Array, Band, lot_statistics
from ml.data.lots import Matrix, as_matrix
from ml.figures.metrics import Thresholds, decide
from ml.onnx import read_card, session

UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Verdict:
    """What the model says of one item, and by what it says so.

    `probability` is that of failed or bad; None with the verdict `unreadable`, whose cause is
    `reason`. p < `low`: good; p ≥ `high`: bad; between: needs_human.
    """

    verdict: str
    probability: float | None
    low: float
    high: float
    model: str
    version: int
    reason: str | None = None


class Model:
    """A model file that is open: its card, and its verdicts on probabilities."""

    def __init__(self, content: bytes, name: str, version: int) -> None:
        self.name, self.version, self.content = name, version, content
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            self._session = session(content)
        except Exception as error:  # ONNX Runtime's errors have no common class.
            raise PlatelakeError(
                f"model {name} version {version} is no ONNX file that can be run: {error}"
            ) from None
        self.card = read_card(self._session, f"model {name} version {version}")
        self.thresholds = Thresholds(**self.card["thresholds"])

    def __reduce__(self) -> tuple[Any, ...]:
        """A worker of Spark gets the file, and opens it once."""
        return open_once, (self.content, self.name, self.version)

    def verdict(self, p: float) -> Verdict:
        """The verdict on a probability."""
        low, high = self.thresholds.low, self.thresholds.high
        return Verdict(str(decide(p, self.thresholds)), p, low, high, self.name, self.version)

    def unreadable(self, reason: str) -> Verdict:
        """The verdict on what could not be read."""
        low, high = self.thresholds.low, self.thresholds.high
        return Verdict(UNREADABLE, None, low, high, self.name, self.version, reason)


class LotModel(Model):
    """Judges lots by their readings."""

    def __init__(self, content: bytes, name: str, version: int) -> None:
        super().__init__(content, name, version)
        self.variables: tuple[str, ...] = tuple(self.card["variables"])
        self.bands = {key: Band(**value) for key, value in self.card["bands"].items()}

    def predict(self, lots: Sequence[Mapping[str, Array]]) -> list[Verdict]:
        """Verdicts on lots, each a mapping of variable to readings, in the variable's unit."""
        rows = [lot_statistics(values, self.bands) for values in lots]
        return self.predict_features(as_matrix(rows, self.variables))

    def predict_features(self, features: Matrix) -> list[Verdict]:
        """Verdicts on lots by their features, shape (lots, features), of the model's bands."""
        return [self.verdict(float(p)) for p in self.probabilities(features)]

    def probabilities(self, features: Matrix) -> NDArray[np.float64]:
        """Probability of failure, shape (lots,)."""
        (found,) = self._session.run(["probabilities"], {"features": features})
        return np.asarray(found[:, 1], np.float64)


class PhotoModel(Model):
    """Judges photos by their bytes, or by the tensors that the lake has decoded already."""

    def __init__(self, content: bytes, name: str, version: int) -> None:
        super().__init__(content, name, version)
        self.width, self.height = int(self.card["width"]), int(self.card["height"])

    def predict(self, photos: Sequence[bytes], settings: Settings) -> list[Verdict]:
        """Verdicts on image files; one that cannot be read says why, the others are judged."""
        found = []
        for content in photos:
            try:
                tensor = self.read(content, settings)
            except PhotoError as error:
                found.append(self.unreadable(f"{error.rule}: {error}"))
            else:
                found.append(self.verdict(float(self.probabilities(tensor[None])[0])))
        return found

    def read(self, content: bytes, settings: Settings) -> NDArray[np.uint8]:
        """The tensor of an image file, shape (height, width, 3); raises PhotoError."""
        return read_tensor(content, self.width, self.height, settings)

    def look(self, tensor: NDArray[np.uint8]) -> tuple[Verdict, NDArray[np.float32]]:
        """The verdict on one RGB tensor and, of the same run, its heat map as `heat` gives it."""
        found, heat = self._session.run(["probability", "heat"], {"pictures": tensor[None]})
        return self.verdict(float(found[0])), np.asarray(heat[0], np.float32)

    def probabilities(self, tensors: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probability of bad, shape (n,), of RGB tensors, shape (n, height, width, 3)."""
        (found,) = self._session.run(["probability"], {"pictures": tensors})
        return np.asarray(found, np.float64)

    def heat(self, tensor: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Where the model looks, shape (h, w), 0 to 1, of one RGB tensor (height, width, 3)."""
        (found,) = self._session.run(["heat"], {"pictures": tensor[None]})
        return np.asarray(found[0], np.float32)


@functools.lru_cache(maxsize=1)
def open_once(content: bytes, name: str, version: int) -> Any:
    """As `open_model`, and the same object where it was the last that was opened."""
    return open_model(content, name, version)


def open_model(content: bytes, name: str, version: int) -> Any:
    """The LotModel or PhotoModel in this file."""
    kind = Model(content, name, version).card.get("kind")
    kinds: dict[Any, type[Model]] = {"lots": LotModel, "photos": PhotoModel}
    if kind not in kinds:
        raise PlatelakeError(f"model {name} version {version} judges {kind!r}, which is unknown")
    return kinds[kind](content, name, version)
