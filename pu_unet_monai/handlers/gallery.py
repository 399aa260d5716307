"""A picture of an evaluation: from its worst to its best case."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Events
from monai.engines import Evaluator
from monai.utils import CommonKeys, convert_to_numpy
from numpy.typing import NDArray
from PIL import Image

from pu_unet_monai.data.case_name import case_name
from pu_unet_monai.evaluation.pictures import Example, draw_gallery

__all__ = ["Gallery"]


class Gallery:
    """Ignite handler that draws image, truth and prediction of some cases after an evaluation of 2D images.

    The cases are spread evenly from the worst to the best by the evaluator's key metric; images without a lesion,
    which have no Dice, come last, the largest false detection at the very end. Of several processes the first draws its
    own cases.

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
            truth, prediction = (_mask(result[key]) for key in (CommonKeys.LABEL, CommonKeys.PRED))
            # the image was resized to the network's grid; the masks have its own proportions
            image = Image.fromarray((255 * _rows_first(item[CommonKeys.IMAGE])).round().astype(np.uint8))
            panels = (np.asarray(panel) for panel in (image.resize(truth.size), truth, prediction))
            self._examples.append(Example(name, *panels))

    def draw(self, engine: Evaluator) -> None:
        """Draw the picture."""
        if engine.state.rank != 0 or not self._examples:
            return
        key = engine.state.key_metric_name
        scores = engine.state.metric_details[key][:, 0].numpy()[: len(self._examples)]
        areas = [example.prediction.mean() for example in self._examples]
        ranked = np.lexsort((areas, scores))  # NaN, of images without a lesion, comes last
        chosen = ranked[np.unique(np.linspace(0, len(ranked) - 1, self.count).round().astype(int))]
        examples = [_with_score(self._examples[i], key, float(scores[i])) for i in chosen]
        draw_gallery(examples, self.path, f"{len(chosen)} of {len(ranked)} cases, worst to best by {key}")


def _rows_first(tensor: Any) -> NDArray:
    """(channels, width, height), as MONAI loads images, to (height, width, channels)."""
    return np.asarray(convert_to_numpy(tensor).T)


def _mask(tensor: Any) -> Image.Image:
    """A mask in its own proportions, at most 256 pixels a side."""
    mask = Image.fromarray(_rows_first(tensor)[..., 0] > 0)
    mask.thumbnail((256, 256), Image.Resampling.NEAREST)
    return mask


def _with_score(example: Example, key: str, score: float) -> Example:
    shown = "no lesion" if np.isnan(score) else f"{key} {score:.3f}"
    return replace(example, title=f"{example.title}: {shown}")
