"""Losses that MONAI lacks."""

from __future__ import annotations

from pu_unet_monai.losses.dice_weighted_bce import DiceWeightedBCELoss
from pu_unet_monai.losses.focal_tversky import BCEFocalTverskyLoss, FocalTverskyLoss

__all__ = ["BCEFocalTverskyLoss", "DiceWeightedBCELoss", "FocalTverskyLoss"]
