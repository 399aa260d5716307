"""Stop a training whose loss is no longer a number."""

from __future__ import annotations

import torch
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys

from pu_unet_monai.errors import NonFiniteLossError

__all__ = ["NonFiniteGuard"]


class NonFiniteGuard:
    """Ignite handler that stops the training at the first loss that is NaN or infinite.

    It acts before the backward pass: the weights of the network, and the checkpoints on disk, are those of before.
    """

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register on MONAI's ``SupervisedTrainer``."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        """Check the loss of this iteration.

        Raises:
            NonFiniteLossError: if it is not finite; the message names epoch and iteration.
        """
        loss = engine.state.output[CommonKeys.LOSS]
        if not torch.isfinite(loss):
            state = engine.state
            raise NonFiniteLossError(
                f"the loss became {loss.item()} at epoch {state.epoch}, iteration {state.iteration}; training stopped "
                "and the checkpoint of the last epoch was kept. Lower learning_rate, or look for non-finite values "
                "in the images, then continue with --resume True."
            )
