"""What distances between the surfaces of two masks share."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.metrics import CumulativeIterationMetric
from monai.utils import MetricReduction, convert_to_tensor
from scipy.ndimage import find_objects

from pu_unet_monai.metrics.reduction import reduce_or_nan

__all__ = ["SurfaceMetric"]


class SurfaceMetric(CumulativeIterationMetric):
    """A distance between the surfaces of two masks, in mm.

    The truth's affine gives the spacing of the voxels, 1 where it has none. If truth or prediction of a region is empty
    there is no distance: the score is NaN (MONAI's metrics give infinity, or NaN with a warning).

    Args:
        reduction: how scores are reduced, as in MONAI's metrics. Defaults to ``"mean"``.
    """

    def __init__(self, reduction: MetricReduction | str = MetricReduction.MEAN) -> None:
        super().__init__()
        self.reduction = reduction

    def distance(self, prediction: torch.Tensor, truth: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
        """Return the distance between two masks (1, 1, *spatial), neither of them empty."""
        raise NotImplementedError

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """Score binary ``y_pred`` against binary ``y``, both (B, C, *spatial); returns mm or NaN as (B, C)."""
        if y is None:
            raise ValueError(f"{type(self).__name__} needs the truth `y`, got None.")
        if y_pred.shape != y.shape:
            raise ValueError(f"y_pred and y must have the same shape, got {list(y_pred.shape)} and {list(y.shape)}.")
        spacings = _spacings(y)
        masks = convert_to_tensor(y_pred) != 0, convert_to_tensor(y) != 0
        scores = torch.full(y.shape[:2], torch.nan)
        for item, channel in np.ndindex(*scores.shape):
            prediction, truth = (mask[item, channel].cpu() for mask in masks)
            if prediction.any() and truth.any():
                (box,) = find_objects((prediction | truth).numpy().view(np.uint8))  # MONAI crops too, but slowly
                with warnings.catch_warnings():  # MONAI 1.6.1 warns of an argument that it gives itself
                    warnings.filterwarnings("ignore", ".*always_return_as_numpy", FutureWarning)
                    distance = self.distance(prediction[box][None, None], truth[box][None, None], spacings[item])
                scores[item, channel] = distance
        return scores.to(y_pred.device)

    def aggregate(self, reduction: MetricReduction | str | None = None) -> torch.Tensor:
        """Reduce the scores of all images since the last reset; NaN where there was no distance."""
        return reduce_or_nan(self.get_buffer(), reduction or self.reduction)


def _spacings(y: torch.Tensor) -> list[list[float]]:
    """Return the spacing of every item of (B, C, *spatial)."""
    axes = y.ndim - 2
    if not isinstance(y, MetaTensor):
        return [[1.0] * axes] * len(y)
    # a batch of MONAI's loader has one affine an item, a single item that was given a batch axis just one
    affines = y.affine if y.affine.ndim == 3 else y.affine.expand(len(y), *y.affine.shape)
    return [affine_to_spacing(affine, r=axes).tolist() for affine in affines]
