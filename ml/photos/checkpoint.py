"""Checkpoints of a training. They hold tensors and plain values, never code."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lakehouse.errors import PlatelakeError


def write_checkpoint(file: Path, state: Mapping[str, Any]) -> None:
    """Write the whole state, or nothing."""
    part = file.with_name(file.name + ".part")
    with part.open("wb") as stream:
        torch.save(dict(state), stream)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)


def read_checkpoint(file: Path, about: str, device: torch.device) -> dict[str, Any]:
    """Read the state in a file. Its `about` must be the given one.

    Raises:
        PlatelakeError: the file is damaged, holds code, or belongs to another training.
    """
    try:
        state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
    except Exception as error:  # Errors on damaged or hostile files have no common class.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise PlatelakeError(
            f"checkpoint {file} cannot be read: {reason}; remove it to train from the start"
        ) from None
    if state.get("about") != about:
        raise PlatelakeError(
            f"checkpoint {file} is of another recipe, split or data; remove it to train from the "
            "start"
        )
    return state
