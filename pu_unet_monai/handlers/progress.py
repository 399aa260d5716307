"""Progress on the screen: a bar within an epoch."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine
from ignite.handlers import ProgressBar
from monai.handlers import from_engine
from monai.utils import CommonKeys

__all__ = ["TrainingProgressBar"]


class TrainingProgressBar(ProgressBar):
    """Ignite's progress bar with the loss beside it, silent where the output is no terminal."""

    def __init__(self) -> None:
        super().__init__(disable=None)

    def attach(self, engine: Engine, **kwargs: Any) -> None:  # type: ignore[override]
        """Register on MONAI's ``SupervisedTrainer``."""
        super().attach(engine, output_transform=_loss, **kwargs)


def _loss(output: Any) -> dict[str, Any]:
    return {"loss": from_engine(CommonKeys.LOSS, first=True)(output)}
