"""Ignite handlers that MONAI lacks."""

from __future__ import annotations

from pu_unet_monai.handlers.checkpoint import TrainingCheckpoint
from pu_unet_monai.handlers.confusion_matrix import ConfusionMatrixWriter
from pu_unet_monai.handlers.epoch_log import EpochLog
from pu_unet_monai.handlers.examples import Examples, ExamplesWriter
from pu_unet_monai.handlers.gallery import Gallery
from pu_unet_monai.handlers.gradient_clipping import GradientClipping
from pu_unet_monai.handlers.memory_estimate import MemoryEstimate
from pu_unet_monai.handlers.metrics import (
    AverageSurfaceDistance,
    HausdorffDistance95,
    ImageLevelFalsePositiveRate,
    RegionConfusion,
    ThresholdedJaccard,
)
from pu_unet_monai.handlers.non_finite_guard import NonFiniteGuard
from pu_unet_monai.handlers.product_units import ProductUnitMonitor
from pu_unet_monai.handlers.progress import TrainingProgressBar
from pu_unet_monai.handlers.scores import ScoresWriter
from pu_unet_monai.handlers.weights import WeightsLoader

__all__ = [
    "AverageSurfaceDistance",
    "ConfusionMatrixWriter",
    "EpochLog",
    "Examples",
    "ExamplesWriter",
    "Gallery",
    "GradientClipping",
    "HausdorffDistance95",
    "ImageLevelFalsePositiveRate",
    "MemoryEstimate",
    "NonFiniteGuard",
    "ProductUnitMonitor",
    "RegionConfusion",
    "ScoresWriter",
    "ThresholdedJaccard",
    "TrainingCheckpoint",
    "TrainingProgressBar",
    "WeightsLoader",
]
