"""A picture of an evaluation: from its worst to its best case."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from ignite.engine import Events
from monai.engines import Evaluator

from pu_unet_monai.evaluation.pictures import Example, draw_gallery
from pu_unet_monai.handlers.examples import Examples

__all__ = ["Gallery"]


class Gallery(Examples):
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
        super().__init__()
        self.path = Path(path)
        self.count = count

    def attach(self, engine: Evaluator) -> None:
        """Register on an evaluator whose images and labels have their native size, or one common size."""
        super().attach(engine)
        engine.add_event_handler(Events.COMPLETED, self.draw)

    def draw(self, engine: Evaluator) -> None:
        """Draw the picture."""
        if engine.state.rank != 0 or not self.found:
            return
        key = engine.state.key_metric_name
        scores = engine.state.metric_details[key].nanmean(dim=1).cpu().numpy()[: len(self.found)]
        areas = [example.prediction.mean() for example in self.found]
        ranked = np.lexsort((areas, scores))  # NaN, of images without a lesion, comes last
        chosen = ranked[np.unique(np.linspace(0, len(ranked) - 1, self.count).round().astype(int))]
        examples = [_with_score(self.found[i], key, float(scores[i])) for i in chosen]
        draw_gallery(examples, self.path, f"{len(chosen)} of {len(ranked)} cases, worst to best by {key}")


def _with_score(example: Example, key: str, score: float) -> Example:
    shown = "no lesion" if np.isnan(score) else f"{key} {score:.3f}"
    return replace(example, title=f"{example.title}: {shown}")
