"""Pictures that let people see what a network did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

from pu_unet_monai.files import ANY_NAME, atomic_path
from pu_unet_monai.printable import printable

__all__ = [
    "NOTICE",
    "PREDICTION",
    "TRUTH",
    "Example",
    "curves",
    "draw_curves",
    "draw_gallery",
    "outlines",
    "overlay",
    "read_examples",
]

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


def outlines(example: Example) -> NDArray[np.uint8]:
    """Draw the outlines of truth and prediction on an image; where they meet, the prediction's.

    Args:
        example: the image and its masks.

    Returns:
        A new image of the same size.
    """
    drawn = example.image.copy()
    width = max(1, round(max(example.truth.shape) / 200))
    for mask, colour in ((example.truth, TRUTH), (example.prediction, PREDICTION)):
        drawn[mask & ~ndimage.binary_erosion(mask, iterations=width)] = colour
    return drawn


def draw_gallery(examples: Sequence[Example], path: Path, title: str) -> None:
    """Draw a row an example: the image, the truth on it, the prediction on it.

    Args:
        examples: the rows.
        path: the picture to write, by its extension.
        title: what stands above all.
    """
    rows = len(examples)
    figure = Figure(figsize=(7.5, 2.5 * rows + 1.0), layout="constrained")
    figure.suptitle(printable(title), parse_math=False)
    axes = figure.subplots(rows, 3, squeeze=False)
    for row, example in zip(axes, examples, strict=True):
        panels = {
            "image": example.image,
            "truth": overlay(example.image, example.truth, TRUTH),
            "prediction": overlay(example.image, example.prediction),
        }
        for axis, (name, panel) in zip(row, panels.items(), strict=True):
            axis.imshow(panel)
            axis.set_title(printable(example.title) if name == "image" else name, fontsize=8, parse_math=False)
            axis.set_axis_off()
    figure.supxlabel(NOTICE, fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def draw_curves(rows: Sequence[Mapping[str, str]], path: Path, metric: str) -> None:
    """Draw :func:`curves`.

    Args:
        rows: see there.
        path: the picture to write, by its extension.
        metric: see there.
    """
    with atomic_path(path) as temporary:
        curves(rows, metric).savefig(temporary, dpi=110)


def curves(rows: Sequence[Mapping[str, str]], metric: str) -> Figure:
    """Return a figure of the training loss and, where there was a validation, of its score over the epochs.

    Args:
        rows: the epochs, as ``csv.DictReader`` reads ``epochs.csv``.
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
    return figure


def read_examples(path: Path) -> dict[str, Example]:
    """Read the examples that :class:`~pu_unet_monai.handlers.ExamplesWriter` wrote, by case as in ``scores.csv``."""
    with np.load(path) as arrays:
        names = [str(case).encode(errors=ANY_NAME).decode() for case in arrays["cases"]]
        return {
            case: Example(case, *(arrays[f"{panel}_{number}"] for panel in ("image", "truth", "prediction")))
            for number, case in enumerate(names)
        }
