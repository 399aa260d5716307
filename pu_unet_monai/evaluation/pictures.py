"""Pictures that let people see what a network did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

from pu_unet_monai.files import atomic_path

__all__ = ["NOTICE", "PREDICTION", "TRUTH", "Example", "draw_curves", "draw_gallery", "overlay"]

NOTICE = "Research use only. Not a medical device."
PREDICTION = (255, 210, 0)
TRUTH = (0, 200, 255)


@dataclass(frozen=True)
class Example:
    """An image with its truth and prediction.

    Args:
        title: what stands above the picture.
        image: (height, width, 3), 0 to 255.
        truth: (height, width) of booleans.
        prediction: (height, width) of booleans.
    """

    title: str
    image: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    prediction: NDArray[np.bool_]


def overlay(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], colour: tuple[int, int, int] = PREDICTION
) -> NDArray[np.uint8]:
    """Draw the outline of a mask, and a light tint inside it, on an image.

    Args:
        image: (height, width, 3), 0 to 255.
        mask: (height, width) of booleans.
        colour: red, green and blue. Defaults to yellow.

    Returns:
        A new image of the same size.
    """
    drawn = image.astype(np.float32)
    paint = np.array(colour, np.float32)
    drawn[mask] = 0.8 * drawn[mask] + 0.2 * paint
    width = max(1, round(max(mask.shape) / 200))
    drawn[mask & ~ndimage.binary_erosion(mask, iterations=width)] = paint
    return drawn.round().astype(np.uint8)


def draw_gallery(examples: Sequence[Example], path: Path, title: str) -> None:
    """Draw a row an example: the image, the truth on it, the prediction on it.

    Args:
        examples: the rows.
        path: the picture to write, by its extension.
        title: what stands above all.
    """
    rows = len(examples)
    figure = Figure(figsize=(7.5, 2.5 * rows + 1.0), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(rows, 3, squeeze=False)
    for row, example in zip(axes, examples, strict=True):
        panels = {
            "image": example.image,
            "truth": overlay(example.image, example.truth, TRUTH),
            "prediction": overlay(example.image, example.prediction),
        }
        for axis, (name, panel) in zip(row, panels.items(), strict=True):
            axis.imshow(panel)
            axis.set_title(example.title if name == "image" else name, fontsize=8)
            axis.set_axis_off()
    figure.supxlabel(NOTICE, fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def draw_curves(rows: Sequence[Mapping[str, str]], path: Path, metric: str) -> None:
    """Draw the training loss and, where there was a validation, its score over the epochs.

    Args:
        rows: the epochs, as ``csv.DictReader`` reads ``epochs.csv``.
        path: the picture to write, by its extension.
        metric: column of the validation score.
    """
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    labels = {"loss": "training loss", metric: f"validation {metric}"}
    for axis, (column, label) in zip(figure.subplots(1, 2), labels.items(), strict=True):
        points = [(int(row["epoch"]), float(row[column])) for row in rows if row.get(column)]
        if not points:
            axis.set_visible(False)
            continue
        axis.plot(*zip(*points, strict=True), marker="." if len(points) < 60 else None)
        axis.set(xlabel="epoch", title=label)
        axis.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
