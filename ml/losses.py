"""Losses of a CNN, each summed over the pictures at hand and divided by the batch's nominal size.

So the sum over several processes, each with a share of the batch, is the loss of one with all.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ml.cnn_recipe import CnnRecipe


def verdict_loss(logits: Tensor, targets: Tensor, bad: float, recipe: CnnRecipe) -> Tensor:
    """Cross-entropy or focal loss of logits, shape (n,), against targets 0 or 1, shape (n,).

    `bad` is the share of bad pictures in training, 0 to 1. With class weights, good and bad weigh
    the same in total, drawn defects counted as bad.
    """
    smooth = targets * (1 - recipe.smoothing) + recipe.smoothing / 2
    losses = F.binary_cross_entropy_with_logits(logits, smooth, reduction="none")
    if recipe.focal_gamma:
        wrong = (targets - torch.sigmoid(logits)).abs()
        losses = losses * wrong**recipe.focal_gamma
    if recipe.class_weights:
        bad += (1 - bad) * recipe.defects
        losses = losses * torch.where(targets == 1, 0.5 / bad, 0.5 / (1 - bad))
    return losses.sum() / recipe.batch


def cell_loss(
    cells: Tensor, where: Tensor, labels: Tensor, bad: float, recipe: CnnRecipe
) -> Tensor:
    """Cross-entropy of cells, shape (n, h, w), on good pictures, of which every cell is known.

    `where` says where a defect was drawn, shape (n, height, width), 0 to 1. In each picture the
    cells of the defect and the clean ones weigh the same: a defect has few.
    """
    if not len(cells):
        return cells.sum()
    wanted = F.adaptive_max_pool2d(where.unsqueeze(1), cells.shape[1:])[:, 0]
    losses = F.binary_cross_entropy_with_logits(cells, wanted, reduction="none")
    each = torch.zeros(len(cells), device=cells.device)
    for part in (wanted, 1 - wanted):
        each = each + (losses * part).sum((1, 2)) / part.sum((1, 2)).clamp_min(1)
    return (each * (labels == 0)).sum() / (recipe.batch * (1 - bad))
