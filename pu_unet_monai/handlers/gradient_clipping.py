"""Clipping of the gradient norm, with the norm reported."""

from __future__ import annotations

import torch
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from torch.nn.utils import clip_grad_norm_

__all__ = ["GradientClipping"]


class GradientClipping:
    """Ignite handler that clips the norm of the gradient before each step of the optimiser.

    The norm before clipping is kept in ``engine.state.gradient_norm``. Under CUDA mixed precision the gradient is
    unscaled first.

    Args:
        max_norm: largest L2 norm of all gradients together. Defaults to 1.
    """

    def __init__(self, max_norm: float = 1.0) -> None:
        self.max_norm = max_norm

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register on MONAI's ``SupervisedTrainer``."""
        engine.state.gradient_norm = 0.0
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        """Clip the gradient of the network being trained."""
        scaler = engine.scaler
        if scaler is not None:
            scaler.unscale_(engine.optimizer)
        parameters = engine.network.parameters()
        norm: torch.Tensor = clip_grad_norm_(parameters, self.max_norm)
        engine.state.gradient_norm = float(norm)
