"""Thresholded Jaccard index, the ranking score of the ISIC 2018 challenge."""

from __future__ import annotations

from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric, compute_iou
from monai.utils import MetricReduction

from pu_unet_monai.metrics.reduction import reduce_or_nan

__all__ = ["ThresholdedJaccard"]


class ThresholdedJaccard(CumulativeIterationMetric):
    """Jaccard index in which an image under the threshold counts as 0 (ISIC 2018, task 1; Li et al. 2026, 4.3).

    Images with empty truth are left out (NaN in the per-image scores).

    Args:
        threshold: a per-image Jaccard index under this counts 0, at or above it counts as it is. Defaults to 0.65.
        include_background: whether the first channel counts. Defaults to True.
        reduction: how scores are reduced, as in MONAI's metrics. Defaults to ``"mean"``.
    """

    def __init__(
        self,
        threshold: float = 0.65,
        include_background: bool = True,
        reduction: MetricReduction | str = MetricReduction.MEAN,
    ) -> None:
        super().__init__()
        self.threshold = threshold
        self.include_background = include_background
        self.reduction = reduction

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """Score binary ``y_pred`` against binary ``y``, both (B, C, *spatial); returns (B, C)."""
        if y is None:
            raise ValueError("ThresholdedJaccard needs the truth `y`, got None.")
        jaccard = compute_iou(y_pred, y, include_background=self.include_background, ignore_empty=True)
        return torch.where(jaccard < self.threshold, torch.zeros_like(jaccard), jaccard)

    def aggregate(self, reduction: MetricReduction | str | None = None) -> torch.Tensor:
        """Reduce the scores of all images since the last reset; NaN where none could be scored."""
        return reduce_or_nan(self.get_buffer(), reduction or self.reduction)
