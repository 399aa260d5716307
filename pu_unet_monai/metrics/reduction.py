"""Reduction of per-image scores in which nothing to score is NaN, never 0."""

from __future__ import annotations

import torch
from monai.metrics.utils import do_metric_reduction
from monai.utils import MetricReduction

__all__ = ["reduce_or_nan"]


def reduce_or_nan(scores: torch.Tensor, reduction: MetricReduction | str) -> torch.Tensor:
    """Reduce scores (B, C), some of them NaN, as MONAI does; where MONAI gives 0 for "none scored", give NaN.

    Args:
        scores: per-image and per-class scores, (B, C).
        reduction: one of MONAI's reductions.
    """
    reduced, scored = do_metric_reduction(scores.clone(), reduction)
    return torch.where(scored > 0, reduced, torch.full_like(reduced, torch.nan))
