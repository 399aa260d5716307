"""How often a lesion is seen where there is none."""

from __future__ import annotations

from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric
from monai.utils import MetricReduction

from pu_unet_monai.metrics.reduction import reduce_or_nan

__all__ = ["ImageLevelFalsePositiveRate"]


class ImageLevelFalsePositiveRate(CumulativeIterationMetric):
    """Share of the lesion-free images in which any foreground is predicted (Li et al. 2026, section 4.3, BUSI).

    Images with a lesion are left out (NaN in the per-image scores); without any lesion-free image the rate is NaN.

    Args:
        reduction: how scores are reduced, as in MONAI's metrics. Defaults to ``"mean"``.
    """

    def __init__(self, reduction: MetricReduction | str = MetricReduction.MEAN) -> None:
        super().__init__()
        self.reduction = reduction

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """Score binary ``y_pred`` against binary ``y``, both (B, C, *spatial); returns 0, 1 or NaN as (B, C)."""
        if y is None:
            raise ValueError("ImageLevelFalsePositiveRate needs the truth `y`, got None.")
        if y_pred.shape != y.shape:
            raise ValueError(f"y_pred and y must have the same shape, got {list(y_pred.shape)} and {list(y.shape)}.")
        seen = (y_pred != 0).flatten(2).any(dim=2).float()
        lesion = (y != 0).flatten(2).any(dim=2)
        return seen.masked_fill(lesion, torch.nan)

    def aggregate(self, reduction: MetricReduction | str | None = None) -> torch.Tensor:
        """Reduce the scores of all images since the last reset; NaN without any lesion-free image."""
        return reduce_or_nan(self.get_buffer(), reduction or self.reduction)
