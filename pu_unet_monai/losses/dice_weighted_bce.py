"""Soft Dice plus binary cross-entropy that weighs lesion pixels more."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from torch.nn.modules.loss import _Loss

from pu_unet_monai.errors import UserError

__all__ = ["DiceWeightedBCELoss"]


class DiceWeightedBCELoss(_Loss):
    """Soft Dice plus weighted binary cross-entropy: the hybrid loss of the attention R2U-Net report on ISIC 2017.

    ``dice_weight * (1 - (2 sum(p g) + 1) / (sum(p) + sum(g) + 1)) - bce_weight * mean(pos_weight g log p +
    (1 - g) log(1 - p))``, with the Dice part per item and class, then averaged. ``pos_weight`` acts on the
    cross-entropy alone; ``weight`` of MONAI's ``DiceCELoss`` scales the Dice part as well. The report gives
    no numbers: the default of 2 and the equal parts are our reading. Computed in float32 whatever the precision of
    the input.

    Args:
        pos_weight: how much more a pixel with label 1 weighs in the cross-entropy than one with label 0, for all
            classes or one number for each; a balance of the two is the number of pixels without lesion by those with.
            Defaults to 2.
        dice_weight: weight of the Dice part. Defaults to 1.
        bce_weight: weight of the cross-entropy. Defaults to 1.
        smooth_nr: added to the numerator of Dice; with MONAI's 1e-5 false positives on an image without lesion have
            practically no gradient. Defaults to 1.
        smooth_dr: added to the denominator of Dice. Defaults to 1.

    Shape:
        Input (B, C, *spatial), logits. Target of the same shape, 0 or 1. Output: a scalar.

    Raises:
        UserError: if a weight is negative or not a number, or their number is not that of the classes.
    """

    def __init__(
        self,
        pos_weight: float | Sequence[float] = 2.0,
        dice_weight: float = 1.0,
        bce_weight: float = 1.0,
        smooth_nr: float = 1.0,
        smooth_dr: float = 1.0,
    ) -> None:
        super().__init__()
        weights = torch.as_tensor(pos_weight, dtype=torch.float32).reshape(-1)
        for name, values in (
            ("pos_weight", weights.tolist()),
            ("dice_weight", [dice_weight]),
            ("bce_weight", [bce_weight]),
        ):
            if not all(value >= 0 for value in values):  # which nan is not either
                raise UserError(f"{name}: {values}, expected numbers from 0 up; mend the loss's options.")
        self.dice_weight = dice_weight
        self.bce_weight = bce_weight
        self.register_buffer("pos_weight", weights, persistent=False)
        self.pos_weight: torch.Tensor
        self.dice = DiceLoss(sigmoid=True, smooth_nr=smooth_nr, smooth_dr=smooth_dr)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the loss of logits ``input`` against ``target``."""
        if len(self.pos_weight) not in (1, input.shape[1]):
            raise UserError(
                f"pos_weight: {len(self.pos_weight)} numbers, expected 1 or one for each of {input.shape[1]} classes."
            )
        input, target = input.float(), target.float()
        pos_weight = self.pos_weight.to(input.device).reshape(-1, *[1] * (input.dim() - 2))
        bce = F.binary_cross_entropy_with_logits(input, target, pos_weight=pos_weight)
        return self.dice_weight * self.dice(input, target) + self.bce_weight * bce
