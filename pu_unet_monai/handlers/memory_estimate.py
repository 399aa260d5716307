"""What a training needs, said before it starts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import ignite.distributed as idist
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from torch import nn

from pu_unet_monai.errors import first_cause
from pu_unet_monai.evaluation.complexity import count_training_bytes
from pu_unet_monai.runtime.memory import available_bytes, format_bytes
from pu_unet_monai.runtime.weights import unwrap

__all__ = ["MemoryEstimate"]

_log = logging.getLogger(__name__)


class MemoryEstimate:
    """Ignite handler that logs the memory of the largest training step before the first, and warns if it is short.

    Counted are the tensors of a forward and backward pass, the weights and the optimiser's state, without running
    anything. A CUDA context and the workspaces of its libraries take some 0.5 to 1 GB more; the images in the cache
    are on the CPU.

    Args:
        network: the network that is trained.
        input_sizes: sizes (B, C, *spatial) of a step's input, by the name of the training's stage; a stage that does
            not take place is None.
        amp: whether the network runs in low precision. Defaults to True.
    """

    def __init__(self, network: nn.Module, input_sizes: Mapping[str, Sequence[int] | None], amp: bool = True) -> None:
        self.network = network
        self.input_sizes = {stage: tuple(size) for stage, size in input_sizes.items() if size is not None}
        self.amp = amp

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register on the trainer."""
        engine.add_event_handler(Events.STARTED, self.report)

    def report(self, engine: SupervisedTrainer) -> None:
        """Log the estimate."""
        if idist.get_rank() != 0:
            return
        device = torch.device(engine.state.device)
        try:
            network = unwrap(self.network)
            estimates = {
                stage: count_training_bytes(network, size, device, self.amp) for stage, size in self.input_sizes.items()
            }
        except Exception as error:  # a network that fake tensors cannot go through trains all the same
            _log.info("memory of a training step: cannot be estimated (%s)", first_cause(error))
            return
        shown = ", ".join(
            f"{format_bytes(needed)} for {stage} of {'x'.join(map(str, self.input_sizes[stage]))}"
            for stage, needed in estimates.items()
        )
        free = available_bytes(device)
        _log.info("memory of a training step, estimated: %s; free on %s: %s", shown, device, format_bytes(free))
        if max(estimates.values()) > free:
            _log.warning(
                "this training will hardly fit into the memory: use configs/presets/low_memory.json, a smaller "
                "roi_size or batch_size, --use_checkpoint True, or --finetune_epochs 0"
            )
