"""Focal Tversky loss, alone and with binary cross-entropy: the objective of PU-UNet."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.losses import TverskyLoss
from monai.utils import LossReduction
from torch.nn.modules.loss import _Loss

__all__ = ["BCEFocalTverskyLoss", "FocalTverskyLoss"]

# A power under 1 has an infinite slope at 0: this floor keeps the gradient of a perfect item finite (zero).
_SMALLEST_BASE = 1e-7


class FocalTverskyLoss(_Loss):
    """Focal Tversky loss of Abraham and Khan (2019), ``(1 - TI) ** exponent``, per item and class, then averaged.

    ``TI = (TP + smooth_nr) / (TP + fp_weight * FP + fn_weight * FN + smooth_dr)``. Sources disagree on whether
    the exponent is called gamma or its inverse, hence the plain name. A sum over classes with exponent ``1/gamma``,
    gamma in [1, 3], is ``FocalTverskyLoss(exponent=1 / gamma, reduction="none")(logits, target).sum(1).mean()``.

    The smoothing terms are 1, not MONAI's 1e-5: with the small ones a few false positives on an image without
    foreground have practically no gradient. An empty image that is wrong everywhere has little gradient with either;
    there it is the cross-entropy of :class:`BCEFocalTverskyLoss` that teaches. Computed in float32 whatever the
    precision of the input.

    Args:
        fp_weight: weight of false positives (``alpha`` of MONAI's ``TverskyLoss``). Defaults to 0.3.
        fn_weight: weight of false negatives (``beta`` of MONAI's ``TverskyLoss``). Defaults to 0.7.
        exponent: power of ``1 - TI``; under 1 it weighs nearly right items more. Defaults to 0.75.
        sigmoid: whether the input is logits of independent classes. Defaults to True.
        softmax: whether the input is logits of exclusive classes; needs ``sigmoid=False``. Defaults to False.
        to_onehot_y: whether the target is a label map (B, 1, *spatial). Defaults to False.
        include_background: whether the first class counts. Defaults to True.
        smooth_nr: added to the numerator. Defaults to 1.
        smooth_dr: added to the denominator. Defaults to 1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, which gives (B, C). Defaults to ``"mean"``.

    Shape:
        Input (B, C, *spatial), logits or probabilities. Target of the same shape, 0 or 1.

    Raises:
        ValueError: if ``exponent`` is not positive, or both ``sigmoid`` and ``softmax`` are set.
    """

    def __init__(
        self,
        fp_weight: float = 0.3,
        fn_weight: float = 0.7,
        exponent: float = 0.75,
        sigmoid: bool = True,
        softmax: bool = False,
        to_onehot_y: bool = False,
        include_background: bool = True,
        smooth_nr: float = 1.0,
        smooth_dr: float = 1.0,
        reduction: LossReduction | str = LossReduction.MEAN,
    ) -> None:
        super().__init__(reduction=LossReduction(reduction).value)
        if exponent <= 0:
            raise ValueError(f"exponent must be positive, got {exponent}.")
        self.exponent = exponent
        self.tversky = TverskyLoss(
            include_background=include_background,
            to_onehot_y=to_onehot_y,
            sigmoid=sigmoid,
            softmax=softmax,
            alpha=fp_weight,
            beta=fn_weight,
            smooth_nr=smooth_nr,
            smooth_dr=smooth_dr,
            reduction=LossReduction.NONE,
        )

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the loss of logits (or probabilities) ``input`` against ``target``."""
        tversky_loss = self.tversky(input.float(), target.float())
        loss = tversky_loss.clamp_min(_SMALLEST_BASE) ** self.exponent
        if self.reduction == LossReduction.MEAN:
            return loss.mean()
        if self.reduction == LossReduction.SUM:
            return loss.sum()
        return loss


class BCEFocalTverskyLoss(_Loss):
    """Binary cross-entropy plus focal Tversky loss: the objective of PU-UNet (Li et al. 2026, equation 12).

    The numbers of the paper's equation are lost in our copy: equal weights, and 0.3, 0.7 and 0.75 in the Tversky
    part are our reading ("a common focal Tversky setting").

    Args:
        fp_weight: weight of false positives. Defaults to 0.3.
        fn_weight: weight of false negatives. Defaults to 0.7.
        exponent: power of ``1 - TI``. Defaults to 0.75.
        lambda_bce: weight of the cross-entropy. Defaults to 1.
        lambda_tversky: weight of the focal Tversky loss. Defaults to 1.
        smooth_nr: see :class:`FocalTverskyLoss`. Defaults to 1.
        smooth_dr: see :class:`FocalTverskyLoss`. Defaults to 1.

    Shape:
        Input (B, C, *spatial), logits. Target of the same shape, 0 or 1. Output: a scalar.
    """

    def __init__(
        self,
        fp_weight: float = 0.3,
        fn_weight: float = 0.7,
        exponent: float = 0.75,
        lambda_bce: float = 1.0,
        lambda_tversky: float = 1.0,
        smooth_nr: float = 1.0,
        smooth_dr: float = 1.0,
    ) -> None:
        super().__init__()
        self.lambda_bce = lambda_bce
        self.lambda_tversky = lambda_tversky
        self.focal_tversky = FocalTverskyLoss(fp_weight, fn_weight, exponent, smooth_nr=smooth_nr, smooth_dr=smooth_dr)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the loss of logits ``input`` against ``target``."""
        bce = F.binary_cross_entropy_with_logits(input.float(), target.float())
        return self.lambda_bce * bce + self.lambda_tversky * self.focal_tversky(input, target)
