"""Everything that decides how a CNN is trained. Equal recipe and data give an equal model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lakehouse.errors import PlatelakeError, UsageError
from ml.data.masks import masks_sha256
from ml.photos.weights import NETWORK, installed_weights

SCHEDULES = ("onecycle", "cosine")


@dataclass(frozen=True)
class CnnRecipe:
    """The settings of a training. JSON and MLflow keep it as `dataclasses.asdict` gives it.

    Args:
        network: small, first_study or timm:NAME.
        weights: safetensors file for a timm backbone; empty: none.
        frozen: the backbone does not change. A linear layer on it (`linear_probe`) learns from all
            training pictures at once; epochs, steps and augmentation are not used.
        weights_sha256: of that file, to notice if another file took its place. If the installed
            weights have this hash, they are used, wherever the environment is now.
        members: this many networks predict together, each validated on another fold of the
            training pictures, so that none of these is lost to training.
        epochs: passes over the training pictures, at most.
        steps: least number of steps. If pictures are few, there are more epochs. 0: no least.
        batch: pictures in a step, over all processes. If pictures are few, a quarter of them.
        learning_rate: highest one of the schedule.
        weight_decay: of AdamW, only on weights of convolutions and dense layers.
        schedule: onecycle (Smith and Topin 2018) or cosine (Loshchilov and Hutter 2017).
        dropout: share of features that a training step leaves out, only for `small`.
        clip: largest 2-norm of a gradient.
        seed: of weights, order, augmentation and dropout.
        class_weights: good and bad pictures weigh the same in total.
        focal_gamma: exponent of the focal loss (Lin et al. 2017); 0 is cross-entropy.
        smoothing: distance of the labels from 0 and from 1, in sum (Szegedy et al. 2016).
        average: decay of the exponential average of the weights (Polyak and Juditsky 1992); 0: the
            last weights are used.
        patience: training stops after this many epochs of the second half in a row whose
            validation was worse than the best by more than chance. If `steps` makes more epochs,
            it grows in the same ratio.
        flips: flip training pictures at random in both directions.
        shift: move them by at most this share of their sides.
        zoom: stretch them in each direction by exp(-zoom) to exp(zoom).
        gamma: raise their light to the power of exp(-gamma) to exp(gamma).
        grey: take the colour from this share of them.
        turns: mirror square ones at their diagonal at random.
        defects: draw a defect on this share of the good ones, which are then bad.
        judge_flips: a verdict is the mean over the four flips of a picture.
        bfloat16: train in 16 bits on processors that are faster then. Others train in 32 bits, with
            other last digits.
        threads: of torch. Another number adds in another order, and gives other last digits.
        processes: that share each batch, through Spark's TorchDistributor; 1: only this one.
        memory_bytes: tensors up to this size are read once, larger sets in each epoch.
    """

    network: str = "small"
    weights: str = ""
    weights_sha256: str = ""
    frozen: bool = False
    members: int = 1
    epochs: int = 40
    steps: int = 400
    batch: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    schedule: str = "onecycle"
    dropout: float = 0.2
    clip: float = 5.0
    seed: int = 0
    class_weights: bool = True
    focal_gamma: float = 0.0
    smoothing: float = 0.05
    average: float = 0.98
    patience: int = 12
    flips: bool = True
    shift: float = 0.03
    zoom: float = 0.35
    gamma: float = 0.3
    grey: float = 0.1
    turns: bool = True
    defects: float = 0.4
    judge_flips: bool = True
    bfloat16: bool = True
    threads: int = 2
    processes: int = 1
    memory_bytes: int = 2 << 30

    @property
    def backbone(self) -> str:
        """Name of the network that the weights are for."""
        return self.network

    def planned(self, pictures: int) -> CnnRecipe:
        """Return the recipe for so many training pictures, with final epochs, batch, patience."""
        batch = max(min(self.batch, pictures // 4), 4) if self.steps else self.batch
        epochs = max(self.epochs, -(-self.steps // -(-pictures // batch)))
        patience = -(-self.patience * epochs // self.epochs)
        return replace(self, epochs=epochs, batch=batch, patience=patience, steps=0)

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        if self.schedule not in SCHEDULES:
            known = ", ".join(SCHEDULES)
            raise UsageError(f"no schedule {self.schedule!r}; known: {known}")
        for name in ("members", "epochs", "batch", "threads", "processes"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)} must be 1 or more")
        if self.frozen and (self.members, self.processes) != (1, 1):
            raise UsageError(
                "a frozen backbone takes one member and one process; leave out --members and "
                "--processes, or train all of it by --fine-tune"
            )


PATCHES = "patches"
"""The network that scores patches. It is the default."""


@dataclass(frozen=True)
class PatchRecipe:
    """The settings of a model of patches. JSON and MLflow keep it as `dataclasses.asdict` does.

    Args:
        network: always patches.
        backbone: timm:NAME. It stays as it is.
        weights: safetensors file for the backbone.
        weights_sha256: of that file; see CnnRecipe.
        masks: folder of masks: white pixels show the defect of the photo with that name. Empty:
            image labels alone teach.
        masks_sha256: of the masks, to notice if they changed.
        side: smaller pictures are enlarged, until their longer side has this many pixels.
        members: heads, each trained without another part of the training groups. Those parts join
            and calibrate the scores.
        epochs: passes over the training pictures.
        batch: pictures in a step.
        learning_rate: highest one of the schedule (onecycle, Smith and Topin 2018).
        weight_decay: of AdamW.
        hidden: hidden units of a head.
        top: share of the cells whose mean is the score of a picture.
        teach: weight of the masks against the image labels.
        bank: patches of good pictures to compare with.
        components: principal components of a patch that are compared.
        seed: of weights, order, dropout, and the choice of patches.
        threads: of torch.
        memory_bytes: tensors, or maps, up to this size stay in memory; larger maps go to a
            temporary file.
    """

    network: str = PATCHES
    backbone: str = NETWORK
    weights: str = ""
    weights_sha256: str = ""
    masks: str = ""
    masks_sha256: str = ""
    side: int = 320
    members: int = 3
    epochs: int = 5
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    hidden: int = 48
    top: float = 0.01
    teach: float = 1.0
    bank: int = 2_000
    components: int = 96
    seed: int = 0
    threads: int = 2
    memory_bytes: int = 2 << 30


Recipe = CnnRecipe | PatchRecipe


def recipe_again(stored: Mapping[str, Any]) -> Recipe:
    """Make a recipe from what `dataclasses.asdict` gave."""
    return (PatchRecipe if stored["network"] == PATCHES else CnnRecipe)(**stored)


FIRST_STUDY = CnnRecipe(
    network="first_study",
    epochs=20,
    steps=0,
    batch=32,
    learning_rate=1e-3,
    weight_decay=0.0,
    schedule="cosine",
    dropout=0.0,
    smoothing=0.0,
    average=0.0,
    patience=8,
    flips=False,
    shift=0.0,
    zoom=0.0,
    gamma=0.0,
    grey=0.0,
    turns=False,
    defects=0.0,
    judge_flips=False,
)
"""The first study's CNN, as simple as it was, but tested on items that it did not train on."""


def recipe_for(
    network: str,
    epochs: int | None = None,
    members: int = 1,
    processes: int = 1,
    weights: Path | None = None,
    fine_tune: bool = False,
    masks: Path | None = None,
) -> Recipe:
    """Make the default recipe of a network.

    Args:
        network: patches, small, first_study or timm:NAME.
        epochs: exact number of epochs; None: that of the default recipe.
        members: networks that predict together.
        processes: processes that share each batch.
        weights: safetensors file for a timm network. None: the installed one for lite0, no weights
            for others.
        fine_tune: train these weights further. Without it, they do not change, and only a linear
            layer on them learns.
        masks: folder of masks, which teach `patches` where defects are.

    Returns:
        The recipe.

    Raises:
        UsageError: a number is below 1, the file cannot be read, or several members or processes
            are asked for with a frozen backbone.

    Example:
        >>> recipe_for("small", epochs=5).epochs
        5
    """
    if network == PATCHES:
        return _patch_recipe(epochs, weights or installed_weights(), masks)
    recipe = FIRST_STUDY if network == "first_study" else CnnRecipe(network=network)
    recipe = replace(recipe, members=members, processes=processes)
    if weights is None and network == NETWORK:
        weights = installed_weights()
    if weights is not None and network.startswith("timm:"):
        file = str(weights.resolve())
        recipe = replace(
            recipe, weights=file, weights_sha256=file_sha256(file), frozen=not fine_tune
        )
    return recipe if epochs is None else replace(recipe, epochs=epochs, steps=0)


def _patch_recipe(epochs: int | None, weights: Path, masks: Path | None) -> PatchRecipe:
    file = str(weights.resolve())
    recipe = PatchRecipe(weights=file, weights_sha256=file_sha256(file))
    if masks is not None:
        folder = str(masks.resolve())
        recipe = replace(recipe, masks=folder, masks_sha256=masks_sha256(folder))
    return recipe if epochs is None else replace(recipe, epochs=epochs)


def file_sha256(file: str) -> str:
    """Compute the hash of the file of weights. Raise UsageError if it cannot be read."""
    try:
        with Path(file).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"--weights {file}: {error.strerror}") from None


def weights_file(recipe: Recipe) -> str:
    """Find the file of weights with the recipe's hash; "" if the recipe names none.

    It is the recipe's own file or the installed one.

    Raises:
        PlatelakeError: neither has that hash.
    """
    if not recipe.weights:
        return ""

    def is_meant(file: str) -> bool:
        return Path(file).is_file() and file_sha256(file) == recipe.weights_sha256

    if is_meant(recipe.weights):
        return recipe.weights
    if recipe.backbone == NETWORK and is_meant(installed := str(installed_weights())):
        return installed
    raise PlatelakeError(
        f"{recipe.weights} is not the file of weights that the recipe names (sha256 "
        f"{recipe.weights_sha256[:16]}…); restore that file"
    )
