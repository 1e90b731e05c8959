"""Training a CNN on the lake's pictures. It gives the same weights each time, interrupted or not.

Only the validation pictures, which come from the training folds, stop training, choose the epoch
and calibrate. Training never sees test pictures.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from lakehouse.errors import PlatelakeError
from ml.data.loader import Indices
from ml.data.pictures import PictureFrame
from ml.photos.epochs import Together, Training
from ml.photos.fitted import Fitted
from ml.photos.recipe import CnnRecipe, Recipe

Progress = Callable[[dict[str, float]], None]


def fit_cnn(
    recipe: CnnRecipe,
    frame: PictureFrame,
    train: Indices,
    validate: Indices,
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    together: Together | None = None,
) -> Fitted:
    """Train a network on some pictures, and validate it on others after each epoch.

    Args:
        recipe: everything that decides the training besides the data.
        frame: pictures, whose tensors are uint8, shape (height, width, 3).
        train: indices of the training pictures in the frame, shape (n,).
        validate: indices of the validation pictures. They stop the training, choose the epoch and
            calibrate, so they must come from the training folds.
        checkpoint: file that is written after every epoch. If it exists, training continues from
            it, and its result is that of a training without interruption.
        progress: called after each epoch with epoch (from 1), loss, validation_loss,
            validation_ap, learning_rate, seconds, loader_seconds and pictures_per_second.
        together: this process's part in a training by several.

    Returns:
        The network of the chosen epoch, with its calibration.

    Raises:
        PlatelakeError: training or validation pictures lack good or bad ones, the checkpoint is of
            another training, or a picture was not shown exactly once in an epoch.
        UsageError: there is no such network, or several processes cannot train it.

    Example:
        >>> import tempfile
        >>> from datetime import date
        >>> import numpy as np, pyarrow as pa, pyarrow.parquet as pq
        >>> names, days = tuple("abcdefgh"), (date(2026, 1, 1),) * 8
        >>> labels = np.array([0, 1] * 4)
        >>> columns = {"pixel_sha256": names, "tensor_height": [32] * 8, "tensor_width": [32] * 8}
        >>> columns["tensor"] = [bytes([200 - 100 * bad] * 32 * 32 * 3) for bad in labels.tolist()]
        >>> recipe = CnnRecipe(epochs=2, steps=0, batch=4, threads=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = f"{folder}/part.parquet"
        ...     pq.write_table(pa.table(columns), file)
        ...     frame = PictureFrame({}, names, labels, names, days, (file,), 8, 32, 32)
        ...     fitted = fit_cnn(recipe, frame, np.arange(4), np.arange(4, 8))
        ...     fitted.predict(frame, np.arange(8)).shape
        (8,)
    """
    for name, part in (("training", train), ("validation", validate)):
        bad = int(frame.labels[part].sum())
        if not 0 < bad < len(part):
            raise PlatelakeError(
                f"table pictures: of {len(part)} {name} pictures {bad} are bad: a CNN needs both "
                "good and bad ones there; ask for fewer folds by --folds, or ingest more photos"
            )
    with repeatable(recipe):
        training = Training(recipe, frame, train, validate, together or Together(), checkpoint)
        while training.goes_on:
            epoch = training.epoch()
            training.save()
            if progress:
                progress(epoch)
        return training.fitted()


@contextlib.contextmanager
def repeatable(recipe: Recipe) -> Iterator[None]:
    """Set torch's threads, seed and algorithms for the recipe, and reset them afterwards."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with torch.random.fork_rng():
        torch.set_num_threads(recipe.threads)
        torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
        torch.manual_seed(recipe.seed)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)
            torch.set_num_threads(threads)
