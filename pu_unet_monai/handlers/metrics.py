"""Ignite handlers of our metrics, named as the metrics are."""

from __future__ import annotations

from collections.abc import Callable

from monai.handlers import IgniteMetricHandler
from monai.metrics import CumulativeIterationMetric
from monai.utils import MetricReduction

from pu_unet_monai import metrics

__all__ = [
    "AverageSurfaceDistance",
    "HausdorffDistance95",
    "ImageLevelFalsePositiveRate",
    "RegionConfusion",
    "ThresholdedJaccard",
]


class ThresholdedJaccard(IgniteMetricHandler):
    """Ignite handler of :class:`pu_unet_monai.metrics.ThresholdedJaccard`.

    Args:
        threshold: see the metric. Defaults to 0.65.
        include_background: see the metric. Defaults to True.
        reduction: see the metric. Defaults to ``"mean"``.
        output_transform: picks ``(y_pred, y)`` from the engine's output, such as ``from_engine(["pred", "label"])``.
        save_details: whether to keep per-image scores in ``engine.state.metric_details``. Defaults to True.
    """

    def __init__(
        self,
        threshold: float = 0.65,
        include_background: bool = True,
        reduction: MetricReduction | str = MetricReduction.MEAN,
        output_transform: Callable = lambda x: x,
        save_details: bool = True,
    ) -> None:
        metric = metrics.ThresholdedJaccard(threshold, include_background, reduction)
        super().__init__(metric_fn=metric, output_transform=output_transform, save_details=save_details)


class _ReducedMetric(IgniteMetricHandler):
    """Ignite handler of a metric whose only option is its reduction.

    Args:
        reduction: see the metric. Defaults to ``"mean"``.
        output_transform: picks ``(y_pred, y)`` from the engine's output, such as ``from_engine(["pred", "label"])``.
        save_details: whether to keep per-image scores in ``engine.state.metric_details``. Defaults to True.
    """

    metric: Callable[[MetricReduction | str], CumulativeIterationMetric]

    def __init__(
        self,
        reduction: MetricReduction | str = MetricReduction.MEAN,
        output_transform: Callable = lambda x: x,
        save_details: bool = True,
    ) -> None:
        metric = type(self).metric(reduction)
        super().__init__(metric_fn=metric, output_transform=output_transform, save_details=save_details)


class ImageLevelFalsePositiveRate(_ReducedMetric):
    """Ignite handler of :class:`pu_unet_monai.metrics.ImageLevelFalsePositiveRate`."""

    metric = metrics.ImageLevelFalsePositiveRate


class HausdorffDistance95(_ReducedMetric):
    """Ignite handler of :class:`pu_unet_monai.metrics.HausdorffDistance95`."""

    metric = metrics.HausdorffDistance95


class AverageSurfaceDistance(_ReducedMetric):
    """Ignite handler of :class:`pu_unet_monai.metrics.AverageSurfaceDistance`."""

    metric = metrics.AverageSurfaceDistance


class RegionConfusion(IgniteMetricHandler):
    """Ignite handler of :class:`pu_unet_monai.metrics.RegionConfusion`.

    Args:
        metric_name: see the metric.
        reduction: see the metric. Defaults to ``"mean"``.
        output_transform: picks ``(y_pred, y)`` from the engine's output, such as ``from_engine(["pred", "label"])``.
        save_details: whether to keep per-image scores in ``engine.state.metric_details``. Defaults to True.
        ignore_empty: see the metric. Defaults to True.
    """

    def __init__(
        self,
        metric_name: str,
        reduction: MetricReduction | str = MetricReduction.MEAN,
        output_transform: Callable = lambda x: x,
        save_details: bool = True,
        ignore_empty: bool = True,
    ) -> None:
        metric = metrics.RegionConfusion(metric_name, reduction, ignore_empty)
        super().__init__(metric_fn=metric, output_transform=output_transform, save_details=save_details)
