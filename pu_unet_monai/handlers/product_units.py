"""How often product units are clipped during a training."""

from __future__ import annotations

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from torch import nn
from torch.utils.hooks import RemovableHandle

from pu_unet_monai.networks.blocks import ProductUnit
from pu_unet_monai.networks.blocks.product_unit_function import unclipped_bounds

__all__ = ["ProductUnitMonitor"]

_DEFAULT_LOG_CLIP = 10.0


class ProductUnitMonitor:
    """Ignite handler that keeps the share of clipped outputs of all product units in ``engine.state.clipped_share``.

    It is that of the epoch so far, of the iterations looked at, the first of each epoch among them. Of units without
    clipping it is the share that a bound of e^10 would clip; without product units it is 0.

    Args:
        every: how many iterations lie between two looks. Defaults to 10.
    """

    def __init__(self, every: int = 10) -> None:
        self.every = every
        self._hooks: list[RemovableHandle] = []

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register on MONAI's ``SupervisedTrainer``."""
        self.start(engine)
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_STARTED(event_filter=self._is_due), self.look)
        engine.add_event_handler(Events.ITERATION_COMPLETED(event_filter=self._is_due), self.report)

    def start(self, engine: SupervisedTrainer) -> None:
        """Begin an epoch."""
        self._clipped, self._all = torch.tensor(0), 0
        engine.state.clipped_share = 0.0

    def _is_due(self, engine: SupervisedTrainer, iteration: int) -> bool:
        length = engine.state.epoch_length or iteration
        return (iteration - 1) % length % self.every == 0

    def look(self, engine: SupervisedTrainer) -> None:
        """Begin to look at the outputs of an iteration."""
        units = [module for module in engine.network.modules() if isinstance(module, ProductUnit)]
        self._hooks = [unit.register_forward_hook(self._count) for unit in units]

    def report(self, engine: SupervisedTrainer) -> None:
        """Report the share, and stop looking."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        if self._all:
            engine.state.clipped_share = int(self._clipped) / self._all

    @torch.no_grad()
    def _count(self, unit: nn.Module, _: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        low, high = unclipped_bounds(unit.log_clip or _DEFAULT_LOG_CLIP, output.dtype)  # type: ignore[arg-type]
        self._clipped = self._clipped.to(output.device) + ((output <= low) | (output >= high)).sum()
        self._all += output.numel()
