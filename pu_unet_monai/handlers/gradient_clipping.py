"""Clipping of the gradient norm, with the norm reported."""

from __future__ import annotations

import math

from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from torch.nn.utils import clip_grad_norm_

__all__ = ["GradientClipping"]


class GradientClipping:
    """Ignite handler that clips the norm of the gradient before each step of the optimiser.

    Of the norms before clipping ``engine.state`` has, of the epoch so far, ``gradient_norm`` (the mean of the finite
    ones), ``gradient_norm_max`` (the largest of them) and ``non_finite_gradients`` (how many were none). Under CUDA
    mixed precision the gradient is unscaled first; there the first steps overflow, and are skipped.

    Args:
        max_norm: largest L2 norm of all gradients together. Defaults to 1.
    """

    def __init__(self, max_norm: float = 1.0) -> None:
        self.max_norm = max_norm

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register on MONAI's ``SupervisedTrainer``."""
        self.start(engine)
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def start(self, engine: SupervisedTrainer) -> None:
        """Begin an epoch."""
        self._steps, self._finite = 0, 0
        self._sum, self._max = 0.0, 0.0
        self._report(engine)

    def __call__(self, engine: SupervisedTrainer) -> None:
        """Clip the gradient of the network being trained."""
        scaler = engine.scaler
        if scaler is not None:
            scaler.unscale_(engine.optimizer)
        parameters = engine.network.parameters()
        self._add(float(clip_grad_norm_(parameters, self.max_norm)))
        self._report(engine)

    def _add(self, norm: float) -> None:
        self._steps += 1
        if math.isfinite(norm):
            self._finite += 1
            self._sum += norm
            self._max = max(self._max, norm)

    def _report(self, engine: SupervisedTrainer) -> None:
        engine.state.gradient_norm = self._sum / self._finite if self._finite else math.nan
        engine.state.gradient_norm_max = self._max if self._finite else math.nan
        engine.state.non_finite_gradients = self._steps - self._finite
