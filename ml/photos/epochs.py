"""One epoch after the other: steps, validation, the choice of the epoch, and the checkpoint.

Order, augmentation and dropout come from the recipe's seed and the number of the epoch. Validation
counts only in the second half of the schedule, when the weights become stable. The last epoch is
chosen whose validation is not worse than the best by more than chance: validation pictures show
few parts, so the best of many epochs is luck.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lakehouse.errors import PlatelakeError, UsageError
from ml.data.loader import ALONE, Indices, Tensors
from ml.data.pictures import PictureFrame
from ml.data.source import Source
from ml.figures.metrics import average_precision, log_loss
from ml.photos.augment import augment
from ml.photos.checkpoint import read_checkpoint, write_checkpoint
from ml.photos.fitted import PREDICTED_AT_ONCE, Calibrated, Fitted, calibrate
from ml.photos.layers import Norm
from ml.photos.losses import verdict_loss
from ml.photos.networks import Network, make_network
from ml.photos.recipe import CnnRecipe, weights_file

Share = Callable[[Sequence[Tensor]], None]

_STATEFUL = ("network", "averaged", "optimizer", "schedule")
_PLAIN = ("about", "step", "history", "best")


@dataclass(frozen=True)
class Together:
    """How several processes train one model.

    `shard` is (rank, processes). `share` replaces each tensor by its sum over all processes, in
    place.
    """

    shard: tuple[int, int] = ALONE
    share: Share = lambda tensors: None


def gains_by_bfloat16(device: torch.device) -> bool:
    """Return whether 16 bits are faster. Without AVX-512, a processor takes eight times as long."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


class Training:
    """The state of a training between two epochs."""

    def __init__(
        self,
        recipe: CnnRecipe,
        frame: PictureFrame,
        train: Indices,
        validate: Indices,
        together: Together,
        checkpoint: Path | None,
    ) -> None:
        asked, recipe = recipe, recipe.planned(len(train))
        self.recipe, self.asked, self.frame, self.together = recipe, asked, frame, together
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.source = Source(frame, train, recipe.memory_bytes, together.shard)
        self.evaluated = Source(frame, validate, recipe.memory_bytes, together.shard)
        size = (frame.height, frame.width)
        network = make_network(recipe.network, *size, recipe.dropout, weights_file(recipe))
        _refuse_lonely_norms(network, recipe.network, together.shard[1])
        network = network.to(memory_format=torch.channels_last)
        self.network = network.to(self.device)
        self.averaged = make_network(recipe.network, *size).to(self.device)
        self.averaged.load_state_dict(self.network.state_dict())
        self.optimizer = _optimizer(recipe, self.network)
        steps = -(-len(train) // recipe.batch) * recipe.epochs
        self.schedule = _schedule(recipe, self.optimizer, steps)
        self.step = 0
        self.history: list[dict[str, float]] = []
        self.half = recipe.epochs // 2
        self.best: dict[str, Any] = {"epoch": self.half, "ap": 0.0, "network": {}}
        self.checkpoint = checkpoint
        parts = [asdict(asked), frame.sha256, train.tolist(), validate.tolist()]
        self.about = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        self.resume()

    @property
    def goes_on(self) -> bool:
        """Whether there is another epoch."""
        done = len(self.history)
        return done < self.recipe.epochs and done - self.best["epoch"] < self.recipe.patience

    def epoch(self) -> dict[str, float]:
        """Train and validate one epoch. Keep its weights if it is not worse by more than chance."""
        start, number = time.monotonic(), len(self.history) + 1
        waited = self.source.seconds + self.evaluated.seconds
        loss = self.run_epoch(number)
        trained = time.monotonic() - start
        logits, labels = self.validation(flips=False)
        ap = average_precision(labels, logits)
        evaluated = log_loss(logits, labels)
        best = max(self.best["ap"], ap) if number > self.half else 0.0
        if number > self.half and ap >= best - _standard_error(best, int(labels.sum())):
            weights = {k: v.detach().clone() for k, v in self.shown.state_dict().items()}
            self.best = {"epoch": number, "network": weights}
        self.best["ap"] = best
        waited = self.source.seconds + self.evaluated.seconds - waited
        waited += (self.source.first_seconds + self.evaluated.first_seconds) * (number == 1)
        about = {
            "epoch": number,
            "loss": loss,
            "validation_loss": evaluated,
            "validation_ap": ap,
            "learning_rate": float(self.schedule.get_last_lr()[0]),
            "seconds": time.monotonic() - start,
            "loader_seconds": waited,
            "pictures_per_second": len(self.source.indices) / max(trained, 1e-9),
        }
        self.history.append(about)
        return about

    @property
    def shown(self) -> Network:
        """The network that is validated, with averaged weights if the recipe averages."""
        return self.averaged if self.recipe.average else self.network

    def run_epoch(self, number: int) -> float:
        """Train on each training picture once. Return the mean loss."""
        self.network.train()
        torch.manual_seed(_seed(self.recipe.seed, number, self.together.shard[0]))
        order = _seed(self.recipe.seed, number)
        times = torch.zeros(len(self.source.indices))
        total = torch.zeros((), device=self.device)
        for tensors, at in self.source.batches(self.recipe.batch, order):
            times[at] += 1
            total += self._learn(tensors, at, number)
        self.together.share([times, total])
        if not bool((times == 1).all()):
            raise PlatelakeError(
                f"training pictures were shown {int(times.min())} to {int(times.max())} times in "
                f"epoch {number} instead of once: the processes' shares overlap or have gaps; "
                "start every process with the same number of processes"
            )
        return float(total) * self.recipe.batch / len(self.source.indices)

    def _learn(self, tensors: Tensors, at: Indices, number: int) -> Tensor:
        """Make one step on this process's share of a batch. Return the share's loss."""
        recipe = self.recipe
        labels = torch.from_numpy(self.source.labels[at]).to(self.device)
        shown = torch.from_numpy(tensors).to(self.device)
        if not len(at):
            shown = shown.new_empty((0, self.frame.height, self.frame.width, 3))
        seen = augment(shown, labels, at, number, recipe)
        halved = recipe.bfloat16 and gains_by_bfloat16(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=halved):
            logits = self.network(seen.pictures)
        bad = float(self.source.labels.mean())
        targets = (labels.bool() | seen.drawn).float()
        loss = verdict_loss(logits, targets, labels, bad, recipe)
        self.optimizer.zero_grad(set_to_none=False)
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = list(self.network.parameters())
        self.together.share([p.grad for p in parameters if p.grad is not None])
        torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
        self.optimizer.step()
        self.schedule.step()
        self._average()
        return loss.detach()

    def _average(self) -> None:
        self.step += 1
        if not self.recipe.average:
            return
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            theirs = self.network.state_dict()
            for name, ours in self.averaged.state_dict().items():
                if ours.is_floating_point():
                    ours.lerp_(theirs[name], 1 - decay)

    def validation(self, flips: bool) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Compute logits and labels of the validation pictures, shape (n,).

        With `flips`, logits are means over the four flips of a picture.
        """
        module = Calibrated(self.shown.eval(), 1.0, 0.0, flips)
        logits = torch.zeros(len(self.evaluated.indices), dtype=torch.float64)
        for tensors, at in self.evaluated.batches(PREDICTED_AT_ONCE, None):
            with torch.no_grad():
                if len(at):
                    found, _ = module.logits(torch.from_numpy(tensors).to(self.device))
                    logits[at] = found.double().cpu()
        self.together.share([logits])
        return logits.numpy(), self.evaluated.labels

    def fitted(self) -> Fitted:
        """Return the chosen epoch's network, calibrated on the validation pictures."""
        self.shown.load_state_dict(self.best["network"])
        slope, offset = calibrate(*self.validation(self.recipe.judge_flips))
        network = self.shown.to("cpu").eval()
        size = (self.frame.height, self.frame.width)
        about = (self.best["epoch"], tuple(self.history))
        return Fitted(self.asked, network, slope, offset, *size, *about)

    # -- the checkpoint ------------------------------------------------------------------------

    def save(self) -> None:
        """Write the checkpoint. Of several processes, only the first writes it."""
        if self.checkpoint and self.together.shard[0] == 0:
            state = {name: getattr(self, name).state_dict() for name in _STATEFUL}
            state |= {name: getattr(self, name) for name in _PLAIN}
            state["random"] = torch.get_rng_state()
            write_checkpoint(self.checkpoint, state)

    def resume(self) -> None:
        """Continue from the checkpoint, if there is one."""
        if self.checkpoint and self.checkpoint.is_file():
            state = read_checkpoint(self.checkpoint, self.about, self.device)
            for name in _STATEFUL:
                getattr(self, name).load_state_dict(state[name])
            for name in _PLAIN:
                setattr(self, name, state[name])
            torch.set_rng_state(state["random"].cpu())


def _standard_error(ap: float, bad: int) -> float:
    """Estimate the standard error of an average precision, as if it were a proportion of bad ones.

    This is for the one-standard-error rule of Breiman et al. (1984). Two added pictures, one of
    them missed, keep it above zero (Agresti and Coull 1998).
    """
    share = (ap * bad + 1) / (bad + 2)
    return float(np.sqrt(share * (1 - share) / (bad + 2)))


def _optimizer(recipe: CnnRecipe, network: Network) -> torch.optim.AdamW:
    """Make AdamW (Loshchilov and Hutter 2019). Biases and norms do not decay."""
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def _schedule(
    recipe: CnnRecipe, optimizer: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if recipe.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=max(steps, 2), pct_start=0.2
    )


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _refuse_lonely_norms(network: Network, name: str, processes: int) -> None:
    lonely = any(
        isinstance(layer, torch.nn.modules.batchnorm._BatchNorm) and not isinstance(layer, Norm)
        for layer in network.modules()
    )
    if lonely and processes > 1:
        raise UsageError(
            f"network {name} normalises within each process, so {processes} processes would train "
            "another model than one; train it in one process, or use network small"
        )
