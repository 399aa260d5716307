"""A picture of an evaluation: from its worst to its best case."""

from __future__ import annotations

import os
from dataclasses import replace
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
from pu_unet_monai.evaluation.pictures import Example, draw_gallery

__all__ = ["Gallery"]


class Gallery:
    """Ignite handler that draws image, truth and prediction of some cases after an evaluation.

    Of a volume it draws the axial slice with most truth, or with most prediction where there is no truth, on the first
    channel (FLAIR); the masks are the unions of their channels (of the regions of a tumour, the whole tumour).

    The cases are spread evenly from the worst to the best by the evaluator's key metric, a mean over the channels that
    have a score; images without a lesion, which have no Dice, come last, the largest false detection at the very
    end. Of several processes the first draws its own cases.

    Args:
        path: the picture to write.
        count: number of cases. Defaults to 6.
    """

    def __init__(self, path: str | os.PathLike[str], count: int = 6) -> None:
        self.path = Path(path)
        self.count = count
        self._examples: list[Example] = []

    def attach(self, engine: Evaluator) -> None:
        """Register on an evaluator whose images and labels have their native size, or one common size."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.add)
        engine.add_event_handler(Events.COMPLETED, self.draw)

    def start(self, engine: Evaluator) -> None:
        """Begin an evaluation."""
        self._examples = []

    def add(self, engine: Evaluator) -> None:
        """Keep small copies of the images of a batch."""
        for item, result in zip(engine.state.batch, engine.state.output, strict=True):
            name = case_name(item[CommonKeys.IMAGE])
            whole = item[CommonKeys.IMAGE], _masks(result)
            image, masks = _axial_slice(*whole) if whole[1].ndim == 4 else whole
            truth, prediction = (_thumbnail(mask) for mask in masks)
            # the image was resized to the network's grid; the masks have its own proportions
            picture = Image.fromarray((255 * _rows_first(image)).round().astype(np.uint8))
            panels = (np.asarray(panel) for panel in (picture.resize(truth.size), truth, prediction))
            self._examples.append(Example(name, *panels))

    def draw(self, engine: Evaluator) -> None:
        """Draw the picture."""
        if engine.state.rank != 0 or not self._examples:
            return
        key = engine.state.key_metric_name
        scores = engine.state.metric_details[key].nanmean(dim=1).cpu().numpy()[: len(self._examples)]
        areas = [example.prediction.mean() for example in self._examples]
        ranked = np.lexsort((areas, scores))  # NaN, of images without a lesion, comes last
        chosen = ranked[np.unique(np.linspace(0, len(ranked) - 1, self.count).round().astype(int))]
        examples = [_with_score(self._examples[i], key, float(scores[i])) for i in chosen]
        draw_gallery(examples, self.path, f"{len(chosen)} of {len(ranked)} cases, worst to best by {key}")


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


def _with_score(example: Example, key: str, score: float) -> Example:
    shown = "no lesion" if np.isnan(score) else f"{key} {score:.3f}"
    return replace(example, title=f"{example.title}: {shown}")
