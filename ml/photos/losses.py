"""The loss of a CNN, summed over the pictures at hand and divided by the batch's nominal size.

So the sum over several processes, each with a share of the batch, is the loss of one with all.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ml.photos.recipe import CnnRecipe


def verdict_loss(
    logits: Tensor, targets: Tensor, labels: Tensor, bad: float, recipe: CnnRecipe
) -> Tensor:
    """Cross-entropy or focal loss of logits against targets 0 or 1, all of shape (n,).

    `labels` are what the pictures were before defects were drawn, `bad` is the share of bad ones
    in training, 0 to 1. With class weights, good and bad by label weigh the same in total: a drawn
    defect weighs as the good picture that it is drawn on, so that real ones are what counts.
    """
    smooth = targets * (1 - recipe.smoothing) + recipe.smoothing / 2
    losses = F.binary_cross_entropy_with_logits(logits, smooth, reduction="none")
    if recipe.focal_gamma:
        wrong = (targets - torch.sigmoid(logits)).abs()
        losses = losses * wrong**recipe.focal_gamma
    if recipe.class_weights:
        losses = losses * torch.where(labels == 1, 0.5 / bad, 0.5 / (1 - bad))
    return losses.sum() / recipe.batch
