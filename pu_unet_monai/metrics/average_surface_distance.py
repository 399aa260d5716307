"""Average surface distance in mm, with empty masks left out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.metrics import compute_average_surface_distance

from pu_unet_monai.metrics.surface_metric import SurfaceMetric

__all__ = ["AverageSurfaceDistance"]


class AverageSurfaceDistance(SurfaceMetric):
    """Average symmetric surface distance of two masks, in mm: the mean over the voxels of both surfaces.

    Spacing, empty masks and ``reduction``: see :class:`SurfaceMetric`.
    """

    def distance(self, prediction: torch.Tensor, truth: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
        """Return the distance between two masks (1, 1, *spatial), neither of them empty."""
        return compute_average_surface_distance(
            prediction, truth, include_background=True, symmetric=True, spacing=list(spacing)
        )
