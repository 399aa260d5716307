"""Cross-entropy with a weight for every pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.nn.modules.loss import _Loss

from pu_unet_monai.errors import UserError

__all__ = ["WeightedCrossEntropyLoss", "weighted_cross_entropy"]


def weighted_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return ``sum(w * CE) / sum(w)`` over a batch; a pixel of weight 0 counts for nothing, whatever its label says.

    The original U-Net sums over pixels; divided by the sum of the weights, the value is that of PyTorch's
    ``cross_entropy`` where all weights are equal, whatever the size of the image and the share of labelled pixels.
    Without a labelled pixel it is 0. Computed in float32 whatever the precision of the input.

    Args:
        logits: (B, C, *spatial).
        labels: (B, 1, *spatial), class numbers for softmax over C > 1 exclusive classes; or (B, C, *spatial), 0 or 1
            for a sigmoid on each of C independent classes.
        weight: (B, 1, *spatial), 0 or more.

    Raises:
        UserError: if the shapes do not fit.
    """
    classes, channels = logits.shape[1], labels.shape[1]
    if channels not in (1, classes) or logits.shape[2:] != labels.shape[2:] or logits.shape[2:] != weight.shape[2:]:
        raise UserError(
            f"labels: {tuple(labels.shape)} with weights {tuple(weight.shape)}, expected one channel or {classes}, "
            f"and the size of the network's output {tuple(logits.shape)}; mend the preprocessing."
        )
    weight = weight.float()
    # infinite logits, which low precision knows, must not count either
    labels, logits = (values.masked_fill(weight == 0, 0) for values in (labels, logits))
    if channels == classes:
        entropy = F.binary_cross_entropy_with_logits(logits.float(), labels.float(), reduction="none")
    else:
        entropy = F.cross_entropy(logits.float(), labels[:, 0].long(), reduction="none")[:, None]
    total = weight.sum() * entropy.shape[1]
    return (entropy * weight).sum() / total.masked_fill(total == 0, 1)


class WeightedCrossEntropyLoss(_Loss):
    """Cross-entropy with a weight for every pixel, of the original U-Net (Ronneberger et al. 2015, equation 1).

    ``sum(w(x) * -log p_label(x)) / sum(w(x))``, see :func:`weighted_cross_entropy`. The weights come with the labels,
    as their last channel, so that MONAI's trainer hands them over and random transforms of the labels move both. The
    map of equation 2 is :class:`pu_unet_monai.transforms.BoundaryWeightMapd`;
    ``ConcatItemsd(keys=["label", "weight"], name="label")`` joins the two. Weight 0 is "unlabelled": what a random
    transform fills with zeros counts for nothing. :class:`SparseCrossEntropyLoss` takes it from the labels themselves.

    Shape:
        Input (B, C, *spatial), logits. Target (B, 2, *spatial), class numbers and weights, for softmax over C > 1
        exclusive classes, or (B, C + 1, *spatial), 0 or 1 and then the weights, for a sigmoid on each class. Output: a
        scalar.

    Raises:
        UserError: if the target has no channel of weights.
    """

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the loss of logits ``input`` against labels and weights ``target``."""
        if target.shape[1] < 2:
            raise UserError(
                f"target: {target.shape[1]} channel, expected labels and weights; join them before the random "
                "transforms: ConcatItemsd(keys=['label', 'weight'], name='label')."
            )
        return weighted_cross_entropy(input, target[:, :-1], target[:, -1:])
