"""Precision, recall, F1, specificity and their like, of every case and region."""

from __future__ import annotations

from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric, compute_confusion_matrix_metric, get_confusion_matrix
from monai.utils import MetricReduction, convert_to_tensor

from pu_unet_monai.metrics.reduction import reduce_or_nan

__all__ = ["RegionConfusion"]


class RegionConfusion(CumulativeIterationMetric):
    """Precision, recall, F1 or another score of the confusion matrix, for each case and region.

    MONAI's ``ConfusionMatrixMetric`` keeps counts instead of scores of a case. A score without anything to divide by
    is NaN: precision where the prediction is empty, specificity where all is lesion.

    Args:
        metric_name: ``"precision"``, ``"recall"``, ``"f1 score"`` or another name that MONAI's
            ``compute_confusion_matrix_metric`` knows.
        reduction: how scores are reduced, as in MONAI's metrics. Defaults to ``"mean"``.
        ignore_empty: whether the score is NaN where the truth is empty, as Dice's is. False is for scores in which the
            background counts, accuracy and specificity. Defaults to True.
    """

    def __init__(
        self,
        metric_name: str,
        reduction: MetricReduction | str = MetricReduction.MEAN,
        ignore_empty: bool = True,
    ) -> None:
        super().__init__()
        self.metric_name = metric_name
        self.ignore_empty = ignore_empty
        self.reduction = reduction

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """Score binary ``y_pred`` against binary ``y``, both (B, C, *spatial); returns (B, C)."""
        if y is None:
            raise ValueError("RegionConfusion needs the truth `y`, got None.")
        masks = ((convert_to_tensor(mask) != 0).to(torch.uint8) for mask in (y_pred, y))
        counts = get_confusion_matrix(*masks)
        scores = compute_confusion_matrix_metric(self.metric_name, counts)
        if not self.ignore_empty:
            return scores
        true_positives, _, _, false_negatives = counts.unbind(-1)
        return scores.masked_fill(true_positives + false_negatives == 0, torch.nan)

    def aggregate(self, reduction: MetricReduction | str | None = None) -> torch.Tensor:
        """Reduce the scores of all images since the last reset; NaN where none could be scored."""
        return reduce_or_nan(self.get_buffer(), reduction or self.reduction)
