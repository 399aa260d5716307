"""Pictures of segmented volumes: three planes through the tumour, with contours."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from pu_unet_monai.data.label_numbering import REGIONS
from pu_unet_monai.data.modalities import MODALITIES
from pu_unet_monai.evaluation.grey import grey_levels
from pu_unet_monai.evaluation.pictures import NOTICE
from pu_unet_monai.files import atomic_path
from pu_unet_monai.printable import printable

__all__ = ["draw_three_planes"]

_COLOURS = {"WT": "#ffd200", "TC": "#ff5ac8", "ET": "#ff2d2d"}
_NAMES = {"WT": "whole tumour", "TC": "tumour core", "ET": "enhancing tumour"}
_BACKGROUNDS = ("FLAIR", "T1gd")
"""What radiologists look for edema and enhancement on."""
_LINE = 100
"""Letters of the title in a line."""
_PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
_LETTERS = {"sagittal": "AP", "coronal": "RL", "axial": "RL"}
"""What lies at the left and the right of each plane, of an array in the orientation LPS."""


def draw_three_planes(
    image: NDArray,
    regions: NDArray,
    spacing: tuple[float, ...],
    to_file: NDArray,
    path: Path,
    title: str,
    channels: Sequence[str] = MODALITIES,
) -> None:
    """Draw the axial, coronal and sagittal plane with most whole tumour, on FLAIR and on contrast-enhanced T1.

    Drawn as radiologists look at it: the patient's right is at the left of axial and coronal planes. An image that has
    neither of the two is drawn by its first channel.

    Args:
        image: (C, x, y, z), in the orientation LPS.
        regions: (3, x, y, z) of 0 and 1: TC, WT, ET.
        spacing: size of a voxel in mm.
        to_file: (4, 4), from voxels of the array to voxels of the file, for the numbers of the slices.
        path: the picture to write, by its extension.
        title: what stands above all.
        channels: the names of the image's channels. Defaults to FLAIR, T1w, T1gd, T2w.
    """
    shown = [index for index, name in enumerate(channels) if name in _BACKGROUNDS] or [0]
    whole = regions[REGIONS.index("WT")] != 0
    figure = Figure(figsize=(9, 0.6 + 3 * len(shown)), layout="constrained")
    # Matplotlib's own wrapping reads $ as math
    lines = [textwrap.fill(printable(line), _LINE) for line in title.split("\n")]
    figure.suptitle("\n".join(lines), fontsize=10, parse_math=False)
    for row, channel in zip(figure.subplots(len(shown), 3, squeeze=False), shown, strict=True):
        background = grey_levels(image[channel])
        for axes, (plane, axis) in zip(row, reversed(_PLANES.items()), strict=True):
            index = _largest_slice(whole, axis)
            masks = {name: np.take(mask, index, axis) for name, mask in zip(REGIONS, regions, strict=True)}
            sides = [size for i, size in enumerate(spacing) if i != axis]
            _draw_plane(axes, np.take(background, index, axis), masks, plane, sides[1] / sides[0])
            number = _number_in_file(index, axis, whole.shape, to_file)
            axes.set_title(f"{printable(channels[channel])}, {plane} {number}", fontsize=8, parse_math=False)
    handles = [Line2D([], [], color=colour, label=_NAMES[name]) for name, colour in _COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False, title=NOTICE)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _draw_plane(axes: Axes, background: NDArray, masks: dict[str, NDArray], plane: str, aspect: float) -> None:
    # rows run to posterior in an axial plane, which belongs down; to superior in the others, which belongs up
    origin: Literal["upper", "lower"] = "upper" if plane == "axial" else "lower"
    axes.imshow(background.T, cmap="gray", vmin=0, vmax=1, origin=origin, aspect=aspect)
    for name, colour in _COLOURS.items():
        if masks[name].any() and min(masks[name].shape) > 1:  # of a single row there is no contour
            axes.contour(masks[name].T, levels=[0.5], colors=colour, linewidths=0.8)
    for x, letter in zip((0.02, 0.98), _LETTERS[plane], strict=True):
        axes.text(x, 0.5, letter, transform=axes.transAxes, color="w", fontsize=7, ha="left" if x < 0.5 else "right")
    axes.set_axis_off()


def _number_in_file(index: int, axis: int, shape: tuple[int, ...], to_file: NDArray) -> int:
    """Return the number, from 0, that a slice's middle has in the file, along the axis that runs most like its own."""
    middle = [(size - 1) / 2 for size in shape]
    middle[axis] = index
    return round(float((to_file @ [*middle, 1])[np.abs(to_file[:3, axis]).argmax()]))


def _largest_slice(mask: NDArray[np.bool_], axis: int) -> int:
    """Return the slice with most foreground; the middle one if there is none."""
    areas = mask.sum(axis=tuple(i for i in range(3) if i != axis))
    return int(areas.argmax()) if areas.any() else mask.shape[axis] // 2
