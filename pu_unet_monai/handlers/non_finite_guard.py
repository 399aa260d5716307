"""Stop a training whose loss is no longer a number."""

from __future__ import annotations

from typing import NoReturn

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys

from pu_unet_monai.errors import NonFiniteLossError

__all__ = ["NonFiniteGuard"]


class NonFiniteGuard:
    """Ignite handler that stops the training when the loss, or a weight, is NaN or infinite.

    The loss is looked at before the backward pass, the weights at the end of an epoch: list it first, so that the
    checkpoints on disk are those of before.
    """

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register on MONAI's ``SupervisedTrainer``."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self.check_loss)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.check_weights)

    def check_loss(self, engine: SupervisedTrainer) -> None:
        """Check the loss of this iteration.

        Raises:
            NonFiniteLossError: if it is not finite; the message names epoch and iteration.
        """
        loss = engine.state.output[CommonKeys.LOSS]
        if not torch.isfinite(loss):
            self._stop(engine, f"the loss became {loss.item()}")

    def check_weights(self, engine: SupervisedTrainer) -> None:
        """Check the weights at the end of an epoch.

        Raises:
            NonFiniteLossError: if one is not finite; the message names epoch and iteration.
        """
        if not all(torch.isfinite(parameter).all() for parameter in engine.network.parameters()):
            self._stop(engine, "the weights became NaN or infinite")

    def _stop(self, engine: SupervisedTrainer, what: str) -> NoReturn:
        state = engine.state
        raise NonFiniteLossError(
            f"{what} at epoch {state.epoch}, iteration {state.iteration}; training stopped and the checkpoint of the "
            "last epoch was kept. Lower learning_rate, or look for non-finite values in the images, then continue "
            "with --resume True."
        )
