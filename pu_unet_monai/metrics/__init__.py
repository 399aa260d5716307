"""Metrics that MONAI lacks."""

from __future__ import annotations

from pu_unet_monai.metrics.average_surface_distance import AverageSurfaceDistance
from pu_unet_monai.metrics.false_positive_rate import ImageLevelFalsePositiveRate
from pu_unet_monai.metrics.hausdorff import HausdorffDistance95
from pu_unet_monai.metrics.region_confusion import RegionConfusion
from pu_unet_monai.metrics.thresholded_jaccard import ThresholdedJaccard

__all__ = [
    "AverageSurfaceDistance",
    "HausdorffDistance95",
    "ImageLevelFalsePositiveRate",
    "RegionConfusion",
    "ThresholdedJaccard",
]
