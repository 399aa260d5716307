"""Small copies of the images, truths and predictions of an evaluation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from monai.data import MetaTensor
from monai.engines import Evaluator
from monai.transforms import Orientation, SpatialResample
from monai.utils import CommonKeys, convert_to_numpy, convert_to_tensor
from numpy.typing import NDArray
from PIL import Image

from pu_unet_monai.data.case_name import case_name
from pu_unet_monai.evaluation.grey import grey_levels
from pu_unet_monai.evaluation.pictures import Example
from pu_unet_monai.files import atomic_path

__all__ = ["Examples", "ExamplesWriter"]


class Examples:
    """Ignite handler that keeps small copies of the cases of an evaluation.

    Of a volume it keeps the axial slice with most truth, or with most prediction where there is no truth, on the first
    channel (FLAIR); the masks are the unions of their channels (of the regions of a tumour, the whole tumour).

    Args:
        cases: names of the cases to keep. Defaults to all.

    Attributes:
        found: the cases of this process, in the order of the evaluation.
    """

    def __init__(self, cases: Sequence[str] | None = None) -> None:
        self.cases = cases
        self.found: list[Example] = []

    def attach(self, engine: Evaluator) -> None:
        """Register on an evaluator whose images and labels have their native size, or one common size."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add)

    def start(self, engine: Evaluator) -> None:
        """Begin an evaluation."""
        self.found = []

    def add(self, engine: Evaluator) -> None:
        """Keep small copies of the images of a batch."""
        for item, result in zip(engine.state.batch, engine.state.output, strict=True):
            name = case_name(item[CommonKeys.IMAGE])
            if self.cases is None or name in self.cases:
                self.found.append(_example(name, item[CommonKeys.IMAGE], result))


class ExamplesWriter(Examples):
    """Ignite handler that writes small copies of some cases after an evaluation, for pictures of several networks.

    The file is NumPy's compressed archive: ``cases`` (their names), and for each number ``image_0`` (height, width, 3),
    0 to 255, ``truth_0`` and ``prediction_0`` (height, width) of booleans. Of several processes the first writes its
    own cases.

    Args:
        path: the file to write, ``.npz``.
        cases: names of the cases to keep. Defaults to all.
    """

    def __init__(self, path: str | os.PathLike[str], cases: Sequence[str] | None = None) -> None:
        super().__init__(cases)
        self.path = Path(path)

    def attach(self, engine: Evaluator) -> None:
        """Register on an evaluator, as :class:`Examples`."""
        super().attach(engine)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def write(self, engine: Evaluator) -> None:
        """Write the file."""
        if engine.state.rank != 0:
            return
        arrays: dict[str, Any] = {"cases": np.array([example.title for example in self.found], np.str_)}
        for number, example in enumerate(self.found):
            arrays[f"image_{number}"] = example.image
            arrays[f"truth_{number}"] = example.truth
            arrays[f"prediction_{number}"] = example.prediction
        with atomic_path(self.path) as path:
            np.savez_compressed(path, **arrays)


def _example(name: str, image: MetaTensor, result: dict[str, torch.Tensor]) -> Example:
    whole = image, _masks(result)
    plane, masks = _axial_slice(*whole) if whole[1].ndim == 4 else whole
    truth, prediction = (_thumbnail(mask) for mask in masks)
    # the image was resized to the network's grid; the masks have its own proportions
    picture = Image.fromarray((255 * _rows_first(plane)).round().astype(np.uint8))
    panels = (np.asarray(panel) for panel in (picture.resize(truth.size), truth, prediction))
    return Example(name, *panels)


def _masks(result: dict[str, torch.Tensor]) -> MetaTensor:
    """Return the foreground of truth and prediction, (2, *spatial) of 0 and 1, where the truth lies."""
    foreground = [convert_to_tensor(result[key]).cpu().ne(0).any(dim=0) for key in (CommonKeys.LABEL, CommonKeys.PRED)]
    masks, truth = MetaTensor(torch.stack(foreground).to(torch.uint8)), result[CommonKeys.LABEL]
    return masks.copy_meta_from(truth) if isinstance(truth, MetaTensor) else masks


def _axial_slice(image: MetaTensor, masks: MetaTensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a slice of both with the anterior up: the image, 0 to 1, as (3, x, y), the masks as (2, x, y)."""
    lps: Any = Orientation("LPS", labels=None)(masks)
    truth, prediction = lps.as_tensor().sum(dim=(1, 2))
    areas = truth if truth.any() else prediction
    index = int(areas.argmax()) if areas.any() else len(areas) // 2
    to_slice = torch.eye(4, dtype=torch.float64)
    to_slice[2, 3] = index
    # the image was cropped and perhaps resampled for the network
    resample = SpatialResample(mode="nearest", padding_mode="zeros")  # linear would smear the background
    flair = resample(image[:1].cpu(), dst_affine=lps.affine @ to_slice, spatial_size=(*lps.shape[1:3], 1))
    grey = torch.as_tensor(grey_levels(convert_to_numpy(flair)[0, ..., 0]))
    return grey.expand(3, *grey.shape), lps.as_tensor()[..., index]


def _rows_first(tensor: Any) -> NDArray:
    """([channels,] width, height), as MONAI loads images, to (height, width[, channels])."""
    return np.asarray(convert_to_numpy(tensor).T)


def _thumbnail(mask: torch.Tensor) -> Image.Image:
    """A mask (width, height) in its own proportions, at most 256 pixels a side."""
    picture = Image.fromarray(_rows_first(mask) > 0)
    picture.thumbnail((256, 256), Image.Resampling.NEAREST)
    return picture
