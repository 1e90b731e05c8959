"""Networks by name. They turn pictures of the lake into a logit and a map of the evidence.

All preprocessing is inside, so the exported file needs nothing else. In: uint8, shape (n, height,
width, 3), RGB, 0 to 255. Out: logits, float32, shape (n,), above 0 for bad; and `cells`, float32,
shape (n, h, w). `heat` scales them to 0 to 1: they show where in the picture the evidence is.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn import functional as F

from lakehouse.errors import UsageError
from ml.photos.layers import convolved

TIMM = "timm:"
LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of R, G and B in grey (ITU-R BT.601)."""


class Network(nn.Module):
    """The interface of all networks in this module."""

    def evidence(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits, shape (n,), and cells, shape (n, h, w)."""
        raise NotImplementedError

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute only the logits, shape (n,)."""
        return self.evidence(pictures)[0]

    def heat(self, pictures: Tensor) -> Tensor:
        """Show where the evidence is: shape (n, h, w), 0 to 1."""
        return self.heat_of(self.evidence(pictures)[1])

    def heat_of(self, cells: Tensor) -> Tensor:
        """Turn cells into heat, 0 to 1."""
        return torch.sigmoid(cells)


def make_network(
    name: str,
    height: int,
    width: int,
    dropout: float = 0.0,
    weights: str = "",
) -> Network:
    """Make a network with new random weights, except those from a file.

    Args:
        name: small, first_study or timm:NAME.
        height: of the tensors, in pixels.
        width: of the tensors, in pixels.
        dropout: probability, only for `small`.
        weights: safetensors file for a timm backbone.

    Returns:
        The network, on the CPU.

    Raises:
        UsageError: there is no such network, the weights do not fit, or timm is not installed.

    Example:
        >>> network = make_network("small", 64, 48)
        >>> logits, cells = network.evidence(torch.zeros((2, 64, 48, 3), dtype=torch.uint8))
        >>> logits.shape, cells.shape
        (torch.Size([2]), torch.Size([2, 4, 3]))
    """
    if name == "small":
        return Small(height, width, dropout)
    if name == "first_study":
        return FirstStudy()
    if name.startswith(TIMM):
        return Backbone(name.removeprefix(TIMM), weights)
    raise UsageError(f"no network {name!r}; known: small, first_study, timm:NAME")


def as_floats(pictures: Tensor) -> Tensor:
    """Turn pictures, uint8, (n, height, width, 3), into (n, 3, height, width), 0 to 1."""
    return pictures.permute(0, 3, 1, 2).float() / 255


def _resized(x: Tensor, height: int, width: int) -> Tensor:
    """Resize bilinearly. If the picture shrinks a lot, take means over whole pixels first."""
    factor = min(x.shape[2] // height, x.shape[3] // width)
    if factor > 1:
        x = F.avg_pool2d(x, factor)
    if (x.shape[2], x.shape[3]) == (height, width):
        return x
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)


def _grey(x: Tensor) -> Tensor:
    """Turn RGB, shape (n, 3, h, w), into grey, shape (n, 1, h, w)."""
    return (x * x.new_tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)


class Small(Network):
    """Our own network: a 5 x 5 convolution, then three blocks of convolution and maximum.

    It has 99,105 parameters. The last maps are pooled both by mean and by maximum, because a stain
    may cover a part, but a crack is one cell. The layer's weights for mean and maximum, applied to
    the maps, give the class activation map (Zhou et al. 2016) that is the heat map. Grey and
    colour, dark and bright sources look alike to the network: it sees the picture standardised by
    its own mean and deviation, and the luminance minus that of its surroundings.
    """

    SIDE = 192
    CELL = 4
    CONTRAST = 0.06
    WIDTHS = (16, 32, 64, 128)

    def __init__(self, height: int, width: int, dropout: float) -> None:
        super().__init__()
        shrink = min(1.0, self.SIDE / max(height, width))
        self.size = (max(32, round(height * shrink)), max(32, round(width * shrink)))
        first, *others = self.WIDTHS
        layers = [convolved(4, first, 5, 2)]
        for inside, outside in zip(self.WIDTHS, others, strict=False):
            layers += [convolved(inside, outside, 3, 1), nn.Sequential(nn.MaxPool2d(2))]
        self.maps = nn.Sequential(*layers)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(2 * self.WIDTHS[-1], 1)

    def evidence(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits and cells. The sides of the map of cells are 1/16 of the input's."""
        x = self.standardised(_resized(as_floats(pictures), *self.size))
        maps = self.maps(x.contiguous(memory_format=torch.channels_last)).float()
        pooled = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)
        logits = self.head(self.drop(pooled))[:, 0].float()
        mean, most = self.head.weight[0].float().chunk(2)
        cells = (maps * (mean + most).view(1, -1, 1, 1)).sum(1) + self.head.bias.float()
        return logits, cells

    def standardised(self, x: Tensor) -> Tensor:
        """Standardise RGB, shape (n, 3, h, w), 0 to 1, and add the contrast: (n, 4, h, w)."""
        grey = _grey(x)
        mean = grey.mean((2, 3), keepdim=True)
        deviation = ((grey - mean) ** 2).mean((2, 3), keepdim=True).sqrt()
        apart = (grey - self._surroundings(grey)) / self.CONTRAST
        return torch.cat([(x - mean) / (deviation + 0.02), apart], 1)

    def _surroundings(self, x: Tensor) -> Tensor:
        """Compute means over about 5 x 5 cells of 4 pixels. Exact means cost five times more."""
        coarse = F.pad(F.avg_pool2d(x, self.CELL), (2, 2, 2, 2), mode="replicate")
        smooth = F.avg_pool2d(coarse, 5, 1)
        return F.interpolate(smooth, size=x.shape[2:], mode="bilinear", align_corners=False)


class FirstStudy(Network):
    """The first study's CNN, kept as a baseline: grey 256 x 256, 3,299,109 parameters.

    Its heat is Grad-CAM (Selvaraju et al. 2017, eq. 1 and 2) on the last pooled maps. The code
    writes out the gradient through the three dense layers, so that it can be exported.
    """

    SIDE = 256

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inside, outside in ((1, 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.maps = nn.Sequential(*layers)
        self.first = nn.Linear(32 * (self.SIDE // 8) ** 2, 100)
        self.second = nn.Linear(100, 80)
        self.last = nn.Linear(80, 1)

    def evidence(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits and cells. Cells are 32 x 32, and are already the heat."""
        maps = self.maps(_grey(_resized(as_floats(pictures), self.SIDE, self.SIDE)))
        first = F.relu(self.first(maps.flatten(1)))
        second = F.relu(self.second(first))
        logits = self.last(second)[:, 0].float()
        slope = ((second > 0) * self.last.weight) @ self.second.weight
        slope = ((first > 0) * slope) @ self.first.weight
        weight = slope.view(-1, 32, *maps.shape[2:]).mean((2, 3), keepdim=True)
        heat = F.relu((weight * maps).sum(1)).float()
        return logits, heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-12)

    def heat_of(self, cells: Tensor) -> Tensor:
        """Return the cells."""
        return cells


class Backbone(Network):
    """A convolutional backbone of timm, with a linear layer on its last three scales.

    The maps of each scale are pooled by mean and by maximum. The logit is linear in both, so the
    cells are the class activation map (Zhou et al. 2016) of all scales together, with the
    resolution of the finest one. Pictures are scaled as timm says for that model.
    """

    SCALES = 3

    def __init__(self, name: str, weights: str) -> None:
        super().__init__()
        self.body: Any = timm_model(name, weights)
        scale = self.body.pretrained_cfg
        self.mean, self.deviation = scale["mean"], scale["std"]
        self.head = nn.Linear(2 * sum(s[1] for s in _shapes(self.body)[-self.SCALES :]), 1)

    def evidence(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits and cells. Cells have the resolution of the finest scale."""
        maps = self._maps(pictures)
        return self.head(_pooled(maps))[:, 0].float(), self._cells(maps)

    def features(self, pictures: Tensor) -> Tensor:
        """Compute the input of the linear layer, shape (n, features)."""
        return _pooled(self._maps(pictures))

    def _maps(self, pictures: Tensor) -> list[Tensor]:
        x = as_floats(pictures)
        x = (x - by_channel(x, self.mean)) / by_channel(x, self.deviation)
        maps = self.body.forward_intermediates(x, intermediates_only=True)
        return [scale.float() for scale in maps[-self.SCALES :]]

    def _cells(self, maps: list[Tensor]) -> Tensor:
        """Sum the evidence of all scales at each cell of the finest one."""
        mean, most = self.head.weight[0].float().chunk(2)
        parts = torch.split(mean + most, [scale.shape[1] for scale in maps])
        cells = [
            (scale * part.view(1, -1, 1, 1)).sum(1, keepdim=True)
            for scale, part in zip(maps, parts, strict=True)
        ]
        finest = maps[0].shape[2:]
        fine = [F.interpolate(c, size=finest, mode="bilinear", align_corners=False) for c in cells]
        return sum(fine[1:], fine[0])[:, 0] + self.head.bias.float()


def _pooled(maps: list[Tensor]) -> Tensor:
    parts = [scale.mean((2, 3)) for scale in maps] + [scale.amax((2, 3)) for scale in maps]
    return torch.cat(parts, 1)


def by_channel(x: Tensor, values: tuple[float, ...]) -> Tensor:
    """Shape a value for each channel so that it spreads over pictures like `x`."""
    return x.new_tensor(values).view(1, 3, 1, 1)


HEADS = ("fc.", "head.", "classifier.")
"""timm's names of the layers that classify. They are not used."""


def timm_model(name: str, weights: str) -> Any:
    """Make a convolutional model of timm, with the weights of a file. Raise UsageError."""
    try:
        import timm
    except ImportError:
        raise UsageError(
            f"network timm:{name} needs the packages timm and torchvision; install them by "
            "`pip install timm torchvision`, or use network small"
        ) from None
    if not timm.is_model(name):
        raise UsageError(f"timm has no model {name!r}; list them by `timm.list_models()`")
    body = timm.create_model(name, pretrained=False, num_classes=0)
    if weights:
        from safetensors.torch import load_file  # type: ignore[import-not-found,unused-ignore]

        given = load_file(weights)
        missing, unused = body.load_state_dict(given, strict=False)
        unused = [name for name in unused if not name.startswith(HEADS)]
        if missing or unused:
            raise UsageError(
                f"{weights} does not hold the weights of timm's {name}: "
                f"{len(missing)} are missing, such as {missing[:1]}, {len(unused)} are not known, "
                f"such as {unused[:1]}"
            )
    if len({shape[2] for shape in _shapes(body)}) < Backbone.SCALES:
        raise UsageError(
            f"timm's {name} gives no maps of {Backbone.SCALES} scales, which the heat map needs; "
            "use a convolutional model, such as resnet18"
        )
    return body


def _shapes(body: Any) -> list[torch.Size]:
    """Return the shapes of each scale's maps, (1, channels, h, w), the finest first, if any."""
    if not hasattr(body, "forward_intermediates"):
        return []
    with torch.no_grad():
        maps = body.eval().forward_intermediates(
            torch.zeros(1, 3, 224, 224), intermediates_only=True
        )
    return [scale.shape for scale in maps]


# -- layers ------------------------------------------------------------------------------------
