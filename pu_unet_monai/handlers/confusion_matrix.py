"""The full confusion matrix of an evaluation."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Events
from monai.engines import Evaluator
from monai.utils import convert_to_tensor

from pu_unet_monai.errors import UserError
from pu_unet_monai.evaluation.confusion_matrix import class_scores, draw_confusion_matrix
from pu_unet_monai.files import write_json

__all__ = ["ConfusionMatrixWriter"]

_log = logging.getLogger(__name__)


class ConfusionMatrixWriter:
    """Ignite handler that counts voxels class by class, over all cases and processes of an evaluation.

    It writes ``confusion_matrix.json`` (number of voxels, rows are the truth and columns the prediction; precision,
    recall, F1 and Dice a class over the voxels of all cases, null where there is nothing to divide by, and which
    classes are empty) and ``confusion_matrix.png`` (rows as shares of the truth).

    Args:
        output_dir: folder of the two files.
        class_names: the classes in the order of their indices, the background first.
        output_transform: picks ``(prediction, truth)`` from the engine's output, such as
            ``from_engine(["pred_classes", "label_classes"])``: of each case, or of a batch, a map of class indices.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        class_names: Sequence[str],
        output_transform: Callable[[Any], Any] = lambda x: x,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.class_names = tuple(class_names)
        self.output_transform = output_transform

    def attach(self, engine: Evaluator) -> None:
        """Register on an evaluator."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def start(self, engine: Evaluator) -> None:
        """Begin an evaluation."""
        self._matrix = torch.zeros(len(self.class_names), len(self.class_names), dtype=torch.int64)
        self._cases = 0

    def add(self, engine: Evaluator) -> None:
        """Count the voxels of a batch.

        Raises:
            UserError: if a map holds something else than the indices of the classes.
        """
        for prediction, truth in zip(*self.output_transform(engine.state.output), strict=True):
            self._matrix += _count(convert_to_tensor(prediction), convert_to_tensor(truth), len(self.class_names)).cpu()
            self._cases += 1

    def write(self, engine: Evaluator) -> None:
        """Write both files."""
        matrix = idist.all_reduce(self._matrix)
        cases = idist.all_reduce(self._cases)
        if engine.state.rank != 0:
            return
        counts = convert_to_tensor(matrix).cpu().numpy()
        content = {
            "cases": int(cases),
            "classes": self.class_names,
            "rows": "truth",
            "columns": "prediction",
            "voxels": counts.tolist(),
            "scores": class_scores(counts, self.class_names),
        }
        path = self.output_dir / "confusion_matrix.json"
        write_json(path, content)
        draw_confusion_matrix(
            counts, self.class_names, path.with_suffix(".png"), f"Confusion matrix, voxels of {int(cases)} cases"
        )
        _log.info("confusion matrix: %s", path)


def _count(prediction: torch.Tensor, truth: torch.Tensor, classes: int) -> torch.Tensor:
    """Return the number of voxels (classes, classes) by truth and prediction."""
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction {tuple(prediction.shape)} and truth {tuple(truth.shape)} differ in shape.")
    for name, values in (("prediction", prediction), ("truth", truth)):
        low, high = values.aminmax()
        if low < 0 or high >= classes:
            raise UserError(
                f"confusion matrix: {name} holds values from {low:g} to {high:g}, expected the indices 0 to "
                f"{classes - 1} of class_names; give maps of class indices (RegionsToLabeld makes them of regions)."
            )
    pairs = truth.to(torch.int32) * classes + prediction.to(torch.int32)
    return torch.bincount(pairs.flatten(), minlength=classes**2).reshape(classes, classes)
