"""What a confusion matrix over classes says, in numbers and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pu_unet_monai.evaluation.pictures import NOTICE
from pu_unet_monai.files import atomic_path
from pu_unet_monai.printable import printable

__all__ = ["class_scores", "draw_confusion_matrix"]


def class_scores(matrix: NDArray[np.integer], names: Sequence[str]) -> dict[str, dict[str, float | bool | None]]:
    """Return precision, recall, F1 and Dice of every class, over the voxels of all cases together.

    F1 and Dice are two names of one number. A score without a denominator is None: all four where a class is neither
    in the truth nor predicted, precision where it is never predicted, recall where it is not in the truth.

    Args:
        matrix: number of voxels, (N, N), by truth (rows) and prediction (columns).
        names: the N classes.

    Returns:
        By class ``{"precision", "recall", "f1", "dice", "empty"}``; ``empty``: neither in the truth nor predicted.
    """
    scores: dict[str, dict[str, float | bool | None]] = {}
    for name, hits, truth, predicted in zip(names, matrix.diagonal(), matrix.sum(1), matrix.sum(0), strict=True):
        dice = _ratio(2 * hits, truth + predicted)
        scores[name] = {
            "precision": _ratio(hits, predicted),
            "recall": _ratio(hits, truth),
            "f1": dice,
            "dice": dice,
            "empty": dice is None,
        }
    return scores


def draw_confusion_matrix(matrix: NDArray[np.integer], names: Sequence[str], path: Path, title: str) -> None:
    """Draw a confusion matrix whose rows are shares of the truth; a class that is not in the truth has an empty row.

    Args:
        matrix: number of voxels, (N, N), by truth (rows) and prediction (columns).
        names: the N classes.
        path: the picture to write, by its extension.
        title: what stands above it.
    """
    truth = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, truth, out=np.full(matrix.shape, np.nan), where=truth > 0)
    size = 2.5 + 0.9 * len(names)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    figure.suptitle(printable(title), fontsize=10, parse_math=False)
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks, classes = range(len(names)), [printable(name) for name in names]
    axes.set_xticks(ticks, classes, rotation=30, ha="right", fontsize=8, parse_math=False)
    axes.set_yticks(ticks, classes, fontsize=8, parse_math=False)
    axes.set(xlabel="prediction", ylabel="truth")
    for (row, column), share in np.ndenumerate(shares):
        text = "-" if np.isnan(share) else f"{100 * share:.1f} %\n{matrix[row, column]:,}"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if share > 0.5 else "black")
    figure.colorbar(picture, ax=axes, label="share of the truth", shrink=0.8)
    figure.supxlabel(NOTICE, fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _ratio(part: np.integer, whole: np.integer) -> float | None:
    return float(part / whole) if whole > 0 else None
