"""The same images under every network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from pu_unet_monai.comparison.cell import Cell
from pu_unet_monai.evaluation.pictures import NOTICE, PREDICTION, TRUTH, Example, overlay
from pu_unet_monai.files import atomic_path

__all__ = ["draw_comparison"]


def draw_comparison(cells: Sequence[Cell], path: Path) -> None:
    """Draw a row an image: the image with its truth, then the prediction of every variant on it.

    Above each prediction stands its Dice on the picture. Of several seeds the first that is done is drawn.

    Args:
        cells: the trainings that are done.
        path: the picture to write, by its extension.
    """
    columns: dict[str, dict[str, Example]] = {}
    for cell in cells:
        columns.setdefault(cell.variant.name, _read(cell.folder / "examples.npz"))
    cases = next(iter(columns.values()))
    if not cases:
        return
    figure = Figure(figsize=(0.4 + 1.9 * (1 + len(columns)), 0.8 + 1.9 * len(cases)), layout="constrained")
    for row, (axes, (case, example)) in enumerate(
        zip(figure.subplots(len(cases), 1 + len(columns), squeeze=False), cases.items(), strict=True)
    ):
        axes[0].imshow(overlay(example.image, example.truth, TRUTH))
        axes[0].set_title(f"{case[:24]}\ntruth", fontsize=7)
        for axis, (name, examples) in zip(axes[1:], columns.items(), strict=True):
            found = examples[case]
            axis.imshow(overlay(overlay(found.image, found.truth, TRUTH), found.prediction, PREDICTION))
            title = f"{_dice(found)}"
            axis.set_title(f"{name}\n{title}" if row == 0 else title, fontsize=7, wrap=True)
        for axis in axes:
            axis.set_axis_off()
    figure.supxlabel(f"blue: truth, yellow: prediction. {NOTICE}", fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _dice(example: Example) -> str:
    total = int(example.truth.sum()) + int(example.prediction.sum())
    return f"Dice {2 * int((example.truth & example.prediction).sum()) / total:.2f}" if total else "nothing, rightly"


def _read(path: Path) -> dict[str, Example]:
    with np.load(path) as arrays:
        return {
            str(case): Example(str(case), *(arrays[f"{panel}_{number}"] for panel in ("image", "truth", "prediction")))
            for number, case in enumerate(arrays["cases"])
        }
