"""95 % Hausdorff distance in mm, with empty masks left out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.metrics import compute_hausdorff_distance

from pu_unet_monai.metrics.surface_metric import SurfaceMetric

__all__ = ["HausdorffDistance95"]


class HausdorffDistance95(SurfaceMetric):
    """95 % Hausdorff distance between the surfaces of two masks, in mm: the larger of both directions' percentiles.

    Spacing, empty masks and ``reduction``: see :class:`SurfaceMetric`.
    """

    def distance(self, prediction: torch.Tensor, truth: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
        """Return the distance between two masks (1, 1, *spatial), neither of them empty."""
        return compute_hausdorff_distance(
            prediction, truth, include_background=True, percentile=95, spacing=list(spacing)
        )
