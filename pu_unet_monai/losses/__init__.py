"""Losses that MONAI lacks.

MONAI has the soft Dice of V-Net, ``1 - 2 sum(p g) / (sum(p^2) + sum(g^2))`` (Milletari et al. 2016, section 3):
``monai.losses.DiceLoss(sigmoid=True, squared_pred=True)``; and Dice plus unweighted cross-entropy: ``DiceCELoss``.
Weights for pixels, such as the borders of the original U-Net: :class:`WeightedCrossEntropyLoss`. Sparse annotation, as
of the 3D U-Net: :class:`SparseCrossEntropyLoss`.
"""

from __future__ import annotations

from pu_unet_monai.losses.dice_weighted_bce import DiceWeightedBCELoss
from pu_unet_monai.losses.focal_tversky import BCEFocalTverskyLoss, FocalTverskyLoss
from pu_unet_monai.losses.sparse_cross_entropy import SparseCrossEntropyLoss
from pu_unet_monai.losses.weighted_cross_entropy import WeightedCrossEntropyLoss, weighted_cross_entropy

__all__ = [
    "BCEFocalTverskyLoss",
    "DiceWeightedBCELoss",
    "FocalTverskyLoss",
    "SparseCrossEntropyLoss",
    "WeightedCrossEntropyLoss",
    "weighted_cross_entropy",
]
