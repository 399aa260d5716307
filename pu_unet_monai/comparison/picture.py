"""The same images under every network."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from pu_unet_monai.comparison.cell import Cell
from pu_unet_monai.evaluation.pictures import NOTICE, PREDICTION, TRUTH, Example, overlay, read_examples
from pu_unet_monai.files import atomic_path
from pu_unet_monai.printable import printable

__all__ = ["draw_comparison"]


def draw_comparison(cells: Sequence[Cell], path: Path) -> None:
    """Draw a row an image: the image with its truth, then the prediction of every variant on it.

    Above each prediction stands its Dice on the picture. Of several seeds the first that is done is drawn. Cases that
    some variant has not seen are left out; without any there is no picture.

    Args:
        cells: the trainings that are done.
        path: the picture to write, by its extension.
    """
    columns: dict[str, dict[str, Example]] = {}
    for cell in cells:
        columns.setdefault(cell.variant.name, read_examples(cell.folder / "examples.npz"))
    first, *others = columns.values()
    cases = {case: example for case, example in first.items() if all(case in examples for examples in others)}
    if not cases:
        path.unlink(missing_ok=True)
        return
    figure = Figure(figsize=(0.4 + 1.9 * (1 + len(columns)), 0.8 + 1.9 * len(cases)), layout="constrained")
    figure.suptitle("blue: truth, yellow: prediction; images chosen before the trainings", fontsize=8)
    grid = figure.subplots(len(cases), 1 + len(columns), squeeze=False)
    for axes, (case, example) in zip(grid, cases.items(), strict=True):
        axes[0].imshow(overlay(example.image, example.truth, TRUTH))
        axes[0].set_title(f"{printable(case[:24])}\ntruth", fontsize=7, parse_math=False)
        for axis, (name, examples) in zip(axes[1:], columns.items(), strict=True):
            found = examples[case]
            axis.imshow(overlay(overlay(found.image, found.truth, TRUTH), found.prediction, PREDICTION))
            axis.set_title(f"{textwrap.fill(printable(name), 28)}\n{_dice(found)}", fontsize=7, parse_math=False)
        for axis in axes:
            axis.set_axis_off()
    figure.supxlabel(NOTICE, fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _dice(example: Example) -> str:
    total = int(example.truth.sum()) + int(example.prediction.sum())
    return f"Dice {2 * int((example.truth & example.prediction).sum()) / total:.2f}" if total else "nothing, rightly"
