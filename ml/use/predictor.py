"""A trained model in use: the same object in Spark, in the app and on the command line.

It is made from one ONNX file, and starts no Spark. Preprocessing is inside: the model's own bands
turn readings into features, and image bytes become a tensor of the model's own size.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lakehouse.errors import PlatelakeError
from lakehouse.files.photos import PhotoError, as_tensor, read_tensor, read_upright
from lakehouse.settings import Settings
from lakehouse.stage_sections import Levels
from lakehouse.statistics import Array, Band, lot_statistics
from ml.data.lots import Matrix, as_matrix
from ml.figures.thresholds import Thresholds, decide
from ml.onnx import read_card, session
from ml.photos.appearance import beyond
from ml.trees.known_lots import KnownLots
from ml.use.reasons import with_detail

UNREADABLE, NEEDS_HUMAN = "unreadable", "needs_human"
SHOWN_FROM = 0.5
"""Heat from which a map with a scale of its own shows something."""


@dataclass(frozen=True)
class Verdict:
    """A model's verdict on one item, with what decided it.

    `probability` is that of failed or bad. With the verdict `unreadable` it is None, and `reason`
    says why. p < `low`: good; p ≥ `high`: bad; between them: needs_human. A verdict needs_human
    with a `reason` is one whatever p is: the reason is a key of `ml.use.reasons`.
    """

    verdict: str
    probability: float | None
    low: float
    high: float
    model: str
    version: int
    reason: str | None = None


class Model:
    """An open model file: its card, and its verdicts on probabilities.

    `opened` is a session of the same file that is open already.

    Raises:
        PlatelakeError: ONNX Runtime cannot run the file, or it has no card.
    """

    def __init__(self, content: bytes, name: str, version: int, opened: Any = None) -> None:
        self.name, self.version, self.content = name, version, content
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            self.session = opened or session(content)
        except Exception as error:  # ONNX Runtime's errors have no common class.
            raise PlatelakeError(
                f"model {name} version {version} is not an ONNX file that can be run: {error}"
            ) from None
        self.card = read_card(self.session, f"model {name} version {version}")
        self.thresholds = Thresholds(**self.card["thresholds"])

    def __reduce__(self) -> tuple[Any, ...]:
        """Send only the file to a worker of Spark. The worker opens it once."""
        return open_once, (self.content, self.name, self.version)

    def verdict(self, p: float, reason: str | None = None) -> Verdict:
        """Return the verdict on a probability. With a reason, a person must decide."""
        low, high = self.thresholds.low, self.thresholds.high
        found = NEEDS_HUMAN if reason else str(decide(p, self.thresholds))
        return Verdict(found, p, low, high, self.name, self.version, reason)

    def unreadable(self, reason: str) -> Verdict:
        """Return the verdict on an item that could not be read."""
        low, high = self.thresholds.low, self.thresholds.high
        return Verdict(UNREADABLE, None, low, high, self.name, self.version, reason)


class LotModel(Model):
    """Predicts lots from their readings."""

    def __init__(self, content: bytes, name: str, version: int, opened: Any = None) -> None:
        super().__init__(content, name, version, opened)
        self.variables: tuple[str, ...] = tuple(self.card["variables"])
        self.bands = {key: Band(**value) for key, value in self.card["bands"].items()}
        known = self.card.get("known")
        self.known = KnownLots(**known) if known else None
        """The limits of the lots that it learned from. None: an older model, without them."""

    def predict(self, lots: Sequence[Mapping[str, Array]]) -> list[Verdict]:
        """Return verdicts on lots.

        Args:
            lots: each maps all variables to readings, shape (n,), n ≥ 1, in the variable's unit
                and in order of time.

        Returns:
            A verdict for each lot, in order.
        """
        rows = [lot_statistics(values, self.bands) for values in lots]
        return self.predict_features(as_matrix(rows, self.variables))

    def predict_features(self, features: Matrix, seconds: Array | None = None) -> list[Verdict]:
        """Return verdicts on lots by their features, shape (lots, features), by its own bands.

        `seconds`, shape (lots,), are from the first to the last reading; None: unknown.
        """
        found = zip(self.probabilities(features), self.reasons(features, seconds), strict=True)
        return [self.verdict(float(p), reason) for p, reason in found]

    def reasons(self, features: Matrix, seconds: Array | None = None) -> list[str | None]:
        """Say of each lot, by its features, why a person must decide; None if the model may."""
        return self.known.reasons(features, seconds) if self.known else [None] * len(features)

    def probabilities(self, features: Matrix) -> NDArray[np.float64]:
        """Predict the probability of failure, shape (lots,)."""
        (found,) = self.session.run(["probabilities"], {"features": features})
        return np.asarray(found[:, 1], np.float64)


class PhotoModel(Model):
    """Predicts photos from their bytes, or from tensors that the lake has decoded already."""

    def __init__(self, content: bytes, name: str, version: int, opened: Any = None) -> None:
        super().__init__(content, name, version, opened)
        self.width, self.height = int(self.card["width"]), int(self.card["height"])
        self.limits: Mapping[str, float] | None = self.card.get("limits")
        """Of light and sharpness. None: an older model, which has no limits."""
        self.points = any(output.name == "unlike" for output in self.session.get_outputs())
        """Whether its map has a scale of its own: from 0.5 on, there is something to see."""

    def predict(
        self, photos: Sequence[bytes], settings: Settings, bits: Levels | None = None
    ) -> list[Verdict]:
        """Return verdicts on image files.

        Args:
            photos: contents of the files.
            settings: limits on what is decoded.
            bits: of the stage file, which values are black and white.

        Returns:
            A verdict for each file, in order. A file that cannot be read has the verdict
            `unreadable` with the reason; the others get their verdicts.
        """
        found = []
        for content in photos:
            try:
                photo = read_upright(content, settings, bits)
            except PhotoError as error:
                found.append(self.unreadable(f"{error.rule}: {error}"))
            else:
                found.append(self.inspect(photo)[0])
        return found

    def inspect(self, photo: Image.Image) -> tuple[Verdict, NDArray[np.float32]]:
        """Return the verdict on an upright photo in RGB and, from the same run, its heat map."""
        return self.look(as_tensor(photo, self.width, self.height), min(photo.size))

    def read(
        self, content: bytes, settings: Settings, bits: Levels | None = None
    ) -> NDArray[np.uint8]:
        """Decode an image file into a tensor, shape (height, width, 3), or raise PhotoError."""
        return read_tensor(content, self.width, self.height, settings, bits)

    def look(
        self, tensor: NDArray[np.uint8], side: int | None = None
    ) -> tuple[Verdict, NDArray[np.float32]]:
        """Return the verdict on one tensor and, from the same run, its heat map to show.

        It is the map of `heat`. If that has a scale of its own, it is 0 below the threshold.

        Args:
            tensor: RGB, uint8, shape (height, width, 3).
            side: shorter side of the photo that it was made from, in pixels, if known.
        """
        names = ["probability", "heat", *(["unlike"] if self.points else [])]
        found, heat, *unlike = self.session.run(names, {"pictures": tensor[None]})
        reason = self._reason(tensor, side, float(unlike[0][0]) if unlike else 0.0)
        shown = np.asarray(heat[0], np.float32)
        if self.points:
            shown = np.where(shown < SHOWN_FROM, np.float32(0), shown)
        return self.verdict(float(found[0]), reason), shown

    def verdict_on(self, tensor: NDArray[np.uint8], side: int | None = None) -> Verdict:
        """Return the verdict on one tensor as `look` does, without a map."""
        unlike = 0.0
        if self.points:
            found, far = self.session.run(["probability", "unlike"], {"pictures": tensor[None]})
            unlike = float(far[0])
        else:
            found = self.probabilities(tensor[None])
        return self.verdict(float(found[0]), self._reason(tensor, side, unlike))

    def _reason(self, tensor: NDArray[np.uint8], side: int | None, unlike: float) -> str | None:
        """Say why a person must decide; None if the model may."""
        out = beyond(self.limits, tensor, side) if self.limits else None
        if out is not None:
            return with_detail(*out)
        return with_detail("unlike", f"{unlike:.2f} times the limit") if unlike > 1 else None

    def probabilities(self, tensors: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Predict the probability of bad, (n,), of RGB tensors, uint8, (n, height, width, 3)."""
        (found,) = self.session.run(["probability"], {"pictures": tensors})
        return np.asarray(found, np.float64)

    def heat(self, tensor: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Show where the model looks, (h, w), 0 to 1, on one RGB tensor (height, width, 3)."""
        (found,) = self.session.run(["heat"], {"pictures": tensor[None]})
        return np.asarray(found[0], np.float32)


@functools.lru_cache(maxsize=1)
def open_once(content: bytes, name: str, version: int) -> Any:
    """Open a model as `open_model` does. Return the last opened object if it is the same model."""
    return open_model(content, name, version)


def open_model(content: bytes, name: str, version: int) -> Any:
    """Open the LotModel or PhotoModel in an ONNX file.

    Args:
        content: the file.
        name: of the registered model, for verdicts and messages.
        version: its number.

    Raises:
        PlatelakeError: the file is not a model that this program can run.

    Example:
        >>> from datetime import date
        >>> from lakehouse.statistics import Groups
        >>> from ml.data.lots import LotFrame
        >>> from ml.data.splits import make_split
        >>> from ml.onnx import trees_to_onnx, with_card
        >>> from ml.trees.models import TreeRecipe, fit_trees
        >>> labels, days = np.array([0, 1] * 4), (date(2026, 1, 1),) * 8
        >>> ph = np.random.default_rng(0).normal(np.repeat(labels, 20), 0.1)
        >>> groups = Groups(np.full(8, 20))
        >>> frame = LotFrame({}, ("ph",), days, tuple("abcdefgh"), labels, groups, {"ph": ph})
        >>> split = make_split("lots", frame.split_items(), {}, folds=2)
        >>> fitted = fit_trees(TreeRecipe("decision_tree"), frame, split, np.arange(8))
        >>> card = {"kind": "lots", "variables": ["ph"], "thresholds": {"low": 0.2, "high": 0.8}}
        >>> card["bands"] = {name: vars(band) for name, band in fitted.bands.items()}
        >>> content = trees_to_onnx(fitted, frame.features(fitted.bands))
        >>> model = open_model(with_card(content, card), "chromate-lots", 1)
        >>> [found.verdict for found in model.predict(frame.values[:2])]
        ['good', 'bad']
    """
    opened = Model(content, name, version)
    kind = opened.card.get("kind")
    kinds: dict[Any, type[Model]] = {"lots": LotModel, "photos": PhotoModel}
    if kind not in kinds:
        raise PlatelakeError(f"model {name} version {version} is for {kind!r}, which is unknown")
    return kinds[kind](content, name, version, opened.session)
