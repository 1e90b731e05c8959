"""A CNN trained by several processes, through Spark's TorchDistributor.

Each process has its share of the pictures, and no other process has them. Gradients and statistics
of the batch are summed over the processes, so a step is the step of one process on the whole batch.
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
from ml.photos.networks import make_network
from ml.photos.training import CnnRecipe, Fitted, Progress, Together, fit_cnn

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
    """As `fit_cnn`, by the recipe's processes on this machine, which a Spark session starts.

    There has to be one. `recipe.threads` is of each process. Dropout is drawn by each process for
    its own share; everything else is as in one process, up to rounding. `progress` runs in the
    first process.
    """
    from pyspark.ml.torch.distributor import TorchDistributor

    if recipe.processes < 2:
        raise UsageError(f"{recipe.processes} process does not train together; give 2 or more")
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
    """What one of the processes does; the first writes the result into `folder`."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # gloo adds in main memory.
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
    """Make each tensor its sum over all processes; tensors of one type travel as one."""
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
