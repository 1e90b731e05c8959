"""A quick training on small pictures, and what a process of several does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ml.data.pictures import PictureFrame
from ml.photos.distributed import summed
from ml.photos.epochs import Together, Training
from ml.photos.recipe import CnnRecipe

QUICK = CnnRecipe(members=1, epochs=2, steps=0, batch=8, threads=1, bfloat16=False)


def one_of_two(rank: int, port: int, what: Sequence[Any]) -> None:
    """What a process of two does: train one epoch, keep gradients and its pictures."""
    place = f"tcp://127.0.0.1:{port}"
    torch.distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=2)
    *given, file = what
    keep_pass(*given, Together((rank, 2), summed), file)
    torch.distributed.destroy_process_group()


def keep_pass(
    recipe: CnnRecipe,
    frame: PictureFrame,
    train: np.ndarray,
    validate: np.ndarray,
    together: Together,
    file: Path,
) -> None:
    torch.manual_seed(recipe.seed)
    training = Training(recipe, frame, train, validate, together, None)
    loss = training.run_epoch(1)
    parts = [own.tolist() for _, own in training.source.batches(recipe.batch, 5)]
    state = {
        "loss": loss,
        "gradients": {n: p.grad for n, p in training.network.named_parameters()},
        "statistics": dict(training.network.named_buffers()),
        "batches": parts,
    }
    torch.save(state, file.with_name(f"{file.name}-{together.shard[0]}"))
