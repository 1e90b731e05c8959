"""The loss of a CNN: the sum over the given pictures, divided by the nominal size of the batch.

So the sum over several processes, each with a share of the batch, is the loss of a single process.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ml.photos.recipe import CnnRecipe


def verdict_loss(
    logits: Tensor, targets: Tensor, labels: Tensor, bad: float, recipe: CnnRecipe
) -> Tensor:
    """Compute the cross-entropy or focal loss (Lin et al. 2017) of logits.

    With class weights, good and bad by label weigh the same in total. A drawn defect weighs as much
    as the good picture that it is drawn on, so real defects count more.

    Args:
        logits: shape (n,).
        targets: 0 or 1, shape (n,), 1 also for drawn defects.
        labels: 0 or 1, shape (n,), before defects were drawn.
        bad: share of bad pictures in training, 0 to 1.
        recipe: smoothing, focal exponent, class weights and size of the batch.

    Returns:
        The loss, a scalar.
    """
    smooth = targets * (1 - recipe.smoothing) + recipe.smoothing / 2
    losses = F.binary_cross_entropy_with_logits(logits, smooth, reduction="none")
    if recipe.focal_gamma:
        wrong = (targets - torch.sigmoid(logits)).abs()
        losses = losses * wrong**recipe.focal_gamma
    if recipe.class_weights:
        losses = losses * torch.where(labels == 1, 0.5 / bad, 0.5 / (1 - bad))
    return losses.sum() / recipe.batch
