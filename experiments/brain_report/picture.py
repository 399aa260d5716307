"""One axial slice under all set-ups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from monai.transforms import Compose, MapTransform, Orientationd
from monai.utils import ensure_tuple
from numpy.typing import NDArray

from experiments.brain_report.set_ups import SET_UPS
from pu_unet_monai.data import load_datalist
from pu_unet_monai.data.case_name import name_of_files
from pu_unet_monai.data.label_numbering import CLASS_NAMES
from pu_unet_monai.evaluation.pictures import NOTICE
from pu_unet_monai.files import atomic_path
from pu_unet_monai.printable import printable
from pu_unet_monai.transforms import LabelToRegionsd, LoadVolumed, RegionsToLabeld

__all__ = ["draw_slice"]

_COLOURS = ["#ff5ac8", "#ffd200", "#ff2d2d"]
_COLUMNS = 4


def draw_slice(output: Path, names: Sequence[str], dataset_dir: Path, datalist: Path) -> None:
    """Draw ``slice.png``: the axial slice of the test case with most tumour, in truth and in all predictions.

    Args:
        output: folder with a folder for each set-up, evaluated.
        names: the set-ups, in the order of the panels.
        dataset_dir: folder of the dataset.
        datalist: the datalist; the first case for test is drawn.
    """
    entry = load_datalist(datalist, dataset_dir, "test")[0]
    case = name_of_files(ensure_tuple(entry["image"]))
    predictions = {name: str(output / name / "test" / f"{case}_seg.nii.gz") for name in names}
    maps = ["label", *names]
    volumes = Compose(_transforms(maps))({**entry, **predictions})
    z = int((volumes["label"][0] != 0).sum((0, 1)).argmax())
    background = np.asarray(volumes["image"][0, :, :, z])
    rows = math.ceil((1 + len(maps)) / _COLUMNS)
    figure = Figure(figsize=(2.4 * _COLUMNS, 2.7 * rows + 0.8), layout="constrained")
    figure.suptitle(f"{printable(case)}, axial slice {z}", fontsize=10, parse_math=False)
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for panel in axes:
        panel.set_axis_off()
    _draw(axes[0], background, np.zeros_like(background), "FLAIR")
    for panel, key in zip(axes[1:], maps, strict=False):
        title = "truth" if key == "label" else SET_UPS[key].title
        _draw(panel, background, np.asarray(volumes[key][0, :, :, z]), title)
    handles = [Patch(color=colour, label=name) for name, colour in zip(CLASS_NAMES[1:], _COLOURS, strict=True)]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False, title=NOTICE, title_fontsize=8
    )
    with atomic_path(output / "slice.png") as path:
        figure.savefig(path, dpi=110)


def _transforms(maps: Sequence[str]) -> list[MapTransform]:
    return [
        LoadVolumed("image"),
        LoadVolumed(maps, channels=1),
        LabelToRegionsd("label"),
        RegionsToLabeld("label"),
        Orientationd(["image", *maps], axcodes="LPS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
    ]


def _draw(axes: Axes, background: NDArray, label: NDArray, title: str) -> None:
    """Draw a slice (x, y) with its classes; rows run to posterior, which belongs down."""
    shown = np.argwhere(background)
    window = tuple(slice(low, high + 1) for low, high in zip(shown.min(0), shown.max(0), strict=True))
    axes.imshow(background[window].T, cmap="gray", vmin=0, vmax=np.percentile(background[background != 0], 99.5))
    classes = np.ma.masked_equal(label[window].T, 0)
    axes.imshow(
        classes, cmap=ListedColormap(_COLOURS), vmin=1, vmax=len(CLASS_NAMES) - 1, alpha=0.6, interpolation="nearest"
    )
    axes.set_title(title, fontsize=7, wrap=True)
