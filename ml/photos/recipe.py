"""Everything that decides how a CNN is trained; equal recipe, equal data: equal model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from lakehouse.errors import PlatelakeError, UsageError
from ml.photos.weights import NETWORK, installed_weights

SCHEDULES = ("onecycle", "cosine")


@dataclass(frozen=True)
class CnnRecipe:
    """A training. `dataclasses.asdict` gives what JSON and MLflow keep.

    Args:
        network: small, first_study or timm:NAME.
        weights: safetensors file for a timm backbone; empty: none.
        frozen: the backbone stays as it is; a linear layer on it (`linear_probe`) learns from all
            training pictures at once: epochs, steps and augmentation do not count.
        weights_sha256: of that file, so that another in its place is noticed; the installed
            weights are taken where they are the ones meant, wherever the environment now stands.
        members: so many networks judge together, each validated on another fold of the training
            pictures, so that none of these is lost to training.
        epochs: passes over the training pictures, at most.
        steps: as many are made at least, by more epochs where pictures are few; 0: by none.
        batch: pictures a step, over all processes; a quarter of them where they are few.
        learning_rate: the highest that the schedule reaches.
        weight_decay: of AdamW, on weights of convolutions and dense layers only.
        schedule: onecycle (Smith and Topin 2018) or cosine (Loshchilov and Hutter 2017).
        dropout: share of features that a training step leaves out; of `small` alone.
        clip: longest gradient, as its 2-norm.
        seed: of weights, order, augmentation and dropout.
        class_weights: good and bad pictures weigh the same in total.
        focal_gamma: exponent of the focal loss (Lin et al. 2017); 0 is cross-entropy.
        smoothing: labels are this far from 0 and 1 in sum (Szegedy et al. 2016).
        average: weights are averaged exponentially with this decay (Polyak and Juditsky 1992); 0:
            the last ones count.
        patience: epochs in the second half after which training stops, where the validation of each
            was worse than the best of them by more than chance; as many times more as `steps` makes
            epochs.
        flips: training pictures are flipped at random in both directions.
        shift: and moved by at most this share of their sides.
        zoom: and stretched in either direction by exp(-zoom) to exp(zoom).
        gamma: and their light is raised to exp(-gamma) to exp(gamma).
        grey: and this share of them loses its colour.
        turns: and square ones are mirrored at their diagonal at random.
        defects: and this share of the good ones gets a drawn defect, and is then bad.
        judge_flips: a verdict is the mean over the four flips of a picture.
        bfloat16: training computes in 16 bits, on processors that are faster then; on others in 32,
            and ends in other digits.
        threads: of torch; other numbers add in another order, and end in other digits.
        processes: that share each batch, through Spark's TorchDistributor; 1: this one alone.
        memory_bytes: tensors up to this size are read once, larger sets are read each epoch.
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

    def planned(self, pictures: int) -> CnnRecipe:
        """This recipe for so many training pictures: with the epochs, batch and patience meant."""
        batch = max(min(self.batch, pictures // 4), 4) if self.steps else self.batch
        epochs = max(self.epochs, -(-self.steps // -(-pictures // batch)))
        patience = -(-self.patience * epochs // self.epochs)
        return replace(self, epochs=epochs, batch=batch, patience=patience, steps=0)

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.schedule not in SCHEDULES:
            known = ", ".join(SCHEDULES)
            raise UsageError(f"no schedule {self.schedule!r}; known: {known}")
        for name in ("members", "epochs", "batch", "threads", "processes"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)} must be 1 or more")
        if self.frozen and (self.members, self.processes) != (1, 1):
            raise UsageError(
                "a backbone that stays as it is takes one member and one process; leave out "
                "--members and --processes, or train all of it by --fine-tune"
            )


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
"""The first study's CNN, as plain as it was, under the honest protocol."""


def recipe_for(
    network: str,
    epochs: int | None = None,
    members: int = 1,
    processes: int = 1,
    weights: Path | None = None,
    fine_tune: bool = False,
) -> CnnRecipe:
    """The recipe that a network is trained by where nothing else is said; `epochs` are exact.

    Weights, given or installed, stay as they are, below a linear layer, unless `fine_tune` trains
    them further.
    """
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


def file_sha256(file: str) -> str:
    """Of the weights' file; raises UsageError where it cannot be read."""
    try:
        with Path(file).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"--weights {file}: {error.strerror}") from None


def weights_file(recipe: CnnRecipe) -> str:
    """The file of weights that the recipe names by its hash, or nothing where it names none.

    It is where the recipe says, or the installed one. Raises PlatelakeError where neither is it.
    """
    if not recipe.weights:
        return ""

    def is_meant(file: str) -> bool:
        return Path(file).is_file() and file_sha256(file) == recipe.weights_sha256

    if is_meant(recipe.weights):
        return recipe.weights
    if recipe.network == NETWORK and is_meant(installed := str(installed_weights())):
        return installed
    raise PlatelakeError(
        f"{recipe.weights} is not the file of weights that the recipe names (sha256 "
        f"{recipe.weights_sha256[:16]}…); put that one back"
    )
