"""Load trained weights when an evaluation starts."""

from __future__ import annotations

import os

from ignite.engine import Engine, Events
from torch import nn

from pu_unet_monai.runtime.weights import load_weights

__all__ = ["WeightsLoader"]


class WeightsLoader:
    """Ignite handler that fills a network with weights from a file, weights-only and checked.

    Args:
        path: a state dict, or one of our checkpoints.
        network: the network to fill.
    """

    def __init__(self, path: str | os.PathLike[str], network: nn.Module) -> None:
        self.path = path
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Register on an evaluator."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Load the weights.

        Raises:
            UserError: if the file is missing, damaged, unsafe, or does not fit the network.
        """
        load_weights(self.network, self.path)
