"""Cross-entropy of volumes of which a few slices are annotated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.modules.loss import _Loss

from pu_unet_monai.errors import UserError
from pu_unet_monai.losses.weighted_cross_entropy import weighted_cross_entropy

__all__ = ["SparseCrossEntropyLoss"]


class SparseCrossEntropyLoss(_Loss):
    """Softmax cross-entropy of sparse annotation, weight 0 on unlabelled voxels (Cicek et al. 2016, section 2).

    ``sum(w * -log p_label) / sum(w)`` with ``w = class_weights[label]``, 0 where the voxel is unlabelled. So the
    network learns from the annotated slices alone and predicts the whole volume. PyTorch's ``cross_entropy`` with
    ``ignore_index`` gives the same, but NaN for a batch without any labelled voxel; here it is 0. Random transforms
    that move an edge into the volume should fill it with ``"border"``, not with zeros, which are a class.

    Args:
        unlabelled: value of unlabelled voxels in the label map. Defaults to 255.
        class_weights: weight of each class, to count a frequent one less and a rare one more. Defaults to None: all 1.

    Shape:
        Input (B, C, *spatial), logits; softmax over C > 1 classes, or a sigmoid where C = 1. Target (B, 1, *spatial),
        class numbers. Output: a scalar.

    Raises:
        UserError: if a class weight is negative, or a labelled voxel's number is not that of a class or has no weight.
    """

    def __init__(self, unlabelled: int = 255, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if class_weights is not None and not all(weight >= 0 for weight in class_weights):
            raise UserError(f"class_weights: {list(class_weights)}, expected numbers from 0 up; mend the option.")
        self.unlabelled = unlabelled
        self.class_weights = class_weights

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the loss of logits ``input`` against a label map ``target``."""
        classes = max(input.shape[1], 2)
        weights = torch.as_tensor(self.class_weights or [1.0] * classes, dtype=torch.float32, device=input.device)
        if len(weights) != classes:
            raise UserError(f"class_weights: {len(weights)} numbers, expected one for each of {classes} classes.")
        labelled = target != self.unlabelled
        labels = target.masked_fill(~labelled, 0).long()
        if labels.min() < 0 or labels.max() >= classes:
            raise UserError(
                f"label map: holds {labels.min().item()} to {labels.max().item()}, expected 0 to {classes - 1}, or "
                f"{self.unlabelled} where unlabelled; set unlabelled, or mend the labels."
            )
        return weighted_cross_entropy(input, labels, weights[labels] * labelled)
