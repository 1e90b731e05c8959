"""Training a CNN with several processes, through Spark's TorchDistributor.

Each process has its own share of the pictures. Gradients and statistics of the batch are summed
over the processes, so a step equals the step of a single process on the whole batch.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from lakehouse.errors import UsageError
from ml.data.loader import Indices
from ml.data.pictures import PictureFrame
from ml.photos.epochs import Together
from ml.photos.fitted import Fitted
from ml.photos.networks import make_network
from ml.photos.recipe import CnnRecipe
from ml.photos.training import Progress, fit_cnn

_RESULT = "fitted.pt"


def fit_cnn_together(
    recipe: CnnRecipe,
    frame: PictureFrame,
    train: Indices,
    validate: Indices,
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Train as `fit_cnn` does, with several processes on this machine.

    A running Spark session starts the processes. Each draws the dropout of its own share.
    Everything else is as in a single process, up to rounding.

    Args:
        recipe: says how many processes there are. Its `threads` are those of each process.
        frame: the pictures.
        train: as in `fit_cnn`.
        validate: as in `fit_cnn`.
        checkpoint: as in `fit_cnn`.
        progress: as in `fit_cnn`. It runs in the first process.

    Returns:
        The trained network.

    Raises:
        UsageError: the recipe has fewer than two processes.
    """
    from pyspark.ml.torch.distributor import TorchDistributor

    if recipe.processes < 2:
        raise UsageError(f"training together needs 2 or more processes, not {recipe.processes}")
    with tempfile.TemporaryDirectory() as folder:
        distributor = TorchDistributor(recipe.processes, local_mode=True, use_gpu=False)
        parts = (recipe, frame, train, validate, checkpoint, progress, Path(folder))
        distributor.run(train_share, *parts)
        return _read(Path(folder) / _RESULT, recipe, frame)


def train_share(
    recipe: CnnRecipe,
    frame: PictureFrame,
    train: Indices,
    validate: Indices,
    checkpoint: Path | None,
    progress: Progress | None,
    folder: Path,
) -> None:
    """Train in one of the processes. The first one writes the result into `folder`."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # gloo sums in main memory.
    torch.distributed.init_process_group("gloo")
    try:
        rank = torch.distributed.get_rank()
        together = Together((rank, torch.distributed.get_world_size()), summed)
        told = progress if rank == 0 else None
        fitted = fit_cnn(
            *(recipe, frame, train, validate),
            checkpoint=checkpoint,
            progress=told,
            together=together,
        )
        if rank == 0:
            _write(folder / _RESULT, fitted)
    finally:
        torch.distributed.destroy_process_group()


def summed(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its sum over all processes. Tensors of one type are sent together."""
    for kind in sorted({tensor.dtype for tensor in tensors}, key=str):
        alike = [tensor for tensor in tensors if tensor.dtype == kind]
        flat = torch.cat([tensor.reshape(-1) for tensor in alike])
        torch.distributed.all_reduce(flat)
        parts = torch.split(flat, [tensor.numel() for tensor in alike])
        for tensor, part in zip(alike, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


def _write(file: Path, fitted: Fitted) -> None:
    state = {name: getattr(fitted, name) for name in ("slope", "offset", "best_epoch")}
    state |= {"history": list(fitted.history), "network": fitted.network.state_dict()}
    torch.save(state, file)


def _read(file: Path, recipe: CnnRecipe, frame: PictureFrame) -> Fitted:
    state: dict[str, Any] = torch.load(file, weights_only=True)
    network = make_network(recipe.network, frame.height, frame.width)
    network.load_state_dict(state.pop("network"))
    history = tuple(state.pop("history"))
    return Fitted(
        recipe, network.eval(), height=frame.height, width=frame.width, history=history, **state
    )
