"""Layers that train the same in one process and in several."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn


class Norm(nn.BatchNorm2d):
    """Batch normalisation over the whole batch, also if several processes share it.

    torch has this (`SyncBatchNorm`) only for GPUs.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise. The shape stays the same."""
        if not (self.training and torch.distributed.is_initialized()):
            plain: Tensor = super().forward(x)
            return plain
        wide = x.double()
        here = [wide.sum((0, 2, 3)), (wide * wide).sum((0, 2, 3))]
        count = wide.new_tensor([x.shape[0] * x.shape[2] * x.shape[3]])
        total: Tensor = SumOverProcesses.apply(torch.cat([*here, count]))
        mean, square = total[:-1].view(2, -1) / total[-1]
        variance = square - mean * mean
        self._remember(mean.detach(), variance.detach() * total[-1] / (total[-1] - 1))
        scaled = (wide - mean.view(1, -1, 1, 1)) / (variance + self.eps).sqrt().view(1, -1, 1, 1)
        weight, bias = self.weight.view(1, -1, 1, 1), self.bias.view(1, -1, 1, 1)
        result: Tensor = (scaled * weight + bias).to(x.dtype)
        return result

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)
        self.num_batches_tracked += 1


class SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over all processes. Its gradient is the sum of the processes' gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Sum the tensor. The shape stays the same."""
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        """Sum the gradient. The shape stays the same."""
        total = slope.clone()
        torch.distributed.all_reduce(total)
        return total


def convolved(inside: int, outside: int, side: int, stride: int) -> nn.Sequential:
    """Make a block of convolution, normalisation and ReLU."""
    convolution = nn.Conv2d(inside, outside, side, stride, side // 2, bias=False)
    return nn.Sequential(convolution, Norm(outside), nn.ReLU())
